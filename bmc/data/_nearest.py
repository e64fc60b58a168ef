"""Of many unlabelled texts, those most like the task's own: they teach a student most."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence

_WORD = re.compile(r"[^\W\d_]+(?:'\w+)?|[^\w\s]|\d+")


def nearest(texts: Sequence[str], like: Iterable[str], limit: int) -> list[str]:
    """Return the `limit` texts that read most like the given ones, the likest first.

    A text's score is the mean over its words of log p(word | like) - log p(word | texts), with
    add-one smoothed word frequencies: the cross-entropy difference of two unigram models.

    Args:
        texts: where to choose from.
        like: texts of the task.
        limit: how many to return at most.

    Source: Moore and Lewis 2010, "Intelligent Selection of Language Model Training Data".
    """
    inside = Counter(word for text in like for word in _words(text))
    outside = Counter(word for text in texts for word in _words(text))
    kinds = len(inside.keys() | outside.keys())
    shift = math.log(outside.total() + kinds) - math.log(inside.total() + kinds)
    gain = {
        word: math.log(inside[word] + 1) - math.log(count + 1) + shift
        for word, count in outside.items()
    }
    # Words are found again instead of kept: those of a large transfer set would fill the memory.
    scores = [_mean([gain[word] for word in _words(text)]) for text in texts]
    best = sorted(range(len(texts)), key=lambda place: -scores[place])
    return [texts[place] for place in best[:limit]]


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _mean(values: list[float]) -> float:
    return sum(values) / max(len(values), 1)

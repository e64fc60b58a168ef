"""The most frequent tag of each word, as the floor of words with tags.

A word that no training row has takes its tag from the longest ending that it shares with rare
training words, since new words are like rare ones.

Source: Brants 2000, "TnT - A Statistical Part-of-Speech Tagger", section 2.3 (endings of rare
words).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc.data import Dataset, Examples
from bmc.workflows.scored_floor import ScoredModel

_LONGEST_ENDING = 5
_RARE = 10
"""Largest number of times that a rare word is in the training rows."""

Ending = tuple[bool, str]
"""Whether the word begins with a capital letter, and its last characters in lower case."""


class MajorityTagger:
    """The most frequent tag of each training word, and of the endings of rare training words.

    Args:
        examples: training rows of words with tags.
    """

    def __init__(self, examples: Examples) -> None:
        words = (word for row in examples.rows for word in row)
        tags = np.array(examples.labels)[:, 0].tolist()
        pairs = Counter(zip(words, tags, strict=True))
        by_word: defaultdict[str, Counter[int]] = defaultdict(Counter)
        by_ending: defaultdict[Ending, Counter[int]] = defaultdict(Counter)
        for (word, tag), count in pairs.items():
            by_word[word][tag] += count
        for word, counts in by_word.items():
            if counts.total() <= _RARE:
                for ending in _endings(word):
                    by_ending[ending].update(counts)
        self._of_word = {word: _most_frequent(counts) for word, counts in by_word.items()}
        self._of_ending = {ending: _most_frequent(counts) for ending, counts in by_ending.items()}
        self._of_all = _most_frequent(Counter(tags))

    def tag(self, word: str) -> int:
        """Return the tag of a word, as an index."""
        if word in self._of_word:
            return self._of_word[word]
        tags = (self._of_ending.get(ending) for ending in _endings(word))
        return next((tag for tag in tags if tag is not None), self._of_all)


def outputs_of(data: Dataset) -> NDArray[Any]:
    """Return 1 for the tag of each held-out word and 0 for others, float32 (words, tags)."""
    tagger = MajorityTagger(data.train)
    return one_hot((tagger.tag(word) for row in data.test.rows for word in row), len(data.labels))


def one_hot(tags: Iterable[int], count: int) -> NDArray[np.float32]:
    """Return tag indices as outputs of which the largest is that of the tag, (words, tags)."""
    return np.eye(count, dtype=np.float32)[list(tags)]


def _endings(word: str) -> Iterator[Ending]:
    """Yield the endings of a word, the longest first."""
    is_capitalized = word[:1].isupper()
    for length in range(min(_LONGEST_ENDING, len(word)), 0, -1):
        yield is_capitalized, word[-length:].lower()


def _most_frequent(counts: Counter[int]) -> int:
    """Return the most frequent tag; of equally frequent tags, the first."""
    return min(counts, key=lambda tag: (-counts[tag], tag))


MODEL = ScoredModel(
    title="majority tags",
    described="the most frequent tag of each word (of a new word, that of its ending)",
    reason="It is a table of words: it is no bundle, and has no size or time here",
    outputs_of=outputs_of,
)

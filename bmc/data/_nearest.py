"""Of many unlabeled texts, those most like the task's own: they teach a student most."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from bmc import console

_CHUNK = 10_000
_WORD = re.compile(r"[^\W\d_]+(?:'\w+)?|[^\w\s]|\d+")


def nearest(texts: Sequence[str], like: Iterable[str]) -> list[int]:
    """Return the indices of texts, those that read most like the given ones first.

    A text's score is the mean over its words of log p(word | like) - log p(word | texts), with
    add-one smoothed word frequencies: the cross-entropy difference of two unigram models.

    Args:
        texts: texts to choose from.
        like: texts of the task.

    Source: Moore and Lewis 2010, "Intelligent Selection of Language Model Training Data".
    """
    inside = Counter(word for text in like for word in _words(text))
    outside: Counter[str] = Counter()
    scores: list[float] = []
    with console.progress("choosing transfer texts", 2 * len(texts)) as advance:
        for start in range(0, len(texts), _CHUNK):
            part = texts[start : start + _CHUNK]
            outside.update(word for text in part for word in _words(text))
            advance(len(part))
        gain = _gains(inside, outside)
        # Words are split again, not kept: the words of many texts would fill the memory.
        for start in range(0, len(texts), _CHUNK):
            part = texts[start : start + _CHUNK]
            scores += [_mean([gain[word] for word in _words(text)]) for text in part]
            advance(len(part))
    return sorted(range(len(texts)), key=lambda index: -scores[index])


def _gains(inside: Counter[str], outside: Counter[str]) -> dict[str, float]:
    kinds = len(inside.keys() | outside.keys())
    shift = math.log(outside.total() + kinds) - math.log(inside.total() + kinds)
    return {
        word: math.log(inside[word] + 1) - math.log(count + 1) + shift
        for word, count in outside.items()
    }


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _mean(values: list[float]) -> float:
    return sum(values) / max(len(values), 1)

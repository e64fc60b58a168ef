"""Hash word and character n-grams of texts into buckets, with numpy, for all texts at once.

A hash depends on the n-gram's characters and nothing else: no seed of the process, no order of
bytes, no neighboring text. Whole numbers of 64 bits make it the same on every machine.

Source: Karp and Rabin 1987, "Efficient randomized pattern-matching algorithms" (the hash of a
substring from sums over the whole text); Weinberger et al. 2009, "Feature Hashing for Large Scale
Multitask Learning".
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.uint64]
Places = NDArray[np.int64]

CHARACTERS_A_WORD = 8
"""A text's first 8 x max_length characters are read, its first max_length words of those."""
SHORTEST = 3
"""Characters of the shortest n-gram of characters."""
# Marks (vowel signs, tones) belong to their word, so that a class of letters would not do.
_PUNCTUATION = r"!-/:-@\[-`{-~\u00a1-\u00bf\u2010-\u2027\u2030-\u205e\u3001-\u303f\uff01-\uff0f"
_WORD = re.compile(rf"[^\s{_PUNCTUATION}]+|[{_PUNCTUATION}]")
_SPACE = 32
_BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse
_INVERSE = pow(_BASE, -1, 2**64)
_SALTS = (0x243F6A8885A308D3, 0x13198A2E03707344)  # of words, of characters: digits of pi
_COLUMN = 0xA4093822299F31D0
_HALF = np.uint64(32)
_SHIFT = np.uint64(33)
_MIXERS = (np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53))


def normal(text: str, max_length: int, lowercase: bool) -> str:
    """Return a text's words, separated by spaces, with a space before the first and after the last.

    Args:
        text: the text; not empty.
        max_length: words to read at most.
        lowercase: whether case is dropped.
    """
    limit = CHARACTERS_A_WORD * max_length
    text = text.strip()[: 4 * limit]
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    text = text.lower() if lowercase else text
    words = _WORD.findall(text[:limit])
    return f" {' '.join(words[:max_length])} "


def most(max_length: int, words: int, characters: int) -> int:
    """Return how many n-grams a text can have; see `hashed`."""
    longest = (CHARACTERS_A_WORD + 1) * max_length + 1
    return words * max_length + max(characters - SHORTEST + 1, 0) * longest


def hashed(
    texts: Sequence[str], buckets: int, words: int, characters: int, column: int = 0
) -> list[NDArray[np.int32]]:
    """Return the buckets of each text's n-grams: of words first, then of characters.

    Args:
        texts: texts that `normal` returned; at least one.
        buckets: a bucket is below.
        words: number of words in the longest n-gram of words.
        characters: number of characters in the longest n-gram of characters; the shortest has 3; 0
            for no n-grams of characters.
        column: index of the text's column; equal n-grams have different buckets in different
            columns.
    """
    joined = "".join(texts)
    codes = np.frombuffer(joined.encode("utf-32-le"), "<u4").astype(np.uint64)
    rows = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
    sums = np.zeros(len(codes) + 1, np.uint64)
    np.cumsum(codes * _powers(_BASE, len(codes)), out=sums[1:])
    inverses = _powers(_INVERSE, len(codes))
    spans = _of_words(codes, rows, words), _of_characters(rows, characters)
    found = []
    for (starts, stops), salt in zip(spans, _SALTS, strict=True):
        hashes = (sums[stops] - sums[starts]) * inverses[starts]
        hashes ^= np.uint64((salt + column * _COLUMN) % 2**64)
        found.append(_in_buckets(hashes, buckets))
    owners = rows[np.concatenate([starts for starts, _ in spans])]
    chosen = np.concatenate(found)[np.argsort(owners, kind="stable")]
    counts = np.bincount(owners, minlength=len(texts))
    return np.split(chosen, np.cumsum(counts)[:-1])


def spread(
    text: str, weights: NDArray[np.float32], words: int, characters: int
) -> list[tuple[str, float]]:
    """Spread the weights of a text's n-grams evenly over their characters; return each word's.

    Args:
        text: a text that `normal` returned.
        weights: weight of each n-gram, in the order of `hashed`.
        words: see `hashed`.
        characters: see `hashed`.
    """
    codes = np.array([ord(character) for character in text], np.uint64)
    rows = np.zeros(len(codes), np.int64)
    starts, stops = _joined([_of_words(codes, rows, words), _of_characters(rows, characters)])
    shares = weights / np.maximum(stops - starts, 1)
    changes = np.bincount(starts, shares, len(codes) + 1)
    changes -= np.bincount(stops, shares, len(codes) + 1)
    # A part ends before the space of the next word; the last part ends with the text.
    of_words = np.add.reduceat(np.cumsum(changes), np.flatnonzero(codes == _SPACE)[:-1])
    return list(zip(text.split(), of_words.tolist(), strict=False))


def _of_words(codes: Integers, rows: Places, longest: int) -> tuple[Places, Places]:
    """Return where n-grams of words start and stop."""
    spaces = np.flatnonzero(codes == _SPACE)
    spans = []
    for count in range(1, longest + 1):
        before, behind = spaces[:-count], spaces[count:]
        inside = rows[before] == rows[behind]
        spans.append((before[inside] + 1, behind[inside]))
    return _joined(spans)


def _of_characters(rows: Places, longest: int) -> tuple[Places, Places]:
    """Return where n-grams of characters start and stop."""
    spans = [(np.empty(0, np.int64), np.empty(0, np.int64))]
    for count in range(SHORTEST, longest + 1):
        first = max(len(rows) - count + 1, 0)
        starts = np.flatnonzero(rows[:first] == rows[count - 1 :])
        spans.append((starts, starts + count))
    return _joined(spans)


def _joined(spans: Sequence[tuple[Places, Places]]) -> tuple[Places, Places]:
    starts, stops = zip(*spans, strict=True)
    return np.concatenate(starts), np.concatenate(stops)


def _powers(base: int, count: int) -> Integers:
    """Return base^0, base^1, ... modulo 2^64."""
    powers = np.full(count, base, np.uint64)
    powers[0] = 1
    return np.multiply.accumulate(powers)


def _in_buckets(hashes: Integers, buckets: int) -> NDArray[np.int32]:
    """Spread hashes evenly over the buckets.

    Source: Appleby 2011, MurmurHash3 (the finalizer); Lemire 2019, "Fast Random Integer Generation
    in an Interval" (a product in place of a remainder).
    """
    for mixer in _MIXERS:
        hashes ^= hashes >> _SHIFT
        hashes *= mixer
    hashes ^= hashes >> _SHIFT
    return ((hashes >> _HALF) * np.uint64(buckets) >> _HALF).astype(np.int32)

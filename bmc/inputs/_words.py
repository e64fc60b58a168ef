"""Words of a text with their places, and windows of words that a model can read at once."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

# Scripts that are written without spaces: each character is a word.
_ALONE = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
)
_INVISIBLE = "\u00ad\u200c-\u200f\u2060"  # soft hyphen, joiners and directions, inside words
_MARKED = ((0x300, 0x1F000), (0xE0100, 0xE01F0))  # code points among which all marks are
_CONTEXT = 4  # a fourth of a window at most stands in the window before as well


@dataclass(frozen=True)
class Words:
    """The words of a row.

    Args:
        text: the text; words that came without one are joined by spaces.
        words: the words, in order.
        starts: for each word the index of its first character in the text.
    """

    text: str
    words: tuple[str, ...]
    starts: tuple[int, ...]

    @property
    def places(self) -> list[tuple[int, int]]:
        """The start of each word in the text, and the index after its end."""
        pairs = zip(self.starts, self.words, strict=True)
        return [(start, start + len(word)) for start, word in pairs]


def split_text(text: str) -> Words:
    """Split a text at white space and around punctuation; apostrophes and hyphens join words.

    Accents, vowel signs and other marks belong to the character before them.
    """
    matches = list(_pattern(text.isascii()).finditer(text))
    words = tuple(match.group() for match in matches)
    return Words(text, words, tuple(match.start() for match in matches))


@cache
def _pattern(is_ascii: bool) -> re.Pattern[str]:
    """Return what a word is.

    It is letters, digits and underscores, also with apostrophes or hyphens inside; a character of a
    script that is written without spaces; or any other character. The pattern for ASCII finds the
    same words there, without the list of all marks, which takes 20 ms to make.
    """
    if is_ascii:
        return re.compile(r"\w+(?:['\-]\w+)*|\S")
    marks = "".join(
        character
        for start, stop in _MARKED
        for character in map(chr, range(start, stop))
        if unicodedata.category(character).startswith("M")
    )
    part = rf"(?:(?![{_ALONE}])[\w{marks}{_INVISIBLE}])+"
    alone = rf"[{_ALONE}][\u0e31-\u0e4e{marks}]*"
    return re.compile(rf"{part}(?:['\u2019\-]{part})*|{alone}|\S[{marks}]*")


def joined_words(words: Sequence[str]) -> Words:
    """Return words as a text in which spaces separate them."""
    starts, position = [], 0
    for word in words:
        starts.append(position)
        position += len(word) + 1
    return Words(" ".join(words), tuple(words), tuple(starts))


def single_spaced(row: Words) -> Words:
    """Return words as a text in which one space stands for all white space between two words."""
    parts, starts, position, end_before = list[str](), list[int](), 0, 0
    for word, (start, end) in zip(row.words, row.places, strict=True):
        if parts and start > end_before:
            parts.append(" ")
            position += 1
        starts.append(position)
        parts.append(word)
        position += len(word)
        end_before = end
    return Words("".join(parts), row.words, tuple(starts))


@dataclass(frozen=True)
class WordWindow:
    """A window of words, and those of its words whose outputs are read in this window.

    Args:
        start: index of the first word.
        stop: index after the last word.
        read_start: index of the first word that is read.
        read_stop: index after the last word that is read.
    """

    start: int
    stop: int
    read_start: int
    read_stop: int


def windows(sizes: Sequence[int], room: int) -> list[WordWindow]:
    """Cover a row of words by windows, so that each word is read in exactly one window.

    Neighboring windows overlap by up to a fourth of their tokens. A word that stands in two windows
    is read in the one where it is farther from the edge.

    Args:
        sizes: number of tokens of each word, 1 to `room`.
        room: largest number of tokens in a window.
    """
    spans: list[WordWindow] = []
    start = read_start = 0
    while True:
        stop, used = start, 0
        while stop < len(sizes) and used + sizes[stop] <= room:
            used += sizes[stop]
            stop += 1
        if stop == len(sizes):
            return [*spans, WordWindow(start, stop, read_start, stop)]
        following, context = stop, 0
        while following - 1 > start and context + sizes[following - 1] <= room // _CONTEXT:
            following -= 1
            context += sizes[following]
        read_stop = (following + stop + 1) // 2
        if read_stop > read_start:
            spans.append(WordWindow(start, stop, read_start, read_stop))
        start, read_start = following, read_stop

"""Words of a text that is known: a tokenizer may read the white space between them."""

from __future__ import annotations

from collections.abc import Sequence


class SpacedWords(tuple[str, ...]):
    """The words of a row, equal to the same words in a tuple, with the text that they are from.

    Args:
        words: the words, in order.
        text: the text.
        starts: for each word the index of its first character in the text.

    Example:
        >>> SpacedWords(["Paris", ","], "Paris, 1990", [0, 5]) == ("Paris", ",")
        True
    """

    text: str
    starts: tuple[int, ...]

    def __new__(cls, words: Sequence[str], text: str, starts: Sequence[int]) -> SpacedWords:
        """Make the tuple of the words, and keep the text."""
        row = super().__new__(cls, words)
        row.text, row.starts = text, tuple(starts)
        return row

    def __getnewargs__(self) -> tuple[tuple[str, ...], str, tuple[int, ...]]:
        """Return what `__new__` takes, for pickle."""
        return tuple(self), self.text, self.starts

"""Tags of rows of words: one sequence for each row, of any length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray


class TagSequences(Sequence[tuple[int, ...]]):
    """The tags of many rows, stored as one array.

    `numpy.array(tags)` returns int64 (words, 2): the tag and the number of the row of each word,
    in the order of the rows. The words of a row are adjacent.

    Args:
        tags: tag indices of all words, row after row, (words); -1 for a word without a tag.
        lengths: number of words of each row, (rows).

    Raises:
        ValueError: the lengths do not add up to the number of tags.
    """

    def __init__(self, tags: NDArray[Any], lengths: NDArray[Any]) -> None:
        self.tags = np.asarray(tags, np.int32)
        self.lengths = np.asarray(lengths, np.int64)
        self._starts = np.concatenate([[0], np.cumsum(self.lengths)])
        if self._starts[-1] != len(self.tags):
            raise ValueError(f"{len(self.tags)} tags for {self._starts[-1]} words")

    @staticmethod
    def of(rows: Sequence[Sequence[int]]) -> TagSequences:
        """Return the tags of rows that are sequences of tag indices."""
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        tags = np.fromiter((tag for row in rows for tag in row), np.int32, int(lengths.sum()))
        return TagSequences(tags, lengths)

    def __len__(self) -> int:
        return len(self.lengths)

    @overload
    def __getitem__(self, index: int) -> tuple[int, ...]: ...

    @overload
    def __getitem__(self, index: slice) -> TagSequences: ...

    def __getitem__(self, index: int | slice) -> tuple[int, ...] | TagSequences:
        if isinstance(index, slice):
            return TagSequences.of([self[row] for row in range(len(self))[index]])
        row = range(len(self))[index]
        return tuple(self.tags[self._starts[row] : self._starts[row + 1]].tolist())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        rows = np.repeat(np.arange(len(self)), self.lengths)
        words = np.stack([self.tags.astype(np.int64), rows], axis=1)
        return words if dtype is None else words.astype(dtype)

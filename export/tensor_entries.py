"""Entries along an axis of an output whose errors much larger entries hide from sums over all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NOT_VARYING = 1e-9
"""Squared distances from the mean, over the squares of all values, that are mere rounding."""
_HIDDEN = 1e-4  # mean square over that of the largest entry: a hundredth of its size
_LEAST_VALUES = 16  # of an entry, for a variance that says something
_POOR = 0.5  # unexplained share of an entry's variance


@dataclass(frozen=True)
class Entries:
    """The entries along an axis that are a hundredth as large as the largest one, or less.

    Args:
        axis: the axis.
        count: number of all entries along it.
        worst: index of the least explained of the hidden entries.
        unexplained: squared errors of that entry over the squared distances from its own mean.
        poor: number of hidden entries of which more than half of the variance is unexplained.
    """

    axis: int
    count: int
    worst: int
    unexplained: float
    poor: int


class EntrySums:
    """Sums of the values of each entry along an axis of an output.

    Args:
        axis: the axis.
        size: its number of entries.
    """

    def __init__(self, axis: int, size: int) -> None:
        self._axis = axis
        self._count, self._sum, self._norm, self._squares = (np.zeros(size) for _ in range(4))

    @property
    def size(self) -> int:
        """Number of entries."""
        return self._count.size

    def add(
        self,
        values: NDArray[np.float64],
        norms: NDArray[np.float64],
        squares: NDArray[np.float64],
        finite: NDArray[np.bool_],
    ) -> None:
        """Take a call.

        Args:
            values: the original values, 0 where they are not finite.
            norms: their squares.
            squares: squared errors, 0 where the original values are not finite.
            finite: which of the original values are finite.
        """
        others = tuple(axis for axis in range(values.ndim) if axis != self._axis)
        self._count += finite.sum(others)
        self._sum += values.sum(others)
        self._norm += norms.sum(others)
        self._squares += squares.sum(others)

    def entries(self) -> Entries | None:
        """Return how the hidden entries are explained; None where none is hidden and varies."""
        count = np.maximum(self._count, 1)
        spread = self._norm - self._sum**2 / count
        size = self._norm / count
        hidden = (size < _HIDDEN * size.max()) & (self._count >= _LEAST_VALUES)
        hidden &= spread > NOT_VARYING * self._norm
        if not hidden.any():
            return None
        unexplained = np.divide(self._squares, spread, out=np.zeros_like(spread), where=hidden)
        worst = int(unexplained.argmax())
        return Entries(
            axis=self._axis,
            count=self.size,
            worst=worst,
            unexplained=float(unexplained[worst]),
            poor=int((unexplained > _POOR).sum()),
        )

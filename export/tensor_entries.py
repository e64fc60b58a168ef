"""How much of the variance of each entry along an axis of an output is explained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

NOT_VARYING = 1e-9
"""Squared distances from the mean, over the squares of all values, that are mere rounding."""
_POOR = 0.5  # unexplained share of an entry's variance that is said


@dataclass(frozen=True)
class Entries:
    """Unexplained variance of the entries along an axis of an output, such as its columns.

    Args:
        axis: the axis, among those along which an entry is least explained.
        count: number of entries.
        worst: index of the least explained entry.
        unexplained: squared errors of that entry over the squared distances from its own mean.
        poor: number of entries of which more than half of the variance is unexplained.
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
        self.count, self._sum, self._norm, self._squares = (np.zeros(size) for _ in range(4))

    def add(self, actual: NDArray[Any], wanted: NDArray[Any], finite: NDArray[Any]) -> None:
        """Take the values of a call, the original ones, and which of these are finite."""
        others = tuple(axis for axis in range(wanted.ndim) if axis != self._axis)
        wanted = np.where(finite, wanted, 0)
        errors = np.where(finite, actual, 0) - wanted
        self.count += finite.sum(others)
        self._sum += wanted.sum(others)
        self._norm += (wanted * wanted).sum(others)
        self._squares += (errors * errors).sum(others)

    def entries(self) -> Entries | None:
        """Return how the entries are explained; None where none varies."""
        spread = self._norm - self._sum**2 / np.maximum(self.count, 1)
        varies = spread > NOT_VARYING * self._norm
        if not varies.any():
            return None
        unexplained = np.divide(self._squares, spread, out=np.zeros_like(spread), where=varies)
        worst = int(unexplained.argmax())
        return Entries(
            axis=self._axis,
            count=spread.size,
            worst=worst,
            unexplained=float(unexplained[worst]),
            poor=int((unexplained > _POOR).sum()),
        )

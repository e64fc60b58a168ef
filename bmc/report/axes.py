"""Axes of a report's pictures: the position of a value, and where ticks stand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bmc.figures import significant

_STEPS = (1.0, 2.0, 5.0, 10.0)
_MAX_DECADES = 3  # with more decades, a logarithmic axis has ticks at powers of ten only


@dataclass(frozen=True)
class Axis:
    """An axis between two values.

    Args:
        low: value at the start.
        high: value at the end; larger than `low`.
        start: pixel of the start.
        end: pixel of the end.
        is_log: whether equal ratios have equal lengths; otherwise equal differences have.
    """

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def at(self, value: float) -> float:
        """Return the pixel of a value."""
        low, high = (math.log(end) if self.is_log else end for end in (self.low, self.high))
        share = ((math.log(value) if self.is_log else value) - low) / (high - low)
        return self.start + share * (self.end - self.start)

    def ticks(self, most: int = 6) -> list[tuple[float, str]]:
        """Return the pixels and texts of ticks at round values.

        Args:
            most: largest number of ticks.
        """
        values = _log_ticks(self.low, self.high) if self.is_log else []
        for count in (most, 2 * most):
            values = values if len(values) > 1 else _linear_ticks(self.low, self.high, count)
        while len(values) > max(most, 2):
            values = values[::2]
        return [(self.at(value), tick_text(value)) for value in values]


def log_axis(values: Sequence[float], start: float, end: float, room: float = 0.12) -> Axis:
    """Return a logarithmic axis for positive values, with room at both ends.

    Args:
        values: the values; at least one.
        start: pixel of the start.
        end: pixel of the end.
        room: share of the axis that stays free at each end.
    """
    low, high = math.log(min(values)), math.log(max(values))
    space = max((high - low) * room, 0.15)
    return Axis(math.exp(low - space), math.exp(high + space), start, end, is_log=True)


def linear_axis(values: Sequence[float], start: float, end: float, room: float = 0.1) -> Axis:
    """Return a linear axis for values, with room at both ends; see `log_axis`."""
    low, high = min(values), max(values)
    space = (high - low) * room or max(abs(high) * 0.05, 0.01)
    return Axis(low - space, high + space, start, end)


def tick_text(value: float) -> str:
    """Write a round value without the zeros that say nothing.

    Example:
        >>> tick_text(0.5), tick_text(20.0), tick_text(1e-5)
        ('0.5', '20', '1.00e-05')
    """
    text = f"{value:.6g}"
    return text if "e" not in text else significant(value)


def pixel(value: float) -> str:
    """Write a coordinate in few characters.

    Example:
        >>> pixel(12.0), pixel(12.345)
        ('12', '12.3')
    """
    return f"{round(value, 1):.10g}"


def _log_ticks(low: float, high: float) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    steps = _STEPS[:3] if last - first <= _MAX_DECADES else _STEPS[:1]
    values = [step * 10.0**power for power in range(first, last + 1) for step in steps]
    return [value for value in values if low <= value <= high]


def _linear_ticks(low: float, high: float, most: int) -> list[float]:
    rough = (high - low) / max(most - 1, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in _STEPS if factor * power >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step), math.floor(high / step)
    return [number * step for number in range(first, last + 1)]

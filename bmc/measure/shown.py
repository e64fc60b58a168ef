"""Format numbers for people: three significant digits, plain decimals, with intervals."""

from __future__ import annotations

import math

from bmc.measure.scores import Interval

_DIGITS = 3
_WIDE_RATIO = 2.0
_MIN_PLAIN = 1e-4  # smaller numbers are written with an exponent


def significant(value: float) -> str:
    """Write a number with three significant digits, and at least all digits before the point.

    Example:
        >>> significant(0.031249), significant(4.8), significant(99.96), significant(11162.4)
        ('0.0312', '4.80', '100', '11,162')
    """
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    rounded = float(f"{value:.{_DIGITS}g}")
    if abs(rounded) < _MIN_PLAIN:
        return f"{value:.{_DIGITS - 1}e}"
    if abs(rounded) >= 10**_DIGITS:
        return f"{value:,.0f}"
    return f"{value:.{max(_DIGITS - 1 - math.floor(math.log10(abs(rounded))), 0)}f}"


def with_interval(interval: Interval | None, scale: float = 1.0) -> str:
    """Write an estimate with its 95 % interval, or say that there are too few samples.

    Args:
        interval: the estimate with its interval; None for too few samples.
        scale: factor of the numbers, such as 100 for percent.
    """
    if interval is None:
        return "too few samples"
    value, low, high = (
        significant(scale * number) for number in (interval.value, interval.low, interval.high)
    )
    return f"{value} [{low}, {high}]"


def megabytes(size: float) -> str:
    """Write a number of bytes in MB (10**6 bytes).

    Example:
        >>> megabytes(31_249), megabytes(17_400_000)
        ('0.0312 MB', '17.4 MB')
    """
    return f"{significant(size / 1e6)} MB"


def is_wide(interval: Interval | None) -> bool:
    """Tell whether the upper end of an interval is more than twice its lower end."""
    return interval is not None and interval.high > _WIDE_RATIO * interval.low

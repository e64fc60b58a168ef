"""Write numbers for people: three significant digits, plain decimals."""

from __future__ import annotations

import math

_DIGITS = 3
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


def megabytes(size: float) -> str:
    """Write a number of bytes in MB (10**6 bytes).

    Example:
        >>> megabytes(31_249), megabytes(17_400_000)
        ('0.0312 MB', '17.4 MB')
    """
    return f"{significant(size / 1e6)} MB"

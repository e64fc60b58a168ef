"""Names of labels: which of them are numbers, and how names are sorted."""

from __future__ import annotations

import math


def as_number(label: str) -> float | None:
    """Return the finite number that a label is, None where it is a name."""
    try:
        number = float(label)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def is_whole(label: str) -> bool:
    """Tell whether a label is a whole number or a name, not a fraction."""
    number = as_number(label)
    return number is None or number.is_integer()


def natural(label: str) -> tuple[int, int, str]:
    """Return a sort key that puts whole numbers, by value, before names."""
    return (0, int(label), "") if label.isdecimal() else (1, 0, label)

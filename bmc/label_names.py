"""Names of labels: which of them are numbers, and how names are sorted."""

from __future__ import annotations

import math
from collections.abc import Iterable


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


SEPARATOR = "\x1f"
"""Stands between the names of a row's labels where they are one text; no name holds it."""


def joined(names: Iterable[str]) -> str:
    """Return the names of a row's labels as one text, each once and sorted."""
    return SEPARATOR.join(sorted(set(names)))


def names_in(text: str) -> list[str]:
    """Return the names that `joined` put into a text."""
    return text.split(SEPARATOR) if text else []

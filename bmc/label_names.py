"""Names of labels: which of them are numbers, and how names are sorted."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any


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


def check_output(labels: Sequence[str], shape: Sequence[Any]) -> None:
    """Check that an output has one value for each label.

    Args:
        labels: names of the labels.
        shape: shape of the output, (rows, labels).

    Raises:
        ValueError: it has not, or the names are missing or not distinct.
    """
    if not labels or len(set(labels)) < len(labels):
        raise ValueError("labels are missing, or not distinct")
    if len(shape) != 2 or shape[1] != len(labels):
        raise ValueError(f"{len(labels)} labels for outputs of shape {tuple(shape)}")


SEPARATOR = "\x1f"
"""Stands between the names of a row's labels where they are one text; no name holds it."""


def joined(names: Iterable[str]) -> str:
    """Return the names of a row's labels as one text, each once and sorted."""
    return SEPARATOR.join(sorted(set(names)))


def names_in(text: str) -> list[str]:
    """Return the names that `joined` put into a text."""
    return text.split(SEPARATOR) if text else []

"""Labels: names or numbers as they came, into what a model is trained on."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bmc.errors import DataError

if TYPE_CHECKING:
    from bmc.data import Examples, Table

_FRACTIONS = 10  # a label column with more different fractions holds measurements, not classes


def numbered(
    table: Table, name: str, task: str
) -> tuple[tuple[str, ...], NDArray[Any], NDArray[Any]]:
    """Return the classes, and as numbers the labels of a table and of its official test part.

    Raises:
        DataError: there is only one class, or a label does not fit the task.
    """
    held = table.official_test.labels if table.official_test else ()
    if task == "regression":
        values = _as_numbers(table.labels, name)
        if len(values) == 1 or np.ptp(values) == 0:
            raise DataError(
                f"data {name!r} has only the label {values[0]:g}; a regression needs different ones"
            )
        return (), values, _as_numbers(held, f"{name} (test part)")
    index_of: dict[str, int] = {}
    codes, others = (
        np.fromiter((index_of.setdefault(label, len(index_of)) for label in labels), np.int32)
        for labels in (table.labels, held)
    )
    if not np.ptp(codes):
        raise DataError(
            f"data {name!r} has only the class {table.labels[0]!r} ({len(codes)} rows); "
            "a classifier needs at least two classes"
        )
    _check_names(index_of, name, table.numbers)
    classes = list(table.classes) or sorted(index_of, key=_natural)
    if missing := set(classes) ^ set(index_of):
        raise DataError(
            f"data {name!r}: the classes are {', '.join(classes)}, the labels "
            f"{', '.join(sorted(index_of))}; {', '.join(sorted(missing))} stands in one alone"
        )
    order = np.empty(len(classes), np.int32)
    order[[index_of[label] for label in classes]] = np.arange(len(classes))
    return tuple(classes), order[codes], order[others]


def check_classes(parts: Mapping[str, Examples], classes: tuple[str, ...], name: str) -> None:
    """Check that each class can be learned; a regression has none."""
    train_classes = set(parts["train"].labels)
    for number, label in enumerate(classes):
        if number in train_classes:
            continue
        if number in set(parts["validation"].labels):
            raise DataError(
                f"data {name!r}: no row of class {label!r} falls into train; add more rows"
            )
        raise DataError(
            f"data {name!r}: the test part has rows of class {label!r}, but the training rows "
            "have none; add some, or remove those"
        )


def _check_names(names: Collection[str], data: str, numbers: bool) -> None:
    """Refuse class names that are fractions, except for a few in a table, such as 4.5 stars."""
    fraction = next((name for name in names if not _is_whole(name)), None)
    if fraction is None or any(as_number(name) is None for name in names):
        return
    if numbers or len(names) > _FRACTIONS:
        raise DataError(
            f"data {data!r}: labels such as {fraction} are numbers, not classes ({len(names)} "
            "different ones): --task regression learns numbers; classes need whole numbers or names"
        )


def as_number(label: str) -> float | None:
    """Return the finite number that a label is, None where it is a name."""
    try:
        number = float(label)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _is_whole(label: str) -> bool:
    number = as_number(label)
    return number is None or number.is_integer()


def _as_numbers(labels: Sequence[str], name: str) -> NDArray[np.float64]:
    numbers = np.empty(len(labels))
    for number, label in enumerate(labels):
        try:
            numbers[number] = float(label)
        except ValueError:
            numbers[number] = np.nan
        if not np.isfinite(numbers[number]):
            raise DataError(
                f"data {name!r}: row {number + 1} has the label {label!r:.40}; "
                "a regression needs a finite number"
            )
    return numbers


def _natural(label: str) -> tuple[int, int, str]:
    """Sort whole numbers by value, before names."""
    return (0, int(label), "") if label.isdecimal() else (1, 0, label)

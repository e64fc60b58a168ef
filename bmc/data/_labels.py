"""Check that each class of a data set can be learned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from bmc.errors import DataError


def check_classes(
    rows_of_class: Mapping[str, NDArray[Any]], classes: tuple[str, ...], name: str
) -> None:
    """Check that each class can be learned; a regression has none.

    Args:
        rows_of_class: number of rows of each class, by the part's name.
        classes: names of the classes.
        name: name of the data, for the message.

    Raises:
        DataError: a class has no training row, or no row at all.
    """
    for number, label in enumerate(classes):
        if rows_of_class["train"][number]:
            continue
        if not any(rows[number] for rows in rows_of_class.values()):
            raise DataError(
                f"data {name!r}: no row has the label {label!r}; leave it out, or add rows that "
                "have it"
            )
        if rows_of_class["validation"][number]:
            raise DataError(
                f"data {name!r}: no row of class {label!r} falls into train; add more rows"
            )
        raise DataError(
            f"data {name!r}: the test part has rows of class {label!r}, but the training rows "
            "have none; add some, or remove those"
        )

"""Check that each class of a data set can be learned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from bmc.errors import DataError

if TYPE_CHECKING:
    from bmc.data import Examples


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

"""What callers pass as rows: one row, several, or a data frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bmc.errors import DataError

_FRAME = (
    "the items of a data frame are its columns' names: pass the column with the rows, such as "
    "frame['text']"
)


def without_frame(rows: Any, kind: str) -> Any:
    """Return the rows of a data frame, for a model of numbers; what is none as it is.

    Args:
        rows: what was passed.
        kind: kind of the model's rows.
    """
    if kind != "features":
        return rows
    from bmc.inputs.features import is_frame, rows_of_frame  # noqa: PLC0415  for tables alone

    return rows_of_frame(rows) if is_frame(rows) else rows


def by_position(rows: Any, kind: str) -> Any:
    """Return rows whose items are read by position.

    Args:
        rows: several rows.
        kind: kind of the model's rows.

    Raises:
        DataError: they are a data frame, whose column has the rows.
    """
    if hasattr(rows, "columns") and kind != "features":
        raise DataError(_FRAME)
    if hasattr(rows, "iloc") and not hasattr(rows, "columns"):
        return list(rows)  # a pandas Series, whose rows[index] looks a label up
    return rows


def check_several(rows: object, kind: str) -> None:
    """Refuse one row in place of several: the characters of a text are no rows.

    Args:
        rows: what was passed.
        kind: kind of the model's rows.

    Raises:
        DataError: `rows` is one row, or a data frame, whose column has the rows.
    """
    if hasattr(rows, "columns") and hasattr(rows, "__getitem__") and kind != "features":
        raise DataError(_FRAME)
    is_row = isinstance(rows, str | bytes | bytearray | Mapping) or _is_one_array(rows, kind)
    if is_row or (not hasattr(rows, "__iter__") and not hasattr(rows, "__getitem__")):
        raise DataError(
            f"batch takes an iterable of rows, and this is {type(rows).__name__}: pass a list of "
            "rows, or call the pipeline with one row"
        )


def _is_one_array(rows: object, kind: str) -> bool:
    """Tell whether an array is one image or one series, whose own first axis is none of rows."""
    shape: tuple[int, ...] = rows.shape if isinstance(rows, np.ndarray) else ()
    if kind == "image":
        return len(shape) == 2 or (len(shape) == 3 and shape[-1] in (1, 3, 4))
    return kind == "series" and len(shape) == 2 and shape[-1] == 1

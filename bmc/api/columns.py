"""Columns of a table that together are the only input of a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc.data import FORMATS, records
from bmc.errors import DataError, UnknownError


def read_columns(path: Path, columns: Sequence[str], label: str) -> dict[str, Any]:
    """Read columns of numbers and a column of labels from a file with a table.

    Args:
        path: a .csv, .tsv, .jsonl, .ndjson, .json or .parquet file.
        columns: names of the columns of numbers.
        label: name of the column of labels.

    Raises:
        UnknownError: there is no such file.
        DataError: a column is missing, or a value is no number.
    """
    if path.suffix.lower() not in FORMATS:
        raise DataError(f"{path} is no table: {', '.join(FORMATS)} are read")
    if not path.is_file():
        raise UnknownError(f"no file {str(path)!r}")
    way_out = "Name the input's columns with columns=[...], the labels' with label_column"
    rows = list(records(path, (*columns, label), way_out)[0])
    numbers: list[list[float]] = []
    labels: list[Any] = []
    for row_number, (*values, row_label) in rows:
        numbers.append(
            [_number(*pair, path, row_number) for pair in zip(values, columns, strict=True)]
        )
        labels.append(row_label)
    if not numbers:
        raise DataError(f"{path} has no rows")
    by_column = np.array(numbers, np.float32).T
    return {**dict(zip(columns, by_column, strict=True)), label: labels}


def stacked(table: Mapping[str, Any], columns: Sequence[str]) -> NDArray[np.float32]:
    """Return columns of numbers as one array (rows, columns).

    Raises:
        DataError: a column is missing, or holds something else than numbers.
    """
    missing = [name for name in columns if name not in table]
    if missing:
        raise DataError(f"no column {missing[0]!r} in the data; there are: {', '.join(table)}")
    arrays = []
    for name in columns:
        array = np.asarray(table[name])
        if array.dtype.kind not in "buif" or array.ndim != 1:
            raise DataError(
                f"column {name!r} holds {array.dtype} {array.shape[1:]}, and numbers are needed: "
                "choose the columns of the input with columns=[...]"
            )
        arrays.append(array.astype(np.float32))
    return np.stack(arrays, axis=1)


def _number(value: Any, column: str, path: Path, number: int) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{path}: row {number} has {value!r:.40} in column {column!r}; the "
            "network takes numbers"
        ) from error

"""Rows of numbers in memory as data: a data frame, columns by name, or a list of dictionaries."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bmc import memory
from bmc.api.clips import named_clips
from bmc.contracts.tasks import label_reading, labeled_tasks
from bmc.data import ALL_FEATURES, Table, content_of, features_in_memory
from bmc.errors import DataError, UsageError

Rows = Any
"""A data frame, a `datasets.Dataset`, a dictionary of columns, or a list of dictionaries."""


def named_data(
    data: str | Path | Rows | None,
    features: str | Sequence[str] | None,
    label_column: str,
    task: str = "classification",
    labels: Any = None,
    sampling_rate: int | None = None,
    speakers: Any = None,
) -> str | Path | None:
    """Return a reference of data, under which bmc finds it until the process ends.

    Args:
        data: a reference, or rows, or clips of sound.
        features: names of the columns of numbers, or "all"; all when None.
        label_column: name of the column of labels; of several labels a row, also a column for each
            label, separated by commas.
        task: name of the task.
        labels: a label for each clip of sound; None for other data, which has a column of labels.
        sampling_rate: samples a second of the clips.
        speakers: the speaker of each clip.

    Returns:
        the reference as it is; a name in memory for rows and clips.

    Raises:
        DataError: the rows are of another form, lack a column, or hold no numbers; or clips or
            labels cannot be used.
        UsageError: a sampling rate or speakers are given for other data than clips.
    """
    if labels is not None:
        return named_clips(data, labels, sampling_rate, speakers, features, task)
    if sampling_rate is not None or speakers is not None:
        name = "speakers" if sampling_rate is None else "sampling_rate"
        raise UsageError(
            f"{name} is for clips of sound in memory, with labels; files say both themselves: "
            "leave it out"
        )
    if data is None or isinstance(data, str | Path):
        return data
    names = (features,) if isinstance(features, str) else tuple(features or (ALL_FEATURES,))
    several = task in labeled_tasks() and label_reading(task).several
    table = features_in_memory(_columns(data), names, label_column, several)
    name = f"{memory.TABLE}{_digest(table)}"
    memory.keep_table(name, table)
    return memory.PREFIX + name


def _columns(data: Rows) -> dict[str, list[Any]]:
    """Return the cells of each column, by name.

    Raises:
        DataError: the data has no named columns, no rows, or columns of different lengths.
    """
    if isinstance(data, list) and data and all(isinstance(row, Mapping) for row in data):
        data = _of_rows(data)
    names = column_names(data)
    if names is None:
        raise DataError(
            f"data is {type(data).__name__}; give a file's name, a data frame, a dictionary of "
            "columns or a list of dictionaries; or clips of sound, with labels"
        )
    columns = {str(name): list(data[name]) for name in names}
    lengths = {name: len(cells) for name, cells in columns.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} {count}" for name, count in lengths.items())
        raise DataError(f"the columns have different numbers of rows: {listed:.200}")
    if not columns or not max(lengths.values()):
        raise DataError("the data has no rows")
    return columns


def _of_rows(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return a list of dictionaries as columns; a key that a row lacks is a missing value."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _digest(table: Table) -> str:
    digest = hashlib.sha256("\x1f".join(table.features).encode())
    for row, label in zip(table.rows, table.labels, strict=True):
        digest.update(content_of(row) + b"\x1f" + label.encode() + b"\x1e")
    return digest.hexdigest()[:12]


def column_names(data: Any) -> list[Any] | None:
    """Return the columns of a data frame, a `datasets.Dataset` or a dictionary; None for others."""
    names = getattr(data, "column_names", None)
    names = getattr(data, "columns", None) if names is None else names
    if names is None and isinstance(data, Mapping):
        names = list(data)
    return None if names is None or callable(names) else list(names)

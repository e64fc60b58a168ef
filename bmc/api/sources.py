"""Where data comes from, as the functions of bmc name it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bmc.data import Fold
from bmc.workflows.data import DataSource, StudentsData


def source_of(
    data: str | Path,
    text_column: str | Sequence[str],
    label_column: str | Sequence[str],
    features: str | Sequence[str] | None,
    task: str,
    fold: tuple[int, int] | None,
) -> DataSource:
    """Return where data is read from, and which columns and fold of it."""
    return DataSource(
        text_column=_names(text_column),
        label_column=joined_columns(label_column),
        task=task,
        features=_names(features or ()),
        data=str(data),
        fold=Fold(*fold) if fold else None,
    )


def source_beside(
    recorded: Mapping[str, Any],
    data: str | Path | None,
    text_column: str | Sequence[str] | None,
    label_column: str | Sequence[str] | None,
    features: str | Sequence[str] | None,
    task: str | None,
    fold: tuple[int, int] | None,
) -> DataSource:
    """Return the student's data: what is named, else what the teacher was trained on.

    Args:
        recorded: record of the teacher's data; {} where it is not known.
    """
    named = StudentsData(
        text_column=_names(text_column or ()),
        label_column=joined_columns(label_column) if label_column else None,
        task=task,
        features=_names(features or ()),
        data=str(data) if data else None,
        fold=Fold(*fold) if fold else None,
    )
    return named.beside(recorded)


def _names(columns: str | Sequence[str]) -> tuple[str, ...]:
    return (columns,) if isinstance(columns, str) else tuple(columns)


def joined_columns(columns: str | Sequence[str]) -> str:
    """Return the names of columns, separated by commas."""
    return columns if isinstance(columns, str) else ",".join(columns)

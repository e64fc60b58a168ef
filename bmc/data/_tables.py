"""A user's own table: .csv, .jsonl or .parquet with text columns and a label column."""

from __future__ import annotations

import csv
import json
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmc import plugins
from bmc.data import _stored
from bmc.errors import DataError
from bmc.files import storage_error

if TYPE_CHECKING:
    from bmc.data import Table


def read(path: Path, text_columns: Sequence[str], label_column: str) -> Table:
    """Read the named columns of a table; every value is taken as text.

    Values lose white space at both ends, and characters that no text has. Rows of a large table
    go to a temporary file, so that it need not fit in memory.

    Raises:
        DataError: a column is missing (the message lists those there are), or a row is unreadable.
    """
    return gathered(_rows(path, text_columns, label_column), _bytes(path) > _stored.LARGE)


def gathered(rows: Iterable[tuple[tuple[str, ...], str]], on_disk: bool) -> Table:
    """Collect rows and labels, in memory or on disk.

    Raises:
        StorageError: the disk is full.
    """
    from bmc.data import Table  # noqa: PLC0415  this file is a part of that package

    if not on_disk:
        pairs = list(rows)
        return Table([row for row, _ in pairs], [label for _, label in pairs])
    try:  # what goes wrong with the table itself is a DataError already
        writer = _stored.Writer()
        for row, label in rows:
            writer.append(row, label)
        return Table(*writer.finish())
    except OSError as error:
        raise storage_error(error, Path(tempfile.gettempdir())) or error from error


def text_of(value: Any) -> str:
    """Return a value as text: without white space at its ends, NULs and half surrogates."""
    text = str(value).replace("\0", " ").strip()
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _rows(
    path: Path, text_columns: Sequence[str], label_column: str
) -> Iterator[tuple[tuple[str, ...], str]]:
    records = _records(path, (*text_columns, label_column))
    wanted = [*text_columns, label_column]
    number = 0
    while True:
        number += 1
        try:
            record = next(records)
        except StopIteration:
            return
        except (OSError, ValueError, RecursionError, csv.Error) as error:
            raise DataError(
                f"{path} is not readable as {path.suffix[1:]} in UTF-8: {error}"
            ) from error
        missing = [column for column in wanted if record.get(column) is None]
        if missing:
            there = ", ".join(str(column) for column in record if column is not None)
            raise DataError(
                f"{path}: row {number} has no column {missing[0]!r}; it has {there}. "
                "Name yours with --text-column and --label-column"
            )
        label = text_of(record[label_column])
        if not label:
            raise DataError(f"{path}: row {number} has an empty label; fill or remove it")
        yield tuple(text_of(record[column]) for column in text_columns), label


def _records(path: Path, wanted: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    kind = path.suffix.lower()
    if kind == ".parquet":
        yield from _parquet(path, wanted)
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


def _parquet(path: Path, wanted: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    try:
        from pyarrow import ArrowInvalid, parquet  # noqa: PLC0415  only this kind of file needs it
    except ModuleNotFoundError as error:
        raise plugins.missing(error, f"reading {path.name}") from error
    try:
        with parquet.ParquetFile(path) as file:
            there = file.schema_arrow.names
            columns = list(wanted) if set(wanted) <= set(there) else None
            for batch in file.iter_batches(batch_size=4096, columns=columns):
                yield from batch.to_pylist()
    except ArrowInvalid as error:
        raise DataError(f"{path} is not readable as parquet: {error}") from error


def _bytes(path: Path) -> int:
    """Return a table's size; of parquet, which is compressed, several times the file's."""
    return path.stat().st_size * (4 if path.suffix.lower() == ".parquet" else 1)

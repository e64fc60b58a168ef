"""Read the user's tables of text columns and a label column; each format has its own file."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmc import stored_rows
from bmc.data._values import Values
from bmc.data_files import size_of
from bmc.files import storage_error

if TYPE_CHECKING:
    from bmc.data import Table

FORMATS = {
    ".csv": ("_csv", "line"),
    ".tsv": ("_csv", "line"),
    ".jsonl": ("_json", "line"),
    ".ndjson": ("_json", "line"),
    ".json": ("_json", "row"),
    ".parquet": ("_parquet", "row"),
}
"""Of each ending: the file that reads it, and what its rows are counted in."""

Pairs = Iterable[tuple[tuple[str, ...], str]]
Records = Iterator[tuple[int, Sequence[Any]]]


def read(path: Path, text_columns: Sequence[str], label_column: str) -> Table:
    """Read the named columns of a table.

    Rows of a large table go to a temporary file, so that it need not fit in memory.

    Raises:
        DataError: a column is missing (the message lists the columns), or a row is unreadable.
    """
    rows, values = records(path, (*text_columns, label_column))
    return gathered(_pairs(rows, text_columns, label_column, values), _bytes(path), values)


def records(path: Path, columns: Sequence[str], advice: str = "") -> tuple[Records, Values]:
    """Return the requested columns of a table, and the rules that turn its values into texts.

    Args:
        path: a file with one of the extensions in FORMATS.
        columns: their names.
        advice: how the user names columns, for messages; by the options of texts when empty.

    Returns:
        an iterator over the line or row number of each record with its values; and `Values`.
    """
    module, unit = FORMATS[path.suffix.lower()]
    values = Values(str(path), unit, *([advice] if advice else []))
    return importlib.import_module(f"bmc.data.{module}").records(path, columns, values), values


def gathered(pairs: Pairs, size: int, values: Values) -> Table:
    """Collect rows and labels, in memory or, of a large table, on disk.

    Args:
        pairs: for each row, its texts and its label.
        size: bytes of the table, roughly.
        values: the reader of the values; its notes become notes of the table.

    Raises:
        StorageError: the disk is full.
    """
    from bmc.data import Table  # noqa: PLC0415  this file is a part of that package

    rows: Any
    labels: Any
    if size <= stored_rows.LARGE:
        listed = list(pairs)
        rows, labels = [row for row, _ in listed], [label for _, label in listed]
    else:
        rows, labels = _on_disk(pairs)
    return Table(rows, labels, numbers=values.numbers, notes=values.notes)


def _on_disk(pairs: Pairs) -> tuple[Any, Any]:
    try:  # what goes wrong with the table itself is a DataError already
        writer = stored_rows.Writer()
        try:
            for row, label in pairs:
                writer.append(row, label)
            return writer.finish()
        except BaseException:
            writer.close()
            raise
    except OSError as error:
        raise storage_error(error, Path(tempfile.gettempdir())) or error from error


def _pairs(
    records: Records,
    text_columns: Sequence[str],
    label_column: str,
    values: Values,
) -> Iterator[tuple[tuple[str, ...], str]]:
    for number, (*texts, label) in records:
        row = tuple(
            values.text(text, column, number)
            for text, column in zip(texts, text_columns, strict=True)
        )
        yield row, values.label(label, label_column, number)


def _bytes(path: Path) -> int:
    """Return a table's size; of parquet, which is compressed, several times the file's."""
    return size_of(path) * (4 if path.suffix.lower() == ".parquet" else 1)

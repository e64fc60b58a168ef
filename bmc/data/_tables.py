"""Read the user's tables of text columns and a label column; each format has its own file."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bmc import stored_rows
from bmc.data._columns import label_columns_of
from bmc.data._dataset import Table
from bmc.data._values import Values
from bmc.data_files import size_of
from bmc.files import storage_error
from bmc.label_names import natural

FORMATS = {
    ".csv": ("_csv", "line"),
    ".tsv": ("_csv", "line"),
    ".jsonl": ("_json", "line"),
    ".ndjson": ("_json", "line"),
    ".json": ("_json", "row"),
    ".parquet": ("_parquet", "row"),
    ".arrow": ("_arrow", "row"),
    ".feather": ("_arrow", "row"),
}
"""Of each ending: the file that reads it, and what its rows are counted in."""

Pairs = Iterable[tuple[tuple[str, ...], str]]
Records = Iterator[tuple[int, Sequence[Any]]]


def read(
    path: Path, text_columns: Sequence[str], label_column: str, several: bool = False
) -> Table:
    """Read the named columns of a table.

    Rows of a large table go to a temporary file, so that it need not fit in memory.

    Args:
        path: the file.
        text_columns: names of the text columns.
        label_column: name of the label column; of several labels a row, also a column for each
            label, separated by commas.
        several: whether a row has several labels.

    Raises:
        DataError: a column is missing (the message lists the columns), or a row is unreadable.
    """
    label_columns = label_columns_of(label_column, several)
    rows, values = records(path, (*text_columns, *label_columns))
    labels = labels_of(values, label_columns, several)
    pairs = _pairs(rows, text_columns, labels, values)
    table = gathered(pairs, _bytes(path), values)
    return replace(table, several=several, classes=classes_of(label_columns, several))


def labels_of(
    values: Values, columns: Sequence[str], several: bool
) -> Callable[[Sequence[Any], int], str]:
    """Return a function of a row's values in the label columns, and of the row's number.

    The function returns the row's label, or its labels as `bmc.label_names.joined` writes them.

    Args:
        values: reader of the values.
        columns: names of the label columns: one, or of several labels a row one for each label.
        several: whether a row has several labels.
    """
    if not several:
        return lambda found, number: values.label(found[0], columns[0], number)
    if len(columns) == 1:
        return lambda found, number: values.label_set(found[0], columns[0], number)
    return lambda found, number: values.flagged(found, columns, number)


def classes_of(columns: Sequence[str], several: bool) -> tuple[str, ...]:
    """Return the labels that have a column each, sorted; () where the values name the labels."""
    return tuple(sorted(columns, key=natural)) if several and len(columns) > 1 else ()


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
    labels: Callable[[Sequence[Any], int], str],
    values: Values,
) -> Iterator[tuple[tuple[str, ...], str]]:
    count = len(text_columns)
    for number, found in records:
        row = tuple(
            values.text(text, column, number)
            for text, column in zip(found[:count], text_columns, strict=True)
        )
        yield row, labels(found[count:], number)


def _bytes(path: Path) -> int:
    """Return a table's size; of parquet, which is compressed, several times the file's."""
    return size_of(path) * (4 if path.suffix.lower() == ".parquet" else 1)

"""Read tables of numbers: the columns that `--features` names, and a label column."""

from __future__ import annotations

import importlib
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc import console
from bmc.data._columns import label_columns_of, places_of
from bmc.data._dataset import Table
from bmc.data._tables import FORMATS, classes_of, labels_of, records
from bmc.data._values import Values
from bmc.errors import DataError
from bmc.inputs.features import listed, number_of

ALL_FEATURES = "all"
"""The word for every column of numbers but the label's."""
WAY_OUT = "Name yours with --features and --label-column"
_NO_VALUE = {"", "nan", "none", "null", "na", "n/a", "#n/a", "nil", "<na>", "?"}
_TRUTH = {"true": 1.0, "false": 0.0}
_SEPARATED = re.compile(r"[-+]?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]*)?")
_NAMELESS = re.compile(r"|Unnamed: \d+")  # what pandas writes, and reads, for its row index
_MOSTLY = 0.5  # share of a column's values that are numbers, from which on a text is a mistake


def read(path: Path, features: Sequence[str], label_column: str, several: bool = False) -> Table:
    """Read columns of numbers, and the labels.

    Args:
        path: a .csv, .tsv, .jsonl, .ndjson, .json or .parquet file.
        features: names of the columns; one name may hold several with commas, and "all" stands for
            every column of numbers but the label's.
        label_column: name of the column of labels; of several labels a row, also a column for each
            label, separated by commas.
        several: whether a row has several labels.

    Raises:
        DataError: a column is missing, holds text (the message names the line and the value), has
            no value at all, or no column holds numbers.
    """
    label_columns = label_columns_of(label_column, several)
    columns = chosen(features, column_names(path), label_columns, str(path))
    rows, values = records(path, (*columns, *label_columns), WAY_OUT)
    labels = labels_of(values, label_columns, several)
    table = _table(rows, values, columns, labels, is_all=tuple(features) == (ALL_FEATURES,))
    return replace(table, several=several, classes=classes_of(label_columns, several))


def features_in_memory(
    columns_by_name: Mapping[str, Sequence[Any]],
    features: Sequence[str],
    label_column: str,
    several: bool = False,
) -> Table:
    """Read columns of numbers, and the labels, that a Python caller passed.

    Args:
        columns_by_name: cells of each column; all columns have as many.
        features: names of the columns; see `read`.
        label_column: name of the column of labels; see `read`.
        several: whether a row has several labels.

    Raises:
        DataError: see `read`.
    """
    label_columns = label_columns_of(label_column, several)
    available = list(columns_by_name)
    columns = chosen(features, available, label_columns, "the data")
    values = Values("the data", advice=WAY_OUT)
    places = places_of((*columns, *label_columns), available, values, "the data")
    cells = zip(*(columns_by_name[available[place]] for place in places), strict=True)
    rows = ((number, [_plain(cell) for cell in row]) for number, row in enumerate(cells, start=1))
    labels = labels_of(values, label_columns, several)
    table = _table(rows, values, columns, labels, is_all=tuple(features) == (ALL_FEATURES,))
    return replace(table, several=several, classes=classes_of(label_columns, several))


def _table(
    rows: Iterable[tuple[int, Sequence[Any]]],
    values: Values,
    columns: Sequence[str],
    labels_of_row: Callable[[Sequence[Any], int], str],
    is_all: bool,
) -> Table:
    """Return the table of some records, whose last cells are those of the label columns."""

    cells: list[Sequence[Any]] = []
    labels: list[str] = []
    lines: list[int] = []
    for number, row in rows:
        cells.append(row[: len(columns)])
        labels.append(labels_of_row(row[len(columns) :], number))
        lines.append(number)
    features, array = _Numbers(values, columns, lines, is_all).of(cells)
    counts = Counter(name.strip() for name in features)
    plain = tuple(name.strip() if counts[name.strip()] == 1 else name for name in features)
    return Table(
        rows_of(array), labels, None, "features", values.numbers, values.notes, features=plain
    )


def _plain(cell: Any) -> Any:
    """Return a cell as Python's own value, which a label must be; numpy's values are none."""
    if isinstance(cell, np.ndarray):
        return cell.tolist()
    if isinstance(cell, np.datetime64 | np.timedelta64):  # .item() of nanoseconds is an int
        return cell.astype(f"{type(cell).__name__}[us]").item()
    return cell.item() if isinstance(cell, np.generic) else cell


def unlabeled(path: Path, columns: Sequence[str]) -> NDArray[np.float64]:
    """Read columns of numbers without labels.

    Raises:
        DataError: a column is missing, or a value is no number.
    """
    rows, values = records(path, columns, WAY_OUT)
    lines, cells = [], []
    for number, row in rows:
        lines.append(number)
        cells.append(row)
    return rows_of(_Numbers(values, columns, lines, is_all=False).of(cells)[1])


def chosen(
    features: Sequence[str], available: Sequence[str], label_columns: Sequence[str], where: str
) -> tuple[str, ...]:
    """Return the names of the columns to read.

    Args:
        features: as typed; see `read`.
        available: the table's columns.
        label_columns: names of the columns of labels, which are no features.
        where: the table, for messages.

    Raises:
        DataError: a column is missing, stands twice, or is the label's.
    """
    labels = {name.strip() for name in label_columns}
    if tuple(features) == (ALL_FEATURES,):
        others = [name for name in available if name.strip() not in labels]
        columns = tuple(name for name in others if not _NAMELESS.fullmatch(name.strip()))
        if nameless := [name for name in others if name not in columns]:
            console.note(
                f"{where}: the column {nameless[0]!r} has no name, as one that numbers the rows: "
                "it is left out (--features by name reads it)"
            )
    else:
        columns = tuple(
            part.strip() for name in features for part in _parts(name, available) if part.strip()
        )
    if not columns:
        raise DataError(f"{where} has no column besides the label. {WAY_OUT}")
    if both := [name for name in columns if name.strip() in labels]:
        raise DataError(
            f"column {both[0]!r} is named as feature and as label; a model would read its own "
            "answer: take it out of --features, or name another --label-column"
        )
    if repeated := [name for name, count in Counter(columns).items() if count > 1]:
        if tuple(features) == (ALL_FEATURES,):
            raise DataError(
                f"{where} has {columns.count(repeated[0])} columns named {repeated[0]!r}; rename "
                "or remove one"
            )
        raise DataError(f"--features names {repeated[0]!r} twice; name each column once")
    places_of(columns, available, Values(where, advice=WAY_OUT), where)
    return columns


def column_names(path: Path) -> list[str]:
    """Return the names of a table's columns, in order."""
    module, _ = FORMATS[path.suffix.lower()]
    names: list[str] = importlib.import_module(f"bmc.data.{module}").names(path)
    return names


def rows_of(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return numbers as rows whose bytes are equal where the numbers are: one NaN, one zero."""
    rows = np.ascontiguousarray(values, np.float64) + 0.0  # -0 becomes 0
    rows[np.isnan(rows)] = np.nan
    return rows


def notes_on_missing(rows: NDArray[np.float64], columns: Sequence[str]) -> list[str]:
    """Return a sentence on the columns with missing values; none if there are no such columns."""
    counts = np.isnan(np.asarray(rows, np.float64)).sum(axis=0)
    missing = [
        f"{name} ({count})" for name, count in zip(columns, counts.tolist(), strict=True) if count
    ]
    if not missing:
        return []
    return [
        "missing values are replaced by the median of the training rows, in columns "
        f"{listed(missing)}",
    ]


def number_in(cell: Any) -> float | None:
    """Return the number that a table's cell holds: NaN for a missing one, None for text."""
    if not isinstance(cell, str | bytes):
        return number_of(cell)
    text = cell.decode("utf-8", "replace") if isinstance(cell, bytes) else cell
    text = text.strip()
    try:
        return float(text) if "_" not in text else None
    except ValueError:
        folded = text.casefold()
        return math.nan if folded in _NO_VALUE else _TRUTH.get(folded)


def _parts(name: str, available: Sequence[str]) -> Iterable[str]:
    """Return the columns that one name stands for: itself, or several with commas."""
    return (name,) if name in available else name.split(",")


def _has_separators(cell: Any) -> bool:
    return isinstance(cell, str) and _SEPARATED.fullmatch(cell.strip()) is not None


class _Numbers:
    """Turns the cells of a table into numbers.

    Args:
        values: the table's values, which keep the notes.
        columns: names of the columns.
        lines: number of each row, for messages.
        is_all: whether columns of text are left out instead of refused.
    """

    def __init__(
        self, values: Values, columns: Sequence[str], lines: Sequence[int], is_all: bool
    ) -> None:
        self.values, self.columns, self.lines, self.is_all = values, columns, lines, is_all

    def of(self, cells: Sequence[Sequence[Any]]) -> tuple[tuple[str, ...], NDArray[np.float64]]:
        """Return the columns that hold numbers, and the numbers (rows, columns).

        Raises:
            DataError: there is no row, or a column that is read holds text, infinity or nothing.
        """
        if not cells:
            raise DataError(f"{self.values.source} has no rows")
        columns: dict[str, NDArray[np.float64]] = {}
        left_out: list[str] = []
        has_separators = False
        for index, name in enumerate(self.columns):
            numbers = [number_in(row[index]) for row in cells]
            if self.is_all and self._is_text(numbers):
                left_out.append(name)
                has_separators |= any(_has_separators(row[index]) for row in cells)
                continue
            columns[name] = self._column(name, numbers, [row[index] for row in cells])
        if left_out:
            hint = " (1,200 is a text: write 1200)" if has_separators else ""
            self.values.note(f"non-numeric columns are left out: {listed(left_out)}{hint}")
        if not columns:
            raise DataError(
                f"{self.values.source} has no numeric column besides the label (left out: "
                f"{listed(left_out)}); a table of texts is read with --text-column"
            )
        return tuple(columns), np.stack(list(columns.values()), axis=1)

    def _is_text(self, numbers: Sequence[float | None]) -> bool:
        """Tell whether a column holds texts, or nothing at all, and is no feature."""
        texts = sum(number is None for number in numbers)
        present = sum(number is not None and not math.isnan(number) for number in numbers)
        return present == 0 or present < _MOSTLY * (present + texts)

    def _column(
        self, name: str, numbers: Sequence[float | None], cells: Sequence[Any]
    ) -> NDArray[np.float64]:
        for line, number, cell in zip(self.lines, numbers, cells, strict=True):
            where = f"{self.values.source}: {self.values.unit} {line}, column {name!r:.60}"
            if number is None:
                raise DataError(
                    f"{where}, holds {cell!r:.40}, which is not a number; fix it, leave it empty "
                    "(missing), or leave the column out of --features"
                )
            if math.isinf(number):
                raise DataError(
                    f"{where}, has {number}; write a finite number, or leave it empty (missing)"
                )
        column = np.array(numbers, np.float64)
        if np.isnan(column).all():
            raise DataError(
                f"{self.values.source}: column {name!r:.60} has no value in any "
                f"{self.values.unit}; leave it out of --features"
            )
        return column

"""Rows to predict: texts, files and tables named as arguments, and lines of a stream."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from bmc import console
from bmc.data import FORMATS, Values, characters, number_in, opened, records
from bmc.errors import BmcError, DataError, UnknownError, UsageError
from bmc.untrusted import unique_keys

_LINES_SUFFIX = ".txt"
_LACKS_COLUMN = "The model was trained on this column; name yours alike"


@dataclass(frozen=True)
class InputRow:
    """One row to predict.

    Args:
        shown: text that is printed next to the prediction: the row, or the name of its file.
        row: row for the pipeline; None if there is an error.
        error: reason why the row cannot be read; None if it can.
    """

    shown: str
    row: Any = None
    error: BmcError | None = None

    @property
    def blank(self) -> bool:
        """Tell whether the row is an empty text, for which no prediction is not an error."""
        return not self.shown.strip()


def from_arguments(
    kind: str, arguments: Sequence[str], pair: Sequence[str], columns: Sequence[str]
) -> list[InputRow]:
    """Read the rows of command-line arguments.

    Args:
        kind: kind of the model's rows; "text", "image", "audio", "series", "features" or
            "latent".
        arguments: the arguments as typed.
        pair: the second text for each argument.
        columns: names of the columns to read where an argument names a table (models of texts and
            of numbers).

    Raises:
        DataError: a table cannot be read, `pair` comes with a table, or the number of pairs is not
            that of the texts.
        UnknownError: an argument that names a table leads to no file.
        UsageError: an argument is a file that holds no texts, or a column is named twice.
    """
    if len(set(columns)) < len(columns):
        raise UsageError(f"--text-column names {columns[0]!r} twice; name two columns")
    if kind == "features":
        return [row for argument in arguments for row in _numbers(argument, columns)]
    if kind != "text":
        read = _READERS.get(kind, str)
        return [_input_row(argument, partial(read, argument)) for argument in arguments]
    rows: list[InputRow] = []
    for argument in arguments:
        if _names_a_table(argument):
            if pair:
                raise DataError(f"{argument} is a table: name its two columns with --text-column")
            rows += _table(Path(argument), columns)
        else:
            rows.append(_text(argument, "the text"))
    if not pair:
        return rows
    if len(pair) != len(rows):
        raise DataError(f"{len(rows)} texts but {len(pair)} --pair texts; give one for each")
    seconds = [_text(second, "the --pair text") for second in pair]
    return [_paired(first, second) for first, second in zip(rows, seconds, strict=True)]


def _paired(first: InputRow, second: InputRow) -> InputRow:
    """Return the pair of two texts, with the error of the first text that has one."""
    shown = f"{first.shown} | {second.shown}"
    return InputRow(shown, (first.row, second.row), first.error or second.error)


def from_lines(kind: str, lines: Iterable[bytes], source: str) -> list[InputRow]:
    """Return a row for each line of a stream.

    Args:
        kind: kind of the model's rows; see `from_arguments`.
        lines: the lines as they were read.
        source: name of the stream, for messages.
    """
    if kind == "features":
        objects = (line.decode("utf-8", "replace") for line in lines)
        return [_object(text, f"{source}: line {number}") for number, text in enumerate(objects, 1)]
    if kind != "text":
        names = [line.decode("utf-8", "surrogateescape").strip() for line in lines]
        return from_arguments(kind, names, (), ())
    return list(_lines(lines, source))


def from_stream(kind: str, stream: TextIO | None) -> list[InputRow]:
    """Return a row for each line of standard input.

    Args:
        kind: kind of the model's rows; see `from_arguments`.
        stream: standard input; None where the process has none.

    Raises:
        DataError: standard input is missing, closed or a terminal.
    """
    if stream is None or stream.closed or stream.isatty():
        raise DataError(
            "no rows to predict: give them as arguments, bmc predict BUNDLE 'some text', or as "
            "lines on stdin"
        )
    binary = getattr(stream, "buffer", None)
    lines: Iterable[bytes] = binary or (line.encode() for line in stream)
    return from_lines(kind, lines, "standard input")


def _lines(lines: Iterable[bytes], source: str) -> Iterator[InputRow]:
    for number, line in enumerate(lines, start=1):
        content = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
        yield _text(content, f"{source}: line {number}")


def _text(value: str | bytes, where: str) -> InputRow:
    """Return a text without white space at its ends."""
    shown = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    shown = shown.encode("utf-8", "replace").decode().strip()
    try:
        text = characters(value, where).strip()
    except DataError as error:
        return InputRow(shown, None, error)
    return (
        InputRow(text, text) if text else InputRow("", None, DataError(f"{where} is an empty text"))
    )


def _names_a_table(argument: str) -> bool:
    """Tell whether an argument of a text model names a table or a file of lines.

    Raises:
        UnknownError: the argument ends like a table's name, but there is no such file.
        UsageError: it is a file of another kind, such as a picture.
    """
    path = Path(argument)
    exists = _is_file(path)
    if path.suffix.lower() in {*FORMATS, _LINES_SUFFIX}:
        if exists:
            return True
        if argument.split() == [argument]:
            raise UnknownError(
                f"no file {argument!r}; if it is a text, write it into standard input"
            )
    elif exists and path.suffix:
        raise UsageError(
            f"{argument!r} is a file, and the model takes texts: from tables ("
            f"{', '.join(FORMATS)}), lines of {_LINES_SUFFIX} or standard input"
        )
    elif exists:
        console.note(
            f"{argument!r} is taken as a text, although a file has this name; "
            f"to predict its lines: bmc predict BUNDLE < {argument}"
        )
    return False


def _table(path: Path, columns: Sequence[str]) -> list[InputRow]:
    """Return the rows of a table, or the lines of a .txt file."""
    if path.suffix.lower() == _LINES_SUFFIX:
        with path.open("rb") as file:
            return list(_lines(file, str(path)))
    only = _only_column(path)
    if only and len(only[0].split()) > 1 and only != [*columns]:
        console.note(
            f"{path}: the first line, {only[0]!r:.60}, is taken for the column's name, and is not "
            "predicted; rename a file of texts alone to .txt"
        )
    columns = only or columns
    read, values = records(path, columns)
    rows = []
    for number, texts in read:
        shown = " | ".join("" if text is None else str(text).strip() for text in texts)
        rows.append(_input_row(shown, partial(_texts, values, texts, columns, number)))
    for line in values.notes:
        console.note(line)
    if not rows:
        raise DataError(f"{path} has no rows")
    console.note(f"{path}: {len(rows)} rows of column {' and '.join(map(repr, columns))}")
    return rows


def _texts(
    values: Values, texts: Sequence[Any], columns: Sequence[str], number: int
) -> tuple[str, ...]:
    return tuple(
        values.text(text, column, number) for text, column in zip(texts, columns, strict=True)
    )


def _only_column(path: Path) -> list[str] | None:
    """Return the header of a .csv file with a single column, which need not be named; else None."""
    if path.suffix.lower() != ".csv":
        return None
    with opened(path) as file:
        try:
            header = next(csv.reader(file), [])
        except csv.Error:
            return None
    return header if len(header) == 1 and header[0].strip() else None


def _numbers(argument: str, columns: Sequence[str]) -> list[InputRow]:
    """Return the rows of a table of numbers, or the row of a JSON object.

    Args:
        argument: the argument as typed.
        columns: names of the model's columns.

    Raises:
        UnknownError: there is no such file.
        UsageError: the argument is neither.
        DataError: the table lacks a column, or cannot be read.
    """
    path = Path(argument)
    if argument.lstrip().startswith("{"):
        return [_object(argument, "the row")]
    if path.suffix.lower() not in FORMATS:
        raise UsageError(
            f"the model takes numbers, and {argument!r:.60} is neither a table "
            f"({', '.join(FORMATS)}) nor a JSON object such as '{{\"{columns[0]:.40}\": 1.5}}'"
        )
    if not _is_file(path):
        raise UnknownError(f"no file {argument!r}")
    read, values = records(path, columns, _LACKS_COLUMN)
    rows = []
    for number, cells in read:
        where = f"{path}: {values.unit} {number}"
        cells_by_column = dict(zip(columns, cells, strict=True))
        rows.append(_input_row(where, partial(_features, cells_by_column, where)))
    for line in values.notes:
        console.note(line)
    if not rows:
        raise DataError(f"{path} has no rows")
    console.note(f"{path}: {len(rows)} rows of {len(columns)} columns")
    return rows


def _object(text: str, where: str) -> InputRow:
    """Return the row that a JSON object by column is."""
    shown = text.strip()
    if not shown:
        return InputRow("", None, DataError(f"{where} is empty"))
    try:
        cells = json.loads(shown, object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:
        return InputRow(shown, None, DataError(f"{where} is not readable as JSON: {error}"))
    if not isinstance(cells, dict):
        return InputRow(
            shown, None, DataError(f'{where} is no JSON object by column, such as {{"age": 40}}')
        )
    return InputRow(shown, cells)


def _features(cells: Mapping[str, Any], where: str) -> dict[str, float]:
    """Return the numbers in a table's cells.

    Raises:
        DataError: a cell holds text.
    """
    numbers: dict[str, float] = {}
    for column, cell in cells.items():
        number = number_in(cell)
        if number is None:
            raise DataError(
                f"{where}, column {column!r:.60}, holds {cell!r:.40}, which is not a number; fix "
                "it, or leave it empty (missing)"
            )
        numbers[column] = number
    return numbers


def _input_row(shown: str, read: Callable[[], Any]) -> InputRow:
    if not shown.strip():
        return InputRow("", None, DataError("an empty row"))
    try:
        return InputRow(shown, read())
    except BmcError as error:
        return InputRow(shown, None, error)


def _file(name: str, what: str = "image") -> Path:
    path = Path(name)
    if not _is_file(path):
        if os.path.isdir(path):
            raise UnknownError(f"{str(path)!r} is a folder; name its {what}s: {path}/*")
        raise UnknownError(f"no {what} file {str(path)!r}")
    return path


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # longer than a file's name may be, or with a NUL
        return False


def _series(name: str) -> Any:
    """Read a series (steps, channels)."""
    path = Path(name)
    if not _is_file(path):
        raise UnknownError(
            f"no file {str(path)!r} with a series (.npy, or .csv with a step a line)"
        )
    try:
        if path.suffix == ".npy":
            return np.load(path, allow_pickle=False)
        return np.loadtxt(path, delimiter=",", ndmin=2, dtype=np.float32)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{path} is no table of numbers: {error}") from error


_READERS: Mapping[str, Callable[[str], Any]] = {
    "series": _series,
    "image": _file,
    "audio": partial(_file, what="sound"),
}

"""Rows of a .csv (commas) or .tsv (tabs) file, with the line where each begins."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from bmc.data._columns import places_of
from bmc.data._values import Values
from bmc.data_files import opened
from bmc.errors import DataError

_OTHERS = {";": "semicolons", "\t": "tabs", "|": "bars", ",": "commas"}


def records(
    path: Path, columns: Sequence[str], values: Values
) -> Iterator[tuple[int, Sequence[Any]]]:
    """Yield for each row the number of its first line, and its fields of the requested columns.

    A quoted field may span several lines. Blank lines are skipped.

    Raises:
        DataError: a row has more or fewer fields than the header, a quote is never closed or
            swallows whole lines of a .tsv, a column is missing, or the file is not UTF-8 text.
    """
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    header: list[str] | None = None
    places: list[int] = []
    with opened(path) as file:
        rows = csv.reader(_without_nul(file, path), delimiter=delimiter, strict=True)
        while True:
            line = rows.line_num + 1
            try:
                fields = next(rows)
            except StopIteration:
                return
            except csv.Error as error:
                raise DataError(_unquoted(path, line, rows.line_num, error)) from error
            if not fields or (len(fields) == 1 and fields[0].isspace()):
                continue
            if header is None:
                header = fields
                places = _places(path, line, header, columns, delimiter, values)
            elif len(fields) != len(header):
                raise DataError(_ragged(path, line, fields, header, delimiter))
            elif delimiter == "\t" and _are_lines(fields, len(header)):
                raise DataError(
                    f"{path}: lines {line} to {rows.line_num} would be one row, with tabs inside a "
                    "field that begins with a quote: the file does not quote its fields; remove "
                    "the quote at the field's beginning, or quote the field and double the quote"
                )
            else:
                yield line, [fields[index] for index in places]


def _are_lines(fields: Sequence[str], columns: int) -> bool:
    """Tell whether a row of several lines would be a row in each of them, without its quotes."""
    lines = "\t".join(fields).splitlines()
    return len(lines) > 1 and all(line.count("\t") == columns - 1 for line in lines)


def names(path: Path) -> list[str]:
    """Return the names of the columns, in order.

    Raises:
        DataError: the file has no header, or is not UTF-8 text.
    """
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    with opened(path) as file:
        rows = csv.reader(_without_nul(file, path), delimiter=delimiter, strict=True)
        try:
            for fields in rows:
                if fields and not (len(fields) == 1 and fields[0].isspace()):
                    _check_delimiter(path, rows.line_num, fields, delimiter)
                    return fields
        except csv.Error as error:
            raise DataError(_unquoted(path, 1, rows.line_num, error)) from error
    raise DataError(f"{path} has no rows")


def _without_nul(lines: Iterable[str], path: Path) -> Iterator[str]:
    for number, line in enumerate(lines, start=1):
        if "\0" in line:
            raise DataError(
                f"{path}: line {number} holds a NUL character; remove it, or if the file is "
                "UTF-16, save it as UTF-8: iconv -f UTF-16 -t UTF-8"
            )
        yield line


def _places(
    path: Path,
    line: int,
    header: Sequence[str],
    columns: Sequence[str],
    delimiter: str,
    values: Values,
) -> list[int]:
    """Return the indices of the requested columns; refuse a file with another delimiter."""
    if header[0] not in columns:
        _check_delimiter(path, line, header, delimiter)
    sample = delimiter.join(columns)
    way_out = f"; if line {line} is a row already, put a header above it: {sample!r}"
    return places_of(columns, header, values, f"{path}: the header (line {line})", way_out)


def _check_delimiter(path: Path, line: int, header: Sequence[str], delimiter: str) -> None:
    """Refuse a header that is one column with another delimiter in it."""
    other = next((sign for sign in _OTHERS if sign != delimiter and sign in header[0]), None)
    if len(header) == 1 and other:
        raise DataError(
            f"{path}: line {line} is one column, {header[0]!r:.60}, with {_OTHERS[other]} in "
            f"it; {path.suffix} is read with {_OTHERS[delimiter]}: save it with commas as "
            ".csv, or with tabs as .tsv"
        )


def _ragged(
    path: Path, line: int, fields: Sequence[str], header: Sequence[str], delimiter: str
) -> str:
    count = f"{len(fields)} field{'s' if len(fields) != 1 else ''}"
    names = ", ".join(repr(name) for name in header[:4]) + (", ..." if len(header) > 4 else "")
    if len(fields) < len(header):
        out = "fill what is missing, or remove the line"
    else:
        inside = "comma" if delimiter == "," else "tab"
        sample = f'"well{delimiter} a fine film"'
        out = f"quote a field that holds a {inside}, such as {sample}"
    return f"{path}: line {line} has {count}, the header {len(header)} ({names}); {out}"


def _unquoted(path: Path, start: int, end: int, error: csv.Error) -> str:
    lines = f"line {start}" if end <= start else f"lines {start} to {end}"
    if "unexpected end" in str(error):
        return (
            f"{path}: line {start} opens a quote that is never closed; close it, or write a "
            'quote inside a quoted field twice ("")'
        )
    return f'{path}: {lines}: {error}; write a quote inside a quoted field twice ("")'

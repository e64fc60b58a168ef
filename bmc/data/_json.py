"""Read rows of JSON: one object per line (.jsonl, .ndjson), or one list of objects (.json)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bmc.data._columns import places_of
from bmc.data._values import Values
from bmc.data_files import opened, size_of
from bmc.errors import DataError
from bmc.untrusted import unique_keys

_MOST_BYTES = 256 * 2**20  # of a .json file; parsing it takes ten times as much memory


def records(
    path: Path, columns: Sequence[str], values: Values
) -> Iterator[tuple[int, Sequence[Any]]]:
    """Yield the line number (in a .json file: the row number) of each object, and its values.

    Raises:
        DataError: a line is not a JSON object, names a key twice, or lacks a column.
    """
    names: list[str] | None = None
    for number, record in objects(path):
        where = f"{path}: {values.unit} {number}"
        if names is None or any(name not in record for name in names):
            places = places_of(columns, list(record), values, where)
            if names is not None:
                raise DataError(f"{where} names its columns otherwise than the rows before it")
            names = [list(record)[index] for index in places]
        yield number, [record[name] for name in names]


def names(path: Path) -> list[str]:
    """Return the keys of all objects, in the order in which they first occur.

    Raises:
        DataError: there is no object.
    """
    keys: dict[str, None] = {}
    for _, record in objects(path):
        keys |= dict.fromkeys(map(str, record))
    if not keys:
        raise DataError(f"{path} has no rows")
    return list(keys)


def objects(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield the line number (in a .json file: the row number) and the content of each object.

    Raises:
        DataError: a line is not a JSON object, or names a key twice.
    """
    if path.suffix.lower() == ".json":
        yield from enumerate(_list(path), start=1)
        return
    with opened(path) as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield number, _object(_parsed(line, f"{path}: line {number}"), path, number)


def _list(path: Path) -> list[Mapping[str, Any]]:
    way_out = "write one object a line and name it .jsonl"
    if size_of(path) > _MOST_BYTES:
        raise DataError(f"{path} has {size_of(path) / 1e6:.0f} MB, too much for .json; {way_out}")
    with opened(path) as file:
        content = file.read()
    try:
        rows = _parsed(content, str(path))
    except DataError as error:
        if "Extra data" in str(error):
            raise DataError(
                f"{path} holds several JSON values; if it is one a line, name it .jsonl"
            ) from error
        raise
    if not isinstance(rows, list):
        raise DataError(f"{path} holds no list of objects; {way_out}")
    return [_object(row, path, number, "row") for number, row in enumerate(rows, start=1)]


def _object(value: Any, path: Path, number: int, unit: str = "line") -> Mapping[str, Any]:
    if isinstance(value, dict):
        return value
    hint = "; a JSON list is a .json file" if unit == "line" and isinstance(value, list) else ""
    raise DataError(f"{path}: {unit} {number} holds no JSON object: {str(value)[:60]!r}{hint}")


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is not readable as JSON: {error}") from error

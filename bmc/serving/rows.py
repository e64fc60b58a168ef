"""Rows as requests send them: JSON for every kind, and a file's bytes for images and sound."""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from bmc.errors import DataError, RequestError
from bmc.untrusted import unique_keys

_JSON, _TEXT = "application/json", "text/plain"
_FILES = ("image", "audio")
_TEXTS = ("text", "ngram", "words")
_UNREADABLE, _TOO_LARGE, _UNKNOWN_TYPE = 400, 413, 415
_NUMBERS_ALONE = "the lists must hold numbers alone"


def is_json(content_type: str) -> bool:
    """Tell whether a content type is that of JSON."""
    media_type = _media_type(content_type)
    return media_type == _JSON or media_type.endswith("+json")


def rows_of(content: bytes, content_type: str, kind: str, max_rows: float = math.inf) -> list[Any]:
    """Return the rows of a request's body.

    A JSON body is an object with a list of rows: {"rows": [...]}. The body of a text/plain request
    is one text. For models of images and sound, any other body is one file.

    Args:
        content: the body.
        content_type: its media type, as in the header of that name; "" where there is none.
        kind: the kind of rows that the model takes, as encoders name it.
        max_rows: largest number of rows.

    Raises:
        RequestError: the body is not what its type says, has too many rows, or the model does not
            take that type.
        DataError: a row does not have the form of the kind; the message counts rows from 1.
    """
    if is_json(content_type):
        rows = _listed(content)
        if len(rows) > max_rows:
            raise too_many_rows(len(rows), max_rows)
        return [_row(row, kind, number) for number, row in enumerate(rows, start=1)]
    media_type = _media_type(content_type)
    if media_type == _TEXT and kind in _TEXTS:
        return [_decoded(content).removeprefix("\ufeff").rstrip("\r\n")]  # as a file's one line
    if kind in _FILES:
        return [content]
    one = ", or one text as text/plain" if kind in _TEXTS else ""
    raise RequestError(
        f'the content type is {media_type!r:.60}; send {{"rows": [...]}} as {_JSON}{one}',
        _UNKNOWN_TYPE,
    )


def too_many_rows(count: int, most: float) -> RequestError:
    """Return the error of a request with more rows than may wait."""
    return RequestError(
        f"the request has {count:,} rows; at most {most:,} are taken at a time: send them in "
        "several requests",
        _TOO_LARGE,
    )


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RequestError(
            f"the body is not UTF-8: byte {error.start} is 0x{content[error.start]:02x}",
            _UNREADABLE,
        ) from error


def _listed(content: bytes) -> list[Any]:
    """Return the value of "rows" in a JSON object."""
    try:
        document = json.loads(
            _decoded(content), parse_constant=_refuse_constant, object_pairs_hook=unique_keys
        )
    except (ValueError, RecursionError) as error:  # also of a number with thousands of digits
        raise RequestError(f"the body is not JSON: {error}", _UNREADABLE) from error
    rows = document.get("rows") if isinstance(document, dict) else None
    if not isinstance(rows, list) or len(document) > 1:
        raise RequestError('the body must be an object with one list, {"rows": [...]}', _UNREADABLE)
    return rows


def _refuse_constant(name: str) -> float:
    raise RequestError(f"{name} is not JSON; a missing number is null", _UNREADABLE)


def _row(row: Any, kind: str, number: int) -> Any:
    read = _READ.get(kind)
    if read is None:
        raise DataError(f"rows of {kind} cannot be sent as JSON")
    try:
        return read(row)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise DataError(f"row {number}: {error}") from error


def _text(row: Any) -> Any:
    if isinstance(row, list) and all(isinstance(part, str) for part in row):
        return tuple(row)
    if isinstance(row, str):
        return row
    raise TypeError(f"{row!r:.40} is neither a text nor a list of texts")


def _file(row: Any) -> bytes:
    """Decode a file; a text must not become the name of a file on the server."""
    if not isinstance(row, dict) or set(row) != {"b64"} or not isinstance(row["b64"], str):
        raise TypeError('a file is {"b64": "its bytes in base64"}, or the whole body of a request')
    try:
        return base64.b64decode(row["b64"], validate=True)
    except binascii.Error as error:
        raise ValueError(f"b64 is not base64: {error}") from error


def _numbers(row: Any) -> Any:
    """Return the row of a model of numbers: by column, or in the order of the columns."""
    if isinstance(row, dict):
        return row
    if isinstance(row, list):
        return tuple(row)
    raise TypeError(f"{row!r:.40} is neither an object by column nor a list of numbers")


def _array(row: Any) -> np.ndarray[Any, Any]:
    if not isinstance(row, list):
        raise TypeError(f"{row!r:.40} is not a list of numbers")
    array = _without_text(row)
    if array.dtype.kind not in "bif":
        raise TypeError(_NUMBERS_ALONE)
    return array


def _arrays(row: Any) -> Any:
    """Return the row of a network with one input, or with several as {"inputs": [...]}."""
    if isinstance(row, dict) and set(row) == {"inputs"} and isinstance(row["inputs"], list):
        return tuple(_array(each) for each in row["inputs"])
    return _array(row)


def _tensors(row: Any) -> dict[str, np.ndarray[Any, Any]]:
    if not isinstance(row, dict):
        raise TypeError("a row is an object: an array for each input of the model, by its name")
    return {name: _without_text(value) for name, value in row.items()}


def _without_text(value: Any) -> np.ndarray[Any, Any]:
    """Return nested lists as an array.

    Numpy gives every element the size of the longest text, so one long text among short ones would
    fill the memory.

    Raises:
        TypeError: the lists hold a text.
    """
    if _holds_text(value):
        raise TypeError(_NUMBERS_ALONE)
    return np.asarray(value)


def _holds_text(value: Any) -> bool:
    """Tell whether a value is a text, or a list that holds one at any depth."""
    if not isinstance(value, list):
        return isinstance(value, str)
    types = set(map(type, value))
    return str in types or (list in types and any(map(_holds_text, value)))


def _seed(row: Any) -> int:
    if type(row) is not int:
        raise TypeError(f"{row!r:.40} is not a whole number, which seeds the noise")
    return row


_READ: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(_TEXTS, _text),
    **dict.fromkeys(_FILES, _file),
    "features": _numbers,
    "series": _array,
    "array": _arrays,
    "tensors": _tensors,
    "latent": _seed,
}

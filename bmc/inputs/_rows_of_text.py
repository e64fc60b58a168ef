"""Rows of texts, checked: what every encoder of text refuses, in the same words."""

from __future__ import annotations

import re
from typing import Any

from bmc.errors import DataError
from bmc.inputs import Row

_SURROGATE = re.compile("[\ud800-\udfff]")


def texts_of(row: Row, number: int, columns: int) -> tuple[str, ...]:
    """Return the texts of a row.

    Args:
        row: a text, or a tuple of texts; a list of two is a pair.
        number: number of the row, from 1, for messages.
        columns: number of texts in a row.

    Raises:
        DataError: the row has another number of texts, holds something else, is empty, or has half
            a character (a lone surrogate).
    """
    takes = f"row {number}: the model takes {columns} text(s) a row"
    if isinstance(row, str):
        texts: tuple[Any, ...] = (row,)
    elif isinstance(row, tuple) or (columns == 2 and isinstance(row, list)):
        texts = tuple(row)
    else:
        raise DataError(f"{takes}; this is {_shown(row)}")
    for text in texts:
        if not isinstance(text, str):
            raise DataError(f"{takes}; this is {_shown(text)}")
    if len(texts) != columns:
        raise DataError(f"{takes}; it has {len(texts)}")
    for text in texts:
        half = None if text.isascii() else _SURROGATE.search(text)
        if half:
            raise DataError(
                f"row {number}: character {half.start() + 1} is half a character "
                f"({half.group()!a}, a lone surrogate); decode the text again, as UTF-8"
            )
    if not any(text.strip() for text in texts):
        raise DataError(f"row {number} is an empty text; leave it out")
    return texts


def _shown(value: object) -> str:
    """Return the type and the beginning of a value, for messages."""
    return f"{value!r:.40} ({type(value).__name__})"

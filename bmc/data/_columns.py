"""Find columns by name: exactly, or without white space at the ends; name the most similar."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from bmc.data._values import Values
from bmc.errors import DataError

_LISTED = 12


def label_columns_of(label_column: str, several: bool) -> list[str]:
    """Return the names of the label columns that a user typed: one, or several with commas.

    Args:
        label_column: as typed.
        several: whether a row has several labels, of which each may have a column.
    """
    return [name.strip() for name in label_column.split(",")] if several else [label_column]


def places_of(
    columns: Sequence[str],
    available: Sequence[object],
    values: Values,
    where: str,
    way_out: str = "",
) -> list[int]:
    """Return the index of each requested column.

    A name that differs only in white space at its ends is accepted and noted if it is the
    only one. In csv files, a space after each comma is part of a name.

    Args:
        columns: names that the user typed.
        available: the table's names, in order.
        values: object that collects notes.
        where: the file and the line of the column names, for messages.
        way_out: advice to add to the message if none of the columns exists.

    Raises:
        DataError: a column is missing, or two columns have the same name.
    """
    names = [str(name) for name in available]
    places = []
    for column in columns:
        matches = [index for index, name in enumerate(names) if name == column]
        if not matches:
            matches = [index for index, name in enumerate(names) if name.strip() == column.strip()]
            if len(matches) == 1:
                values.note(f"column {names[matches[0]]!r:.60} was read as {column!r:.60}")
        if len(matches) > 1:
            raise DataError(
                f"{where} has {len(matches)} columns named {column!r}; rename or remove one"
            )
        if not matches:
            none = not set(columns) & set(names)
            reason = _missing(column, names, where, values.advice)
            raise DataError(reason + (way_out if none else ""))
        places.append(matches[0])
    return places


def _missing(column: str, names: Sequence[str], where: str, advice: str) -> str:
    near = difflib.get_close_matches(
        column.lower().strip(), [name.lower().strip() for name in names], n=1, cutoff=0.75
    )
    meant = next((name for name in names if near and name.lower().strip() == near[0]), None)
    guess = f"Did you mean {meant!r}? " if meant is not None else ""
    listed = ", ".join(_quoted(name) for name in names[:_LISTED]) or "none"
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"{where} has no column {column!r}; it has {listed}{more}. {guess}{advice}"


def _quoted(name: str) -> str:
    is_printable = name.isprintable() and name == name.strip() and name and len(name) <= 40
    return name if is_printable else repr(name[:40])

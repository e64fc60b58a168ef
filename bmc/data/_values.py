"""Convert values of tables, arrays and hub data to texts and labels, by the same rules."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from bmc.errors import DataError
from bmc.label_names import SEPARATOR, joined

_ADVICE = "Name yours with --text-column and --label-column, or columns of numbers with --features"
_MULTI_LABEL = "several labels a row (multi-label) are a task of their own: --task multilabel"
_BAR = "|"  # between the labels of a row in one text
_FLAGS = {"0": False, "1": True, "false": False, "true": True}
_LIST_AS_TEXT = re.compile(r"\[(\s*|[^|]*[,'\"][^|]*|[\d.\s]+)\]")  # [a, b], ['a'], [1 0], []


class Values:
    """Converts the values of one table, refuses values without a clear meaning, and keeps notes.

    A text is a string, or bytes in UTF-8. A label is a text, a number, or a truth value, which
    becomes "True" or "False" as in a csv file that pandas wrote. Several labels a row are a list
    of labels, one text with bars between them, or a column of 0 and 1 for each. Nothing else is a
    text or a label: no null, mapping or date. White space at both ends is dropped.

    Args:
        source: the file or data set, as messages name it.
        unit: word for a row in messages: "line" of a file, or "row".
        advice: how the user names columns, for messages.
    """

    def __init__(
        self,
        source: str,
        unit: str = "row",
        advice: str = _ADVICE,
    ) -> None:
        self.source = source
        self.unit = unit
        self.advice = advice
        self._notes: list[str] = []
        self._kinds: Counter[str] = Counter()
        self._stripped: Counter[str] = Counter()
        self._repeated = self._unlabeled = 0  # of rows with several labels
        self._barred = self._most = 0  # rows whose labels are one text; most labels of such a row

    def text(self, value: Any, column: str, number: int) -> str:
        """Return a text.

        Raises:
            DataError: the value is not a text, or is empty; the message names the row.
        """
        if not _is_plain(value):
            if not isinstance(value, str | bytes):
                raise DataError(
                    f"{self._where(column, number)} holds {_shown(value)}, which is no text; "
                    "remove the row, or write the value as a string"
                )
            value = characters(value, self._where(column, number))
        text: str = value.strip()
        if not text:
            raise DataError(f"{self._where(column, number)} has an empty text; fill or remove it")
        return text

    def label(self, value: Any, column: str, number: int) -> str:
        """Return a label as text.

        Raises:
            DataError: the value is not a label, or is empty; the message names the row.
        """
        if isinstance(value, str):
            self._kinds["text"] += 1
        else:
            value = self._written(value, self._where(column, number))
        if not _is_plain(value):
            value = characters(value, self._where(column, number))
        label: str = value.strip()
        if not label:
            raise DataError(f"{self._where(column, number)} has an empty label; fill or remove it")
        if len(label) != len(value):
            self._stripped[value] += 1
        return label

    def label_set(self, value: Any, column: str, number: int) -> str:
        """Return the labels of a row, which a list or a text a|b holds, as `joined` writes them.

        An empty list or text is a row without a label.

        Raises:
            DataError: the value is neither, or a label in it is empty or none; or a list holds 0 or
                1 for each label, or is written as text, which would be read as other labels.
        """
        parts: Sequence[Any]
        if isinstance(value, str | bytes):
            text = characters(value, self._where(column, number))
            if _LIST_AS_TEXT.fullmatch(text.strip()):
                raise DataError(
                    f"{self._where(column, number)} has the labels {_shown(text)}, a list that is "
                    "written as text; separate the labels by |, as in a|b, or save the rows as "
                    ".jsonl or .parquet"
                )
            parts = text.split(_BAR) if text.strip() else []
            self._barred, self._most = self._barred + 1, max(self._most, len(parts))
        elif isinstance(value, list | tuple) or hasattr(value, "tolist"):
            parts = value if isinstance(value, list | tuple) else value.tolist()
            if _are_flags(parts):
                raise DataError(
                    f"{self._where(column, number)} has the labels {_shown(parts)}, which are 0 or "
                    "1 for each label; write the names of the row's labels, or a column of 0 and 1 "
                    "for each label (--label-column a,b,c)"
                )
        else:
            raise DataError(
                f"{self._where(column, number)} has the labels {_shown(value)}; several labels are "
                "a list or a text a|b; of a row without a label, [] or an empty text"
            )
        labels = [self.label(part, column, number) for part in parts]
        return self._set_of(labels, column, number)

    def flagged(self, flags: Sequence[Any], columns: Sequence[str], number: int) -> str:
        """Return the labels of a row from a column for each, which holds 0 or 1, true or false.

        Raises:
            DataError: a value is something else.
        """
        labels = []
        for value, column in zip(flags, columns, strict=True):
            is_number = isinstance(value, bool | int | float) and value in (0, 1)
            text = str(int(value)) if is_number else value
            is_set = _FLAGS.get(text.strip().lower()) if isinstance(text, str) else None
            if is_set is None:
                raise DataError(
                    f"{self._where(column, number)} holds {_shown(value)}; a column for a label "
                    "holds 0 or 1, or true or false"
                )
            if is_set:
                labels.append(column)
        return self._set_of(labels, ", ".join(columns), number)

    def _set_of(self, labels: Sequence[str], column: str, number: int) -> str:
        for label in labels:
            if SEPARATOR in label:
                raise DataError(
                    f"{self._where(column, number)} has a label with the control character U+001F; "
                    "remove it"
                )
        self._repeated += len(labels) - len(set(labels))
        self._unlabeled += not labels
        return joined(labels)

    def note(self, text: str) -> None:
        """Keep what a user should know about how this table was read."""
        self._notes.append(text)

    @property
    def numbers(self) -> bool:
        """Tell whether a label came as a floating-point number, not as its text."""
        return self._kinds["fraction"] > 0

    @property
    def notes(self) -> tuple[str, ...]:
        """Return what was decided while reading, a sentence each."""
        notes = list(self._notes)
        if self._stripped:
            example = min(self._stripped)
            notes.append(
                f"white space at the ends of {self._stripped.total()} labels was dropped: "
                f"{example!r:.40} is {example.strip()!r:.40}"
            )
        if self._repeated:
            notes.append(f"{self._repeated} labels stand twice in their row, and count once")
        if self._unlabeled:
            notes.append(f"{self._unlabeled} rows have no label")
        if self._barred and self._most < 2:
            notes.append("no row has two labels; in one text they are separated by |")
        kinds = {"number" if kind == "fraction" else kind for kind in self._kinds}
        if len(kinds) > 1:
            counts = ", ".join(f"{kind} {count}" for kind, count in sorted(self._kinds.items()))
            notes.append(f"labels came as several types ({counts}): 1 and '1' are one class")
        return tuple(notes)

    def _where(self, column: str, number: int) -> str:
        return f"{self.source}: {self.unit} {number}, column {column!r:.60},"

    def _written(self, value: Any, where: str) -> str:
        """Return the text form of a label that is not a string."""
        if isinstance(value, bytes):
            self._kinds["text"] += 1
            return characters(value, where)
        if isinstance(value, bool):
            self._kinds["truth value"] += 1
            return str(value)
        if value is None or (isinstance(value, float | Decimal) and math.isnan(value)):
            raise DataError(f"{where} has no label ({_shown(value)}); fill or remove it")
        if isinstance(value, int):
            self._kinds["number"] += 1
            return str(value)
        if isinstance(value, float | Decimal) and math.isfinite(value):
            self._kinds["fraction"] += 1
            return str(value)
        reason = _MULTI_LABEL if isinstance(value, list | tuple) else "which is no class"
        raise DataError(
            f"{where} has the label {_shown(value)}: {reason}; "
            "a label is a text, a number, true or false"
        )


def characters(value: str | bytes, where: str) -> str:
    """Return the characters of a text.

    Args:
        value: a text, or bytes in UTF-8.
        where: the file and the row, for messages.

    Raises:
        DataError: the bytes are not UTF-8, or hold a NUL or half of a surrogate pair.
    """
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError as error:
            raise DataError(
                f"{where} holds bytes that are no UTF-8 (0x{value[error.start]:02x} at byte "
                f"{error.start + 1}); write the text in UTF-8"
            ) from error
    if "\0" in value:
        raise DataError(f"{where} holds a NUL character; remove it")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{where} holds half of a surrogate pair (U+{ord(value[error.start]):04X}), "
            "which is no character; remove it or write the text anew"
        ) from error
    return value


def _are_flags(parts: Any) -> bool:
    """Tell whether a list is 0 or 1 for each label: of labels by number, none stands twice."""
    if not isinstance(parts, list | tuple):  # a numpy scalar
        return False
    are_numbers = all(isinstance(part, int | float) and part in (0, 1) for part in parts)
    return are_numbers and len(set(parts)) < len(parts)


def _is_plain(value: Any) -> bool:
    """Tell whether a value is a valid text without conversion; this fast test fits most values."""
    try:
        return isinstance(value, str) and "\0" not in value and value.encode() is not None
    except UnicodeEncodeError:
        return False


def _shown(value: Any) -> str:
    """Return a short form of a value, with its type where the value does not show it."""
    if value is None:
        return "null"
    kind = "" if isinstance(value, str | bool | int | float | list) else f"{type(value).__name__} "
    try:
        written = repr(value)
    except ValueError:  # a whole number of more digits than Python writes
        written = "a number of thousands of digits"
    return f"{kind}{written[:60]}{'...' if len(written) > 60 else ''}"

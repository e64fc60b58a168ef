"""What was decided about a user's data: counted once, printed in a line, recorded in bmc.json."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc.label_names import as_number

_FEW = 10  # rows of a class; with fewer, one row is more than a tenth of the class
_LISTED = 8
_NO_VALUE = {"nan", "none", "null", "na", "n/a", "#n/a", "nil", "<na>"}


@dataclass(frozen=True)
class Summary:
    """Counts of a data set before it was split.

    Args:
        rows: number of rows, with those of an official test part.
        classes: rows of each class; empty in a regression.
        duplicates: number of rows that equal an earlier row; texts are compared without case and
            spaces.
        conflicts: number of different rows that appear with different labels.
        dropped: number of rows that are removed from training because the official test part has
            them.
        notes: sentences with further facts for the user.
    """

    rows: int
    classes: Mapping[str, int]
    duplicates: int = 0
    conflicts: int = 0
    dropped: int = 0
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the counts and notes as a JSON object."""
        return {**asdict(self), "classes": dict(self.classes), "notes": list(self.notes)}

    def counts(self) -> str:
        """Return the counts in half a sentence."""
        by_class = [f"{_shown(label)} {count}" for label, count in self.classes.items()]
        more = f", and {len(by_class) - _LISTED} more" if len(by_class) > _LISTED else ""
        parts = [f"{self.rows} rows"]
        if by_class:
            parts.append(f"{len(by_class)} classes ({', '.join(by_class[:_LISTED])}{more})")
        if self.duplicates:
            parts.append(f"{self.duplicates} duplicates")
        if self.dropped:
            parts.append(f"{self.dropped} left out, because they stand in the test part too")
        return ", ".join(parts)


def summarize(
    keys: NDArray[np.uint64],
    codes: NDArray[Any],
    held: int,
    by_class: Mapping[str, int],
    dropped: int,
    notes: Sequence[str],
) -> Summary:
    """Count the rows of each class, duplicates and contradictions.

    Args:
        keys: a key of each row; equal rows have equal keys: uint64 (rows).
        codes: labels of each row as numbers: (rows) or (rows, labels).
        held: rows of an official test part.
        by_class: rows of each class, with those of an official test part; none in a regression.
        dropped: number of rows that the official test part has, too.
        notes: notes of the reader of the data.
    """
    order = np.argsort(keys, kind="stable").astype(np.int32)
    same = keys[order[1:]] == keys[order[:-1]]
    flat = codes.reshape(len(codes), -1)
    differs = same & (flat[order[1:]] != flat[order[:-1]]).any(axis=1)
    conflicts = len(np.unique(keys[order[1:][differs]]))
    all_notes = [*notes, *notes_on_classes(by_class)]
    if conflicts:
        first = int(min(order[1:][differs].min(), order[:-1][differs].min())) + 1
        all_notes.append(
            f"{conflicts} different rows appear with different labels (the first is row {first})"
        )
    return Summary(
        len(codes) + held, by_class, int(same.sum()), conflicts, dropped, tuple(all_notes)
    )


def notes_on_classes(counts: Mapping[str, int]) -> list[str]:
    """Return what looks like a mistake in the names of classes, or is too rare to be learned."""
    notes = []
    alike: dict[object, list[str]] = defaultdict(list)
    for label in counts:
        alike[_folded(label)].append(label)
    for labels in alike.values():
        if len(labels) > 1:
            names = " and ".join(f"{label!r:.40} ({counts[label]} rows)" for label in labels[:3])
            notes.append(
                f"{names} are classes of their own and differ only in how they are written; "
                "write them alike if they are one"
            )
    rare = [f"{label!r:.40} ({count})" for label, count in counts.items() if count < _FEW]
    if rare:
        more = f" and {len(rare) - _LISTED} more" if len(rare) > _LISTED else ""
        notes.append(
            f"fewer than {_FEW} rows of {', '.join(rare[:_LISTED])}{more}: "
            "too few to learn or to score such a class"
        )
    for label in counts:
        if label.lower() in _NO_VALUE:
            notes.append(
                f"the label {label!r} ({counts[label]} rows) is a class; "
                "remove these rows if it stands for a missing value"
            )
    return notes


def _folded(label: str) -> object:
    """Return what labels share that a person would take for the same."""
    number = as_number(label)
    if number is not None:
        return number
    return " ".join(unicodedata.normalize("NFKC", label).casefold().split())


def _shown(label: str) -> str:
    is_printable = label.isprintable() and len(label) <= 40
    return label if is_printable else repr(label[:40])

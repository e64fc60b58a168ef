"""Split a table into a training, a validation and a test part."""

from __future__ import annotations

import hashlib
from array import array
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc.contracts.tasks import TOKENS, LabelReading, label_reading
from bmc.data._dataset import Dataset, Examples, Table
from bmc.data._features import notes_on_missing
from bmc.data._labels import check_classes
from bmc.data._summary import summarize
from bmc.errors import DataError
from bmc.folds import Fold
from bmc.inputs import Many
from bmc.split import (
    TRAIN,
    VALIDATION,
    content_of,
    has_large_group,
    keys_of,
    parts_of,
    parts_of_groups,
)
from bmc.stored_rows import StoredRows


def split(
    table: Table,
    name: str,
    columns: tuple[str, ...] = (),
    task: str = "classification",
    fold: Fold | None = None,
    is_built_in: bool = False,
) -> Dataset:
    """Split a table into a training, a validation and a test part by the hash of each row.

    An official test part is kept whole, and its rows are removed from the other parts. Equal rows
    have equal hashes, so that duplicates are in the same part. Every class is split in the same
    shares. Rows of groups are split by the hash of the group.

    Args:
        table: the rows.
        name: name of the data set in reports and messages.
        columns: names of the text columns.
        task: name of a task with labels.
        fold: fold of a cross-validation to hold out; an official test part is then left out.
        is_built_in: whether the data has a name, under which its parts never change; rows of a file
            may move from one part to another, which the fingerprint then tells.

    Raises:
        DataError: a text is empty, a label is missing, there is only one class, or a part would
            be empty.
    """
    official = table.official_test if fold is None else None
    _check(table, name)
    if table.kind == "words" and task != TOKENS:
        raise DataError(f"data {name!r} holds words with a tag each, for --task tokens, not {task}")
    reading = label_reading(task)
    classes, codes, test_codes = reading.numbered(table, name)
    keys = keys_of(table.rows)
    if table.groups:
        parts = parts_of_groups(keys, table.groups, official is None, fold)
    else:
        parts = parts_of(keys, reading.strata(codes), official is None, fold)
    if table.validation is not None and fold is None:
        parts = _with_validation(parts, keys, table.validation)
    if table.official_test:
        parts[np.isin(keys, keys_of(table.official_test.rows))] = -1
    counted_codes = test_codes if official else test_codes[:0]
    notes = tuple(dict.fromkeys((*table.notes, *(official.notes if official else ()))))
    if table.kind == "features":
        notes += tuple(notes_on_missing(np.asarray(table.rows), table.features))
    counts = reading.counts(codes, len(classes)) + reading.counts(counted_codes, len(classes))
    summary = summarize(
        *(keys, codes, len(counted_codes), dict(zip(classes, counts.tolist(), strict=True))),
        *(int((parts < 0).sum()), notes),
    )
    del keys
    cut = {
        part: _take(table.rows, codes, np.flatnonzero(parts == number), reading)
        for number, part in enumerate(("train", "validation", "test"))
    }
    if official:
        cut["test"] = _take(official.rows, test_codes, np.arange(len(test_codes)), reading)
    for part, rows in cut.items():
        if not len(rows):
            raise DataError(
                f"data {name!r}: {len(table.rows)} rows leave the {part} part empty; add more rows"
            )
    rows_of_class = {
        part: reading.counts(np.array(rows.labels), len(classes)) for part, rows in cut.items()
    }
    check_classes(rows_of_class, classes, name)
    fingerprint = _fingerprint(table, task, fold, is_built_in)
    examples = (cut["train"], cut["validation"], cut["test"])
    dataset = Dataset(name, table.kind, task, columns, classes, *examples, fingerprint, summary)
    return replace(dataset, features=table.features)


def _with_validation(
    parts: NDArray[np.int8], keys: NDArray[np.uint64], validation: NDArray[np.bool_]
) -> NDArray[np.int8]:
    """Return the part of each row where the validation part is the authors'.

    Rows that the usual split takes for validation go to the training part. A row that equals a
    validation row is in no part.
    """
    parts = np.where(parts == VALIDATION, np.int8(TRAIN), parts)
    parts[np.isin(keys, keys[validation])] = -1
    parts[validation] = VALIDATION
    return parts


def _check(table: Table, name: str) -> None:
    if not len(table.rows):
        raise DataError(f"data {name!r} has no rows")
    for part in (table, table.official_test):
        if not part or part.kind != "text":
            continue
        for number, row in enumerate(part.rows, start=1):
            if any(not text.strip() for text in row):
                raise DataError(f"data {name!r}: row {number} has an empty text; remove or fill it")


def _take(
    rows: Many, labels: NDArray[Any], indices: NDArray[np.int64], reading: LabelReading
) -> Examples:
    if reading.of_rows:
        return Examples(_taken(rows, indices), reading.of_rows(labels[indices]))
    if labels.ndim == 2:
        return Examples(_taken(rows, indices), _sets(labels[indices]))
    if isinstance(rows, StoredRows):
        kind = "d" if labels.dtype == np.float64 else "i"
        return Examples(rows.take(indices), array(kind, labels[indices].tobytes()))
    return Examples(_taken(rows, indices), tuple(labels[indices].tolist()))


def _taken(rows: Many, indices: NDArray[np.int64]) -> Many:
    if isinstance(rows, StoredRows):
        return rows.take(indices)
    if isinstance(rows, np.ndarray):
        return rows[indices]
    return tuple(rows[index] for index in indices)


def _sets(codes: NDArray[Any]) -> tuple[tuple[int, ...], ...]:
    """Return the labels of each row, 0 or 1 (rows, labels), as tuples; equal rows share one."""
    distinct, places = np.unique(codes, axis=0, return_inverse=True)
    tuples = [tuple(row) for row in distinct.tolist()]
    return tuple(tuples[place] for place in places.ravel().tolist())


def _fingerprint(table: Table, task: str, fold: Fold | None, is_built_in: bool) -> str:
    digest = hashlib.sha256()
    for part in (table, table.official_test):
        for row, label in zip(part.rows, part.labels, strict=True) if part else ():
            digest.update(content_of(row) + b"\x1f" + label.encode() + b"\x1e")
    if table.official_test and not is_built_in:
        digest.update(f"{len(table.rows)} rows, {len(table.official_test.rows)} to test".encode())
    digest.update("\x1f".join(table.groups).encode())
    if has_large_group(table.groups):  # former versions split such groups otherwise
        digest.update(b"large groups are for training")
    is_files = len(table.rows) > 0 and isinstance(table.rows[0], Path)
    if table.validation is not None and (is_files or not is_built_in):  # rows stay as it changes
        digest.update(np.packbits(table.validation).tobytes())
    if task != "classification" or fold:
        digest.update(f"{task} {fold}".encode())
    return digest.hexdigest()

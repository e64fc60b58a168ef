"""Unlabeled rows for distillation: of texts, those most like the task's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc import console
from bmc.data._dataset import Dataset
from bmc.data._nearest import nearest
from bmc.data._unlabeled import is_users, read, words_of_texts
from bmc.errors import DataError, SettingError
from bmc.inputs import Many
from bmc.inputs.audio import read_clip
from bmc.inputs.features import listed
from bmc.inputs.image import read_image
from bmc.split import keys_of

_TEXTS = ("text", "words")
_NUMBERS = ("array", "series", "features")


@dataclass(frozen=True)
class TransferRows:
    """Unlabeled rows to distill on, and how many rows of their source were left out.

    Args:
        rows: raw rows of the data's kind.
        found: number of rows in the source.
        duplicates: number of rows left out since they equal an earlier row.
        held_out: number of rows left out since they equal a validation or test row.
    """

    rows: Many = ()
    found: int = 0
    duplicates: int = 0
    held_out: int = 0

    def __len__(self) -> int:
        return len(self.rows)


def transfer_rows(
    reference: str, limit: int, avoid: Dataset, columns: Sequence[str] = ()
) -> TransferRows:
    """Load unlabeled rows for distillation; of texts, those most like the task's own come first.

    No row of the held-out splits is among them, by the content of the rows: texts are compared
    without case and repeated white space, images by their pixels.

    Args:
        reference: a data set with `sentences`, a .txt file (one text per line), a table, an .npz
            file, imagefolder:DIR or audiofolder:DIR with files in any folders, memory:NAME, or
            "none". Of rows of words also a .conll file, or a .jsonl file with tokens; texts are
            split into words as a bundle splits them.
        limit: maximum number of rows; a smaller limit gives the first of a larger one's.
        avoid: the data whose validation and test rows must not be among them.
        columns: names of a table's text columns; the data's own when empty.

    Raises:
        UnknownError: no such data set, file or folder.
        DataError: the source cannot be read, has no rows, holds another kind of rows than the data,
            or all of its rows are equal or held out.
        SettingError: the limit is below 0.
    """
    if limit < 0:
        raise SettingError(f"{limit} transfer rows; it must be 0 or more")
    if reference == "none" or limit == 0:
        return TransferRows()
    text_columns = tuple(columns) or avoid.columns or ("text",)
    if columns and avoid.features and tuple(columns) != avoid.features:
        raise SettingError(
            f"--transfer-column names {listed(columns)}; rows of numbers have the columns of the "
            f"data, {listed(avoid.features)}: leave it out"
        )
    if avoid.kind == "words":
        _check_columns(reference, text_columns)
    rows, kind = read(reference, avoid.kind, text_columns, avoid.features)
    if avoid.kind == "array" and avoid.features and isinstance(rows, np.ndarray):
        rows = rows.astype(np.float32)  # as the rows that they are compared with
    if avoid.kind == "words" and kind == "text":
        _check_no_tags(reference, rows, avoid.labels)
        rows, kind = words_of_texts([row[0] for row in rows], f"--transfer {reference}"), "words"
    _check(reference, rows, kind, avoid)
    if kind == "image" and isinstance(avoid.train.rows, np.ndarray):
        rows = _sized(rows, avoid.train.rows.shape[1:])
    keys = _keys(rows, avoid.kind)
    is_held_out = np.isin(keys, _held_out(avoid, rows))
    is_duplicate = _duplicates(keys) if is_users(reference) else np.zeros(len(rows), bool)
    kept = np.flatnonzero(~(is_held_out | is_duplicate))
    counts = (len(rows), int((is_duplicate & ~is_held_out).sum()), int(is_held_out.sum()))
    _check_kept(reference, keys, len(kept), avoid)
    order = _order(rows, kept, avoid) if kind in _TEXTS else kept[np.argsort(keys[kept])]
    transfer = TransferRows(_taken(rows, order[:limit]), *counts)
    _say(reference, transfer, len(kept), kind)
    return transfer


def fresh_rows(rows: Many, avoid: Dataset, before: Many = ()) -> TransferRows:
    """Return made-up rows without those that equal a row of the data, an earlier row or each other.

    Rows are compared as in `transfer_rows`.

    Args:
        rows: rows that were made from training rows, of the data's kind.
        avoid: the data; a row that equals a training row counts as a duplicate.
        before: unlabeled rows that the model learns from already.
    """
    keys = _keys(rows, avoid.kind)
    is_held_out = np.isin(keys, _held_out(avoid, rows))
    known = np.concatenate([_keys(avoid.train.rows, avoid.kind), _keys(before, avoid.kind)])
    is_duplicate = (_duplicates(keys) | np.isin(keys, known)) & ~is_held_out
    kept = np.flatnonzero(~(is_held_out | is_duplicate))
    counts = len(rows), int(is_duplicate.sum()), int(is_held_out.sum())
    return TransferRows(_taken(rows, kept), *counts)


def _check(reference: str, rows: Many, kind: str, avoid: Dataset) -> None:
    """Refuse a source without rows, and rows of another kind than the data's."""
    if kind != avoid.kind:
        raise DataError(
            f"--transfer {reference} holds {kind} rows, and {avoid.name!r} holds {avoid.kind}: "
            "name rows of that kind, or use --transfer none"
        )
    if not len(rows):
        raise DataError(f"--transfer {reference} has no rows; add some, or use --transfer none")
    if kind == "text" and len(rows[0]) != len(avoid.columns):
        few = "single texts cannot teach sentence pairs"
        many = "sentence pairs cannot teach a model of single texts"
        raise DataError(
            f"--transfer {reference}: {few if len(rows[0]) < len(avoid.columns) else many}: name "
            f"{len(avoid.columns)} column(s) of a table with --transfer-column, or use "
            "--transfer none"
        )


def _check_columns(reference: str, columns: Sequence[str]) -> None:
    if len(columns) > 1:
        raise SettingError(
            f"--transfer-column names {len(columns)} columns of {reference}; rows of words have "
            "one text: name one"
        )


def _check_no_tags(reference: str, rows: Many, tags: Sequence[str]) -> None:
    """Refuse a .txt file of words with their tags, each line of which would be read as a text.

    Args:
        reference: the source.
        rows: the source's texts.
        tags: the tags of the data.

    Raises:
        DataError: all lines have the same number of columns, and the last holds tags of the data.
    """
    if not reference.lower().endswith(".txt"):
        return
    lines = [row[0].split() for row in rows]
    widths, last = {len(line) for line in lines}, {line[-1] for line in lines}
    if len(widths) == 1 and min(widths) > 1 and len(last & {*tags}) > 1:
        raise DataError(
            f"--transfer {reference}: each line is a word with its tag, and a .txt file of "
            "unlabeled texts has a text per line: rename it to .conll, whose tags are not read"
        )


def _check_kept(reference: str, keys: NDArray[np.uint64], kept: int, avoid: Dataset) -> None:
    """Refuse a source of which no row is left, or that has a single row many times."""
    if not kept:
        raise DataError(
            f"--transfer {reference}: all {len(keys)} rows equal validation or test rows of "
            f"{avoid.name!r}, which no model may learn from; name other rows, or use --transfer "
            "none"
        )
    if len(keys) > 1 and len(np.unique(keys)) == 1:
        raise DataError(
            f"--transfer {reference}: all {len(keys)} rows are equal; name a source with different "
            "rows, or use --transfer none"
        )


def _held_out(avoid: Dataset, rows: Many) -> NDArray[np.uint64]:
    """Return the keys of the validation and test rows, as they compare with unlabeled rows."""
    parts: list[Many] = [rows for rows in (avoid.validation.rows, avoid.test.rows) if len(rows)]
    if avoid.kind == "image" and isinstance(rows, np.ndarray):
        parts = [_sized(part, rows.shape[1:]) for part in parts]
    return np.concatenate([np.empty(0, np.uint64), *(_keys(part, avoid.kind) for part in parts)])


def _keys(rows: Many, kind: str) -> NDArray[np.uint64]:
    """Return a key for each row; files of the same pixels or samples have equal keys.

    Words are compared by their characters, since files split texts differently, and numbers by
    their values in float32, whatever type they are stored in.
    """
    if kind == "words":
        return keys_of([("".join(row),) for row in rows])
    if kind == "audio" and len(rows):
        return np.concatenate([keys_of([read_clip(row)]) for row in rows])
    if kind in _NUMBERS and len(rows):
        return np.concatenate([keys_of([_numbers(row)]) for row in rows])
    if kind != "image" or not len(rows) or not isinstance(rows[0], Path | bytes):
        return keys_of(rows)
    # One file at a time: they may be more than fit into memory.
    return np.concatenate([keys_of([read_image(file, channels=3)]) for file in rows])


def _numbers(row: Any) -> Any:
    """Return a row's numbers as they are compared: a network reads them in float32."""
    if isinstance(row, tuple):
        return tuple(_numbers(part) for part in row)
    values = np.asarray(row)
    if values.dtype.kind == "f":
        values = values.astype(np.float32)
    return values.astype(np.float64) + 0.0  # -0 is 0


def _sized(images: Iterable[Any], shape: Sequence[int]) -> NDArray[np.uint8]:
    """Return images as one array, uint8 (rows, height, width, channels), resized where needed."""
    if isinstance(images, np.ndarray) and images.shape[1:] == tuple(shape):
        return images
    height, width, channels = shape
    return np.stack([read_image(image, height, width, channels) for image in images])


def _duplicates(keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Tell of each row whether an earlier one is equal."""
    is_duplicate = np.ones(len(keys), bool)
    is_duplicate[np.unique(keys, return_index=True)[1]] = False
    return is_duplicate


def _order(rows: Many, kept: NDArray[np.int64], avoid: Dataset) -> NDArray[np.int64]:
    """Return the indices of texts or rows of words, those most like the training rows first."""
    texts = [" ".join(rows[index]) for index in kept]
    return kept[nearest(texts, _words(avoid.train.rows))]


def _words(rows: Many) -> Iterator[str]:
    return (text for row in rows for text in row)


def _taken(rows: Many, indices: NDArray[np.int64]) -> Many:
    return rows[indices] if isinstance(rows, np.ndarray) else tuple(rows[i] for i in indices)


def _say(reference: str, transfer: TransferRows, kept: int, kind: str) -> None:
    left = kept - len(transfer)
    why = "as less like the data" if kind in _TEXTS else "beyond the limit"
    duplicates = f"{transfer.duplicates:,} as duplicates, " if transfer.duplicates else ""
    console.note(
        f"transfer {'texts' if kind in _TEXTS else 'rows'}: {len(transfer):,} of "
        f"{transfer.found:,} from {reference}; {transfer.held_out:,} dropped as equal to "
        f"validation or test rows, {duplicates}{left:,} {why}"
    )

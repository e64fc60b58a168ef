"""Read texts whose rows need no label: for sentence embeddings, which learn from a teacher."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from bmc import console
from bmc.data import _unlabeled
from bmc.data._dataset import Dataset, Examples, Table
from bmc.data._tables import FORMATS
from bmc.data_files import check_file
from bmc.errors import DataError
from bmc.split import keys_of

LINES = ".txt"
_PAIR = 2


def table_without_labels(
    reference: str, text_columns: Sequence[str], label_column: str
) -> Table | None:
    """Return the texts of a .txt file, or of a table that lacks the column of labels.

    Args:
        reference: the data, as the user named it.
        text_columns: names of a table's text columns.
        label_column: name of the column of labels.

    Returns:
        the table, whose labels are ""; None where the data is of another kind, or has labels.

    Raises:
        DataError: the file cannot be read, or lacks a text column.
    """

    ending = Path(reference).suffix.lower()
    if ending != LINES and ending not in FORMATS:
        return None
    check_file(Path(reference))
    if ending in FORMATS:
        if len(text_columns) == _PAIR:  # a pair without a similarity says nothing
            return None
        module, _ = FORMATS[ending]
        names = importlib.import_module(f"bmc.data.{module}").names(Path(reference))
        if label_column.strip() in {name.strip() for name in names}:
            return None
    rows, _ = _unlabeled.read(reference, "text", text_columns, option="--text-column")
    return Table(rows, [""] * len(rows), notes=("rows have no labels",))


def as_single_texts(data: Dataset) -> Dataset:
    """Return data of pairs with each text as a row; both texts of a pair have its similarity.

    A text of a training pair that a held-out pair has, too, is no training row.

    Args:
        data: pairs of texts, whose labels are similarities.

    Raises:
        DataError: no text is left to train on.
    """
    parts = {}
    for name in ("train", "validation", "test"):
        part = getattr(data, name)
        rows = [(text,) for row in part.rows for text in row]
        labels = [float(label) for label in part.labels for _ in range(_PAIR)]
        parts[name] = replace(part, rows=tuple(rows), labels=tuple(labels))
    held = np.concatenate([keys_of(parts[name].rows) for name in ("validation", "test")])
    is_new = ~np.isin(keys_of(parts["train"].rows), held)
    if not is_new.all():
        console.note(
            f"{int((~is_new).sum())} of {len(is_new)} texts of training pairs are in held-out "
            "pairs, too, and are left out of training"
        )
        kept = np.flatnonzero(is_new).tolist()
        if not kept:
            raise DataError(
                f"data {data.name!r}: every text of its training pairs is in a held-out pair, too; "
                "add pairs of other texts"
            )
        digest = hashlib.sha256(f"{data.fingerprint} without held-out texts".encode()).hexdigest()
        data = replace(data, fingerprint=digest)
        parts["train"] = Examples(
            tuple(parts["train"].rows[index] for index in kept),
            tuple(parts["train"].labels[index] for index in kept),
        )
    return replace(data, **parts, columns=data.columns[:1])

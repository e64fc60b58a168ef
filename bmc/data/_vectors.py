"""Held-out rows whose labels are the vectors of a reference model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bmc.data._dataset import Dataset, Examples, are_pairs
from bmc.errors import DataError

LIMITS: Mapping[str, int] = {"validation": 2_000, "test": 20_000}
"""Rows of each part whose vectors are compared; an even number, since pairs take two rows."""


@dataclass(frozen=True)
class Reference:
    """The vectors of a reference model, the teacher, for held-out rows.

    Args:
        validation: vectors of the validation rows, float32 (rows, width).
        test: vectors of the test rows, likewise.
    """

    validation: NDArray[np.float32]
    test: NDArray[np.float32]


def compared(data: Dataset) -> Dataset:
    """Return data with as many validation and test rows as are compared with a reference."""
    validation, test = (_spread(data, name, most) for name, most in LIMITS.items())
    return replace(data, validation=validation, test=test)


def with_reference(data: Dataset, reference: Reference) -> Dataset:
    """Return data whose validation and test rows have the vectors of a reference as labels.

    Args:
        data: texts; see `labels_of` for the labels.
        reference: the vectors of the compared rows.

    Raises:
        DataError: there are other numbers of vectors than rows.
    """
    data = compared(data)
    labeled = {}
    for name in LIMITS:
        part, vectors = getattr(data, name), getattr(reference, name)
        if len(part) != len(vectors):
            raise DataError(
                f"data {data.name!r} has {len(part)} {name} rows, and the model's reference has "
                f"{len(vectors)} vectors: load the model anew with bmc train"
            )
        labels = np.array(part.labels)
        labeled[name] = replace(part, labels=labels_of(vectors, labels))
    return replace(data, **labeled)


def labels_of(vectors: NDArray[np.float32], row_labels: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return labels (rows, width + 2) of a reference's vectors and of the rows' own labels.

    They are the vector, the class (-1 for none) and the similarity of the row's pair (NaN for
    none), as `bmc.measure.vector_scores` reads them.

    Args:
        vectors: vectors of the reference model (rows, width).
        row_labels: class indices, int (rows), -1 for none; or similarities of pairs, float (rows).
    """
    classes, similarities = row_labels, np.full(len(vectors), np.nan)
    if row_labels.dtype.kind == "f":
        classes, similarities = np.full(len(vectors), -1), row_labels
    columns = (vectors, classes[:, None], similarities[:, None])
    return np.concatenate(columns, axis=1, dtype=np.float32)


def _spread(data: Dataset, name: str, most: int) -> Examples:
    """Return rows of a part at equal distances, which may be sorted by their class."""
    part: Examples = getattr(data, name)
    if len(part) <= most:
        return part
    size = 2 if are_pairs(data, part) else 1
    firsts = size * (np.arange(most // size) * (len(part) // size) // (most // size))
    return part.at((firsts[:, None] + np.arange(size)).ravel().tolist())

"""Sentence embeddings: one vector for each text.

Rows need no labels. Vectors are compared with those of a reference model, the teacher; a model
without a teacher is compared with itself, as it was loaded. See `bmc.measure.vector_scores`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bmc.contracts.tasks import LabelReading, Scoring, Task
from bmc.errors import DataError
from bmc.label_names import as_number, natural
from bmc.measure import scores, vector_scores
from bmc.measure.vector_scores import Truth

if TYPE_CHECKING:
    from bmc.data import Table

Vectors = NDArray[np.float32]
Labels = NDArray[np.float32]
_MAX_WIDTH = 65_536
_PAIR = 2
_FEW_ROWS = 10  # of a class that is not split by itself


def numbered(table: Table, name: str) -> tuple[tuple[str, ...], NDArray[Any], NDArray[Any]]:
    """Return no classes, and what a table and its official test part say of each row.

    For single texts that is the index of the class, int32 (rows), -1 for a row without one. For
    pairs it is their similarity, float64 (rows).

    Raises:
        DataError: the rows are no texts, or a pair's similarity is no finite number.
    """
    if table.kind != "text":
        raise DataError(
            f"data {name!r} holds {table.kind}; --task embedding takes texts: name a .txt file, a "
            "table with a column of texts, or a data set of texts with --data"
        )
    held = table.official_test.labels if table.official_test else ()
    if len(table.rows) and len(table.rows[0]) == _PAIR:
        return (), _similarities(table.labels, name), _similarities(held, name)
    names = sorted({label for labels in (table.labels, held) for label in labels if label})
    index_of = {label: index for index, label in enumerate(sorted(names, key=natural))}
    codes, held_codes = (
        np.array([index_of.get(label, -1) for label in labels], np.int32)
        for labels in (table.labels, held)
    )
    return (), codes, held_codes


def check_output(labels: Sequence[str], shape: Sequence[Any]) -> None:
    """Check that an output is a vector.

    Raises:
        ValueError: it is not.
    """
    width = shape[1] if len(shape) == 2 else None
    if type(width) is not int or not 1 <= width <= _MAX_WIDTH:
        raise ValueError(f"vectors have shape (batch, width), not {tuple(shape)}")


def predictions(
    outputs: Vectors, labels: Sequence[str], limits: Sequence[float] = ()
) -> list[Vectors | None]:
    """Return the vector of each row, float32 (width); None where a number is not finite."""
    finite = np.logical_and.reduce(np.isfinite(outputs), axis=1)
    return [row if is_finite else None for row, is_finite in zip(outputs, finite, strict=True)]


def all_scores(outputs: Vectors, labels: Labels) -> dict[str, Any]:
    """Return how far vectors agree with the reference's, and with labels where rows have some.

    Args:
        outputs: vectors (rows, width).
        labels: see `bmc.measure.vector_scores`.

    Returns:
        "recall_at_10", "spearman", the numbers of "queries", "sentences" and "pairs" that they come
        from; "spearman_of_labels" where pairs have a labeled similarity; "knn_accuracy" and
        "reference_knn_accuracy" where rows have classes.
    """
    truth = Truth.of(labels)
    of_labels = {
        "spearman_of_labels": vector_scores.labeled_similarity(outputs, truth),
        "knn_accuracy": vector_scores.neighbors_accuracy(outputs, truth.classes),
        "reference_knn_accuracy": vector_scores.neighbors_accuracy(truth.vectors, truth.classes),
    }
    return {
        "recall_at_10": asdict(interval(outputs, labels)),
        "spearman": asdict(vector_scores.similarity(outputs, truth)),
        "queries": len(vector_scores.queries_of(len(outputs))),
        "sentences": len(outputs),
        "pairs": len(vector_scores.pairs_of(len(outputs))[0]),
        **{name: asdict(score) for name, score in of_labels.items() if score is not None},
    }


def interval(outputs: Vectors, labels: Labels) -> scores.Interval:
    """Return recall@10 of the reference's neighbors, with its interval over queries."""
    return scores.share_of(vector_scores.recalls(outputs, Truth.of(labels).vectors))


def value(outputs: Vectors, labels: Labels) -> float:
    """Return recall@10 of the reference's neighbors."""
    return float(vector_scores.recalls(outputs, Truth.of(labels).vectors).mean())


def lost(outputs: Vectors, reference: Vectors, labels: Labels) -> scores.Interval:
    """Return the recall@10 lost relative to other outputs, with a paired interval."""
    truth = Truth.of(labels).vectors
    ours, theirs = (vector_scores.recalls(each, truth) for each in (outputs, reference))
    return scores.mean_of(theirs - ours)


def changed(outputs: Vectors, reference: Vectors, labels: Labels) -> float:
    """Return the change of recall@10 in points."""
    return 100 * (value(outputs, labels) - value(reference, labels))


def scorable(labels: Labels, classes: int) -> bool:
    """Tell whether labels hold a vector, a class and a similarity (rows, width + 2)."""
    if labels.ndim != 2 or labels.dtype.kind != "f" or labels.shape[1] <= vector_scores.EXTRA:
        return False
    return len(labels) > 1 and bool(np.isfinite(labels[:, :-1]).all())


def _similarities(labels: Sequence[str], name: str) -> NDArray[np.float64]:
    numbers = [as_number(label) for label in labels]
    for row, number in enumerate(numbers):
        if number is None:
            raise DataError(
                f"data {name!r}: row {row + 1} is a pair of texts with the label "
                f"{labels[row]!r:.40}; --task embedding needs the similarity of pairs as a number: "
                "name its column with --label-column, or one column of texts with --text-column"
            )
    return np.array(numbers, np.float64)


def _row_shape(labels: Sequence[str], spec: Mapping[str, Any]) -> tuple[int, ...]:
    return (int(spec["vector"]["width"]),)


def _strata(codes: NDArray[Any]) -> NDArray[Any]:
    """Return the class of each row; -1 for rows of rare classes, which are split together.

    Labels are optional here, so that a column of labels may be different in every row.
    """
    if codes.dtype.kind != "i":
        return np.zeros(len(codes), np.int32)
    rows_with = np.bincount(codes + 1)
    return np.where(rows_with[codes + 1] < _FEW_ROWS, np.int32(-1), codes)


def _counts(codes: NDArray[Any], classes: int) -> NDArray[np.int64]:
    return np.zeros(classes, np.int64)


TASK = Task(
    output="vector",
    row_shape=_row_shape,
    check_output=check_output,
    predictions=predictions,
    scoring=Scoring(
        measure="recall_at_10",
        title="recall@10",
        scores=all_scores,
        interval=interval,
        value=value,
        lost=lost,
        changed=changed,
        scorable=scorable,
    ),
    labels=LabelReading(numbered=numbered, strata=_strata, counts=_counts, optional=True),
)

"""Scores of a classifier from its logits on held-out rows, with paired bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_DRAWS = 2000
NAMES = frozenset(
    {
        *("accuracy", "macro_f1", "macro_precision", "macro_recall", "by_class", "confusion"),
        *("mae", "mse", "r2", "rows"),
    }
)
"""What the scores of a task are recorded as."""


@dataclass(frozen=True)
class Interval:
    """An estimate and its 95 % interval."""

    value: float
    low: float
    high: float


class Custom(Protocol):
    """A score of the caller's own; see `bmc.measure.custom`."""

    @property
    def name(self) -> str:
        """What it is recorded as."""

    def interval(self, outputs: NDArray[Any], labels: NDArray[Any]) -> Interval:
        """Return the score of rows with its 95 % interval."""


def of_task(
    task: str, outputs: NDArray[np.float32], labels: NDArray[Any], custom: Custom | None = None
) -> dict[str, Any]:
    """Return all scores of a task on held-out rows, as a JSON object.

    Args:
        task: "classification" gives accuracy, macro F1, precision and recall (means over the
            classes that rows have or are given), those of each class and the confusion matrix
            (rows: true classes); "regression" MAE, MSE and R2; a generator has no labels to be
            scored by.
        outputs: of the model (rows, classes or 1).
        labels: classes or numbers (rows).
        custom: a score of the caller's own, which is returned first.
    """
    if task not in ("classification", "regression"):
        return {}
    own = {custom.name: asdict(custom.interval(outputs, labels))} if custom else {}
    if task == "regression":
        values, truth = outputs[:, 0].astype(np.float64), labels.astype(np.float64)
        found = {"mae": mean_absolute_error, "mse": mean_squared_error, "r2": r2}
        return {**own, **{name: asdict(score(values, truth)) for name, score in found.items()}}
    table = confusion(outputs, labels)
    right, truths, answers = np.diag(table), table.sum(axis=1), table.sum(axis=0)
    precision, recall = right / np.maximum(answers, 1), right / np.maximum(truths, 1)
    f1 = 2 * right / np.maximum(truths + answers, 1)
    there = truths + answers > 0
    return {
        **own,
        "accuracy": asdict(accuracy(outputs, labels)),
        "macro_f1": asdict(macro_f1(outputs, labels)),
        "macro_precision": float(precision[there].mean()),
        "macro_recall": float(recall[there].mean()),
        "by_class": {
            "precision": precision.tolist(),
            "recall": recall.tolist(),
            "f1": f1.tolist(),
        },
        "confusion": table.tolist(),
    }


def confusion(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count rows by true class (first axis) and answer (second axis)."""
    classes = logits.shape[1]
    table = np.bincount(labels * classes + logits.argmax(axis=1), minlength=classes**2)
    return table.reshape(classes, classes)


def missed_classes(table: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
    """Return the classes of which no row was answered rightly, each with its rows.

    Args:
        table: a confusion matrix (true classes, answers).
    """
    rows = [sum(counts) for counts in table]
    hits = [counts[place] for place, counts in enumerate(table)]
    return [(place, rows[place]) for place in range(len(table)) if rows[place] and not hits[place]]


def worst_confusions(table: Sequence[Sequence[int]], most: int) -> list[tuple[int, int, int, int]]:
    """Return the largest wrong counts: true class, answer, rows answered so, rows of the class.

    Args:
        table: a confusion matrix (true classes, answers).
        most: how many at most.
    """
    counts = np.array(table, np.int64)
    rows = counts.sum(axis=1)
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:most]
    places = (divmod(int(place), len(counts)) for place in order)
    return [
        (true, answer, int(counts[true, answer]), int(rows[true]))
        for true, answer in places
        if counts[true, answer]
    ]


def mean_absolute_error(values: Floats, truth: Floats) -> Interval:
    """Return the mean distance from the truth."""
    return _mean(np.abs(values - truth))


def mean_squared_error(values: Floats, truth: Floats) -> Interval:
    """Return the mean squared distance from the truth."""
    return _mean((values - truth) ** 2)


def r2(values: Floats, truth: Floats) -> Interval:
    """Return the share of the truth's variance that the values explain."""

    def score(rows: NDArray[np.int64]) -> float:
        spread = ((truth[rows] - truth[rows].mean()) ** 2).sum()
        return float(1 - ((values[rows] - truth[rows]) ** 2).sum() / max(spread, 1e-12))

    return _bootstrap(score, len(truth))


def accuracy(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> Interval:
    """Return the share of rows answered rightly."""
    return _mean((logits.argmax(axis=1) == labels).astype(np.float64))


def macro_f1(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> Interval:
    """Return the mean of F1, the harmonic mean of precision and recall.

    It is taken over the classes that some row has, or is given.
    """
    answers = logits.argmax(axis=1)
    classes = logits.shape[1]

    def score(rows: NDArray[np.int64]) -> float:
        true, answered = labels[rows], answers[rows]
        right = np.bincount(true[true == answered], minlength=classes)
        both = np.bincount(true, minlength=classes) + np.bincount(answered, minlength=classes)
        return float(np.mean(2 * right[both > 0] / both[both > 0]))

    return _bootstrap(score, len(labels))


def agreement(logits: NDArray[np.float32], reference: NDArray[np.float32]) -> Interval:
    """Return the share of rows that two models answer alike."""
    return _mean((logits.argmax(axis=1) == reference.argmax(axis=1)).astype(np.float64))


def kept(
    logits: NDArray[np.float32], reference: NDArray[np.float32], labels: NDArray[np.int64]
) -> Interval:
    """Return accuracy over the reference's accuracy on the same rows (a paired ratio)."""
    own = (logits.argmax(axis=1) == labels).astype(np.float64)
    its = (reference.argmax(axis=1) == labels).astype(np.float64)
    return _bootstrap(lambda rows: own[rows].mean() / max(its[rows].mean(), 1e-9), len(labels))


def lost(
    task: str, outputs: NDArray[np.float32], reference: NDArray[np.float32], labels: NDArray[Any]
) -> Interval:
    """Return the accuracy (or R2) lost against a reference on the same rows (paired)."""
    if task != "regression":
        own = (outputs.argmax(axis=1) == labels).astype(np.float64)
        return _mean((reference.argmax(axis=1) == labels) - own)
    truth = labels.astype(np.float64)
    own, its = ((found[:, 0] - truth) ** 2 for found in (outputs, reference))

    def score(rows: NDArray[np.int64]) -> float:
        spread = ((truth[rows] - truth[rows].mean()) ** 2).sum()
        return float((own[rows] - its[rows]).sum() / max(spread, 1e-12))

    return _bootstrap(score, len(truth))


def _mean(values: Floats) -> Interval:
    return _bootstrap(lambda rows: float(values[rows].mean()), len(values))


def _bootstrap(score: Callable[[NDArray[np.int64]], float], rows: int) -> Interval:
    generator = np.random.default_rng(0)
    everyone = np.arange(rows)
    drawn = [score(generator.integers(0, rows, rows)) for _ in range(_DRAWS)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(float(score(everyone)), float(low), float(high))

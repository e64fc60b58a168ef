"""Scores of models from their outputs on held-out rows, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_DRAWS = 2000
_BINS = 15  # of confidence
NAMES = frozenset(
    {
        *("accuracy", "macro_f1", "macro_precision", "macro_recall", "by_class", "confusion"),
        *("calibration_error", "mae", "mse", "r2", "rows"),
    }
)
"""Names under which the scores of a task are recorded."""


@dataclass(frozen=True)
class Interval:
    """An estimate and its 95 % interval."""

    value: float
    low: float
    high: float


class Custom(Protocol):
    """A score function of the user; see `bmc.measure.custom`."""

    @property
    def name(self) -> str:
        """The name under which the score is recorded."""

    def interval(self, outputs: NDArray[Any], labels: NDArray[Any]) -> Interval:
        """Return the score of rows, with its 95 % interval."""


def of_task(
    task: str, outputs: NDArray[np.float32], labels: NDArray[Any], custom: Custom | None = None
) -> dict[str, Any]:
    """Return all scores of a task on held-out rows, as a JSON object.

    Args:
        task: "classification" gives accuracy, macro F1, precision and recall (means over the
            classes that occur among labels or predictions), the same of each class, the
            confusion matrix (rows: true classes), and the calibration error; "regression" gives
            MAE, MSE and R2; "generation" gives no scores, since there are no labels.
        outputs: outputs of the model (rows, classes or 1).
        labels: class indices or numbers (rows).
        custom: score function of the user, whose score is returned first; None for none.
    """
    if task not in ("classification", "regression"):
        return {}
    scores = {custom.name: asdict(custom.interval(outputs, labels))} if custom else {}
    if task == "regression":
        values, truth = outputs[:, 0].astype(np.float64), labels.astype(np.float64)
        functions = {"mae": mean_absolute_error, "mse": mean_squared_error, "r2": r2}
        return scores | {name: asdict(score(values, truth)) for name, score in functions.items()}
    table = confusion(outputs, labels)
    correct, actual, predicted = np.diag(table), table.sum(axis=1), table.sum(axis=0)
    precision, recall = correct / np.maximum(predicted, 1), correct / np.maximum(actual, 1)
    f1 = 2 * correct / np.maximum(actual + predicted, 1)
    occurs = actual + predicted > 0
    return {
        **scores,
        "accuracy": asdict(accuracy(outputs, labels)),
        "macro_f1": asdict(macro_f1(outputs, labels)),
        "macro_precision": float(precision[occurs].mean()),
        "macro_recall": float(recall[occurs].mean()),
        "by_class": {
            "precision": precision.tolist(),
            "recall": recall.tolist(),
            "f1": f1.tolist(),
        },
        "confusion": table.tolist(),
        "calibration_error": calibration_error(outputs, labels),
    }


def confusion(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the confusion matrix: counts of rows by true and predicted class (second axis)."""
    classes = logits.shape[1]
    table = np.bincount(labels * classes + logits.argmax(axis=1), minlength=classes**2)
    return table.reshape(classes, classes)


def missed_classes(table: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
    """Return the classes without a correctly predicted row, each with its number of rows.

    Args:
        table: confusion matrix (true classes, predicted classes).
    """
    return [
        (index, sum(counts))
        for index, counts in enumerate(table)
        if sum(counts) and not counts[index]
    ]


def worst_confusions(table: Sequence[Sequence[int]], most: int) -> list[tuple[int, int, int, int]]:
    """Return the most frequent errors: true class, predicted class, count, rows of the class.

    Args:
        table: confusion matrix (true classes, predicted classes).
        most: largest number of errors to return.
    """
    counts = np.array(table, np.int64)
    rows = counts.sum(axis=1)
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:most]
    pairs = (divmod(int(index), len(counts)) for index in order)
    return [
        (true, predicted, int(counts[true, predicted]), int(rows[true]))
        for true, predicted in pairs
        if counts[true, predicted]
    ]


def mean_absolute_error(values: Floats, truth: Floats) -> Interval:
    """Return the mean distance from the truth."""
    return _mean(np.abs(values - truth))


def mean_squared_error(values: Floats, truth: Floats) -> Interval:
    """Return the mean squared distance from the truth."""
    return _mean((values - truth) ** 2)


def r2(values: Floats, truth: Floats) -> Interval:
    """Return R2, the fraction of the truth's variance that the values explain."""

    def score(rows: NDArray[np.int64]) -> float:
        spread = ((truth[rows] - truth[rows].mean()) ** 2).sum()
        return float(1 - ((values[rows] - truth[rows]) ** 2).sum() / max(spread, 1e-12))

    return _bootstrap(score, len(truth))


def accuracy(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> Interval:
    """Return the fraction of correctly predicted rows."""
    return _mean((logits.argmax(axis=1) == labels).astype(np.float64))


def macro_f1(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> Interval:
    """Return the mean F1 over the classes that occur among labels or predictions.

    F1 is the harmonic mean of precision and recall.
    """
    predictions = logits.argmax(axis=1)
    classes = logits.shape[1]

    def score(rows: NDArray[np.int64]) -> float:
        true, predicted = labels[rows], predictions[rows]
        correct = np.bincount(true[true == predicted], minlength=classes)
        total = np.bincount(true, minlength=classes) + np.bincount(predicted, minlength=classes)
        return float(np.mean(2 * correct[total > 0] / total[total > 0]))

    return _bootstrap(score, len(labels))


def calibration_error(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Return the expected calibration error: how far confidence and accuracy are apart, 0 to 1.

    Rows are put into 15 bins by the probability of their predicted class. The error is the mean
    over rows of the distance between accuracy and mean probability in their bin. Logits that are
    NaN or positive infinity have no probability: it counts as 0.

    Args:
        logits: logits of the model (rows, classes).
        labels: class indices (rows).

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", section 2.
    """
    with np.errstate(invalid="ignore"):
        shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    confidence = np.nan_to_num(1 / np.exp(shifted).sum(axis=1), nan=0.0)
    correct = logits.argmax(axis=1) == labels
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    gaps = np.bincount(bins, weights=correct - confidence, minlength=_BINS)
    return float(np.abs(gaps).sum() / max(len(labels), 1))


def agreement(logits: NDArray[np.float32], reference: NDArray[np.float32]) -> Interval:
    """Return the fraction of rows for which two models predict the same class."""
    return _mean((logits.argmax(axis=1) == reference.argmax(axis=1)).astype(np.float64))


def kept(
    logits: NDArray[np.float32], reference: NDArray[np.float32], labels: NDArray[np.int64]
) -> Interval:
    """Return the ratio of two models' accuracies on the same rows, with a paired interval.

    Args:
        logits: logits of the model in the numerator (rows, classes).
        reference: logits of the reference (rows, classes).
        labels: class indices (rows).
    """
    correct = (logits.argmax(axis=1) == labels).astype(np.float64)
    reference_correct = (reference.argmax(axis=1) == labels).astype(np.float64)

    def ratio(rows: NDArray[np.int64]) -> float:
        return float(correct[rows].mean() / max(reference_correct[rows].mean(), 1e-9))

    return _bootstrap(ratio, len(labels))


def lost(
    task: str, outputs: NDArray[np.float32], reference: NDArray[np.float32], labels: NDArray[Any]
) -> Interval:
    """Return the accuracy (or R2) lost relative to a reference, with a paired interval.

    Args:
        task: "classification" or "regression".
        outputs: outputs of the model (rows, classes or 1).
        reference: outputs of the reference, of the same shape.
        labels: class indices or numbers (rows).
    """
    if task != "regression":
        correct = (outputs.argmax(axis=1) == labels).astype(np.float64)
        return _mean((reference.argmax(axis=1) == labels) - correct)
    truth = labels.astype(np.float64)
    errors, reference_errors = ((values[:, 0] - truth) ** 2 for values in (outputs, reference))

    def loss_of_r2(rows: NDArray[np.int64]) -> float:
        spread = ((truth[rows] - truth[rows].mean()) ** 2).sum()
        return float((errors[rows] - reference_errors[rows]).sum() / max(spread, 1e-12))

    return _bootstrap(loss_of_r2, len(truth))


def _mean(values: Floats) -> Interval:
    return _bootstrap(lambda rows: float(values[rows].mean()), len(values))


def _bootstrap(score: Callable[[NDArray[np.int64]], float], rows: int) -> Interval:
    generator = np.random.default_rng(0)
    resampled = [score(generator.integers(0, rows, rows)) for _ in range(_DRAWS)]
    low, high = np.percentile(resampled, [2.5, 97.5])
    return Interval(float(score(np.arange(rows))), float(low), float(high))

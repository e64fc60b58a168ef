"""Scores of rows with several labels: F1 over labels and rows, thresholds, average precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc.measure.scores import Interval, bootstrap, share_of

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
_BINS = 15  # of probabilities
_MOST = 1 - 1e-6  # a threshold lies between 0 and 1, where its logit is finite


@dataclass(frozen=True)
class Counted:
    """How often each label is right, true and predicted.

    Args:
        correct: rows that have the label and for which it is predicted (labels).
        actual: rows that have the label.
        predicted: rows for which it is predicted.
    """

    correct: Counts
    actual: Counts
    predicted: Counts

    @staticmethod
    def of(outputs: NDArray[Any], labels: NDArray[Any]) -> Counted:
        """Count the labels of rows.

        Args:
            outputs: logits relative to the thresholds (rows, labels).
            labels: 0 or 1 (rows, labels).
        """
        true, predicted = labels > 0, outputs > 0
        return Counted((true & predicted).sum(0), true.sum(0), predicted.sum(0))

    def precision(self) -> Floats:
        """Return the share of right ones among the predicted rows of each label."""
        ratio: Floats = self.correct / np.maximum(self.predicted, 1)
        return ratio

    def recall(self) -> Floats:
        """Return the share of predicted ones among the rows with each label."""
        ratio: Floats = self.correct / np.maximum(self.actual, 1)
        return ratio

    def f1(self) -> Floats:
        """Return the F1 of each label."""
        ratio: Floats = 2 * self.correct / np.maximum(self.actual + self.predicted, 1)
        return ratio

    def micro_f1(self) -> float:
        """Return the F1 of all labels and rows together."""
        total = int(self.actual.sum() + self.predicted.sum())
        return 2 * int(self.correct.sum()) / max(total, 1)


def by_row(outputs: NDArray[Any], labels: NDArray[Any]) -> Counts:
    """Return for each row its correct labels, and its true and predicted ones: int (rows, 2)."""
    true, predicted = labels > 0, outputs > 0
    sums = [(true & predicted).sum(1), true.sum(1) + predicted.sum(1)]
    return np.stack(sums, axis=1).astype(np.int64)


def f1_of(counts: Counts) -> float:
    """Return the micro F1 of rows counted by `by_row`."""
    correct, total = counts.sum(axis=0).tolist()
    return float(2 * correct / max(total, 1))


def micro_f1(outputs: NDArray[Any], labels: NDArray[Any]) -> Interval:
    """Return the F1 of all labels and rows together, with its interval."""
    counts = by_row(outputs, labels)
    return bootstrap(lambda rows: f1_of(counts[rows]), len(counts))


def macro_f1(outputs: NDArray[Any], labels: NDArray[Any]) -> Interval:
    """Return the mean F1 over the labels that are true or predicted, with its interval."""
    true, predicted = labels > 0, outputs > 0
    correct = (true & predicted).astype(np.float64)
    total = true.astype(np.float64) + predicted

    def score(rows: NDArray[np.int64]) -> float:
        weights = np.bincount(rows, minlength=len(total)).astype(np.float64)
        both, either = weights @ correct, weights @ total
        occurs = either > 0
        return float(np.mean(2 * both[occurs] / either[occurs])) if occurs.any() else 0.0

    return bootstrap(score, len(total))


def exact_match(outputs: NDArray[Any], labels: NDArray[Any]) -> Interval:
    """Return the share of rows whose labels are all right, with its interval."""
    return share_of(((outputs > 0) == (labels > 0)).all(axis=1).astype(np.float64))


def average_precision(outputs: NDArray[Any], labels: NDArray[Any]) -> Floats:
    """Return each label's average precision, the area under its precision and recall.

    Rows with equal outputs share a threshold. A label that no row has gets 0.
    """
    precisions = np.zeros(labels.shape[1])
    for label in range(labels.shape[1]):
        order = np.argsort(-outputs[:, label], kind="stable")
        ranked, true = outputs[order, label], labels[order, label] > 0
        if true.any():
            is_last = np.append(ranked[1:] != ranked[:-1], True)
            hits, ranks = true.cumsum()[is_last], np.arange(1, len(true) + 1)[is_last]
            gained = np.diff(hits, prepend=0)
            precisions[label] = float((gained * hits / ranks).sum() / hits[-1])
    return precisions


def calibration_error(outputs: NDArray[Any], labels: NDArray[Any]) -> float:
    """Return how far a label's probability and its frequency are apart, 0 to 1.

    Labels of rows are put into 15 bins by their probability. The error is the mean over rows and
    labels of the distance between frequency and mean probability in their bin.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", section 2.
    """
    probabilities = np.nan_to_num(sigmoid(outputs).ravel())
    true = (labels > 0).ravel().astype(np.float64)
    bins = np.minimum((probabilities * _BINS).astype(int), _BINS - 1)
    gaps = np.bincount(bins, weights=true - probabilities, minlength=_BINS)
    return float(np.abs(gaps).sum() / max(len(true), 1))


def best_threshold(probabilities: NDArray[Any], true: NDArray[np.bool_]) -> float:
    """Return the threshold of the best F1, halfway between two probabilities that occur.

    Args:
        probabilities: of one label, (rows).
        true: which rows have the label, bool (rows).
    """
    order = np.argsort(-probabilities, kind="stable")
    ranked = probabilities[order].astype(np.float64)
    correct = true[order].cumsum()
    f1 = 2 * correct / (np.arange(1, len(ranked) + 1) + true.sum())
    is_last = np.append(ranked[1:] < ranked[:-1], True)  # equal probabilities share a side
    best = int(np.where(is_last, f1, -1.0).argmax())
    below = ranked[best + 1] if best + 1 < len(ranked) else 0.0
    return float(np.clip((ranked[best] + below) / 2, 1 - _MOST, _MOST))


def sigmoid(logits: NDArray[Any]) -> Floats:
    """Return the probabilities of logits."""
    with np.errstate(over="ignore", invalid="ignore"):
        probabilities: Floats = 1 / (1 + np.exp(-logits.astype(np.float64)))
    return probabilities


def logits_of(probabilities: NDArray[Any]) -> Floats:
    """Return the logits of probabilities; those of 0 and 1 are finite."""
    inside = np.clip(probabilities.astype(np.float64), 1 - _MOST, _MOST)
    logits: Floats = np.log(inside / (1 - inside))
    return logits


def mean(values: Floats) -> float:
    """Return the mean of values, 0 of none."""
    return float(values.mean()) if len(values) else 0.0

"""Scores of a classifier from its logits on held-out rows, with paired bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_DRAWS = 2000


@dataclass(frozen=True)
class Interval:
    """An estimate and its 95 % interval."""

    value: float
    low: float
    high: float


def accuracy(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> Interval:
    """Return the share of rows answered rightly."""
    return _mean((logits.argmax(axis=1) == labels).astype(np.float64))


def macro_f1(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> Interval:
    """Return the mean over classes of F1, the harmonic mean of precision and recall."""
    answers = logits.argmax(axis=1)
    classes = logits.shape[1]

    def score(rows: NDArray[np.int64]) -> float:
        table = np.bincount(labels[rows] * classes + answers[rows], minlength=classes**2)
        table = table.reshape(classes, classes)
        right = np.diag(table)
        both = table.sum(axis=0) + table.sum(axis=1)
        return float(np.mean(2 * right / np.maximum(both, 1)))

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


def _mean(values: Floats) -> Interval:
    return _bootstrap(lambda rows: float(values[rows].mean()), len(values))


def _bootstrap(score: Callable[[NDArray[np.int64]], float], rows: int) -> Interval:
    generator = np.random.default_rng(0)
    everyone = np.arange(rows)
    drawn = [score(generator.integers(0, rows, rows)) for _ in range(_DRAWS)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(float(score(everyone)), float(low), float(high))

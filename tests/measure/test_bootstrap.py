"""Intervals of counts: computed by one product of matrices, the same bits as row by row."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bmc.measure import scores


@pytest.mark.parametrize(("rows", "classes"), [(150, 2), (90, 10), (60, 40)])
def test_intervals_of_counts_are_those_of_the_same_samples_row_by_row(
    rows: int, classes: int
) -> None:
    random = np.random.default_rng(rows)
    labels = random.integers(0, classes, rows)
    logits, reference = (
        (random.standard_normal((rows, classes)) + np.eye(classes)[labels]).astype(np.float32)
        for _ in range(2)
    )
    predictions = logits.argmax(axis=1)
    correct = (predictions == labels).astype(np.float64)
    expected = (reference.argmax(axis=1) == labels).astype(np.float64)

    def mean_f1(chosen: NDArray[np.int64]) -> float:
        true, predicted = labels[chosen], predictions[chosen]
        both = np.bincount(true[true == predicted], minlength=classes)
        total = np.bincount(true, minlength=classes) + np.bincount(predicted, minlength=classes)
        return float(np.mean(2 * both[total > 0] / total[total > 0]))

    def kept(chosen: NDArray[np.int64]) -> float:
        return float(correct[chosen].mean() / max(expected[chosen].mean(), 1e-9))

    assert scores.macro_f1(logits, labels) == scores.bootstrap(mean_f1, rows)
    assert scores.kept(logits, reference, labels) == scores.bootstrap(kept, rows)
    mean = scores.bootstrap(lambda chosen: float(correct[chosen].mean()), rows)
    assert scores.accuracy(logits, labels) == mean


def test_numbers_that_are_not_whole_are_taken_row_by_row() -> None:
    values = np.random.default_rng(0).random(50)
    by_row = scores.bootstrap(lambda chosen: float(values[chosen].mean()), 50)
    assert scores.mean_of(values) == by_row


@pytest.mark.parametrize("right", [True, False])
def test_a_share_of_all_or_none_has_wilsons_interval(right: bool) -> None:
    """Every sample of a bootstrap is all right, too, which proves nothing about other rows."""
    labels = np.zeros(20, np.int64)
    logits = np.eye(2, dtype=np.float32)[np.full(20, 0 if right else 1)]
    interval = scores.accuracy(logits, labels)
    low, high = (interval.low, interval.high) if right else (1 - interval.high, 1 - interval.low)
    assert low == pytest.approx(0.8389, abs=1e-4)  # a table of Wilson's intervals
    assert high == 1.0
    assert interval.value == float(right)


def test_no_row_lost_among_outputs_that_differ_leaves_room_for_rows_that_were_not_seen() -> None:
    labels = np.zeros(50, np.int64)
    reference = np.tile(np.array([2.0, 0.0], np.float32), (50, 1))
    lost = scores.lost("classification", reference - 0.1, reference, labels)
    assert (lost.value, lost.low) == (0.0, 0.0)
    assert lost.high == pytest.approx(1 - 0.025 ** (1 / 50), abs=5e-3)  # Clopper-Pearson
    same = scores.lost("classification", reference, reference, labels)
    assert same.low == same.high == 0.0

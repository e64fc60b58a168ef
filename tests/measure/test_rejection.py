"""The probability below which a row gets no label: by share, by accuracy, and how it scores."""

from __future__ import annotations

import numpy as np
import pytest

from bmc.measure.rejection import scores_of, threshold_for_accuracy, threshold_for_share

CONFIDENCE = np.linspace(0.5, 0.99, 50)
CORRECT = np.arange(50) >= 10  # the ten rows of the lowest probability are wrong


@pytest.mark.parametrize(("share", "rejected"), [(0.1, 5), (0.109, 5), (0.001, 0), (0.99, 49)])
def test_a_share_of_the_rows_lies_below_the_threshold(share: float, rejected: int) -> None:
    threshold = threshold_for_share(np.random.default_rng(0).permutation(CONFIDENCE), share)
    assert (threshold > CONFIDENCE).sum() == rejected


def test_rows_of_the_same_probability_are_rejected_together_or_not_at_all() -> None:
    confidence = np.array([0.6, 0.7, 0.7, 0.7, 0.9])
    assert (confidence < threshold_for_share(confidence, 0.5)).sum() == 1
    assert (np.ones(4) < threshold_for_share(np.ones(4), 0.5)).sum() == 0


@pytest.mark.parametrize(("accuracy", "rejected"), [(0.8, 0), (0.9, 6), (1.0, 10)])
def test_the_lowest_threshold_is_taken_that_reaches_an_accuracy(
    accuracy: float, rejected: int
) -> None:
    threshold = threshold_for_accuracy(CONFIDENCE, CORRECT, accuracy)
    assert (threshold > CONFIDENCE).sum() == rejected


def test_an_accuracy_that_no_threshold_reaches_is_refused_with_the_best() -> None:
    alternating = np.arange(50) % 2 == 0
    with pytest.raises(ValueError, match=r"the best is 0\.\d{4}, with \d+\.\d% of the rows"):
        threshold_for_accuracy(CONFIDENCE, alternating, 0.9)


def test_scores_are_the_share_of_rejected_rows_and_the_accuracy_of_the_others() -> None:
    scores = scores_of(CONFIDENCE, CORRECT, threshold_for_share(CONFIDENCE, 0.1))
    assert scores["rejected"]["value"] == pytest.approx(0.1)
    assert scores["accepted_accuracy"]["value"] == pytest.approx(40 / 45)
    assert scores["accepted_accuracy"]["low"] < 40 / 45 < scores["accepted_accuracy"]["high"]
    assert set(scores_of(CONFIDENCE, CORRECT, 0.999)) == {"rejected"}

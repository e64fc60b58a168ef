"""Scores of several labels a row: as scikit-learn computes them, and thresholds by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from bmc.contracts import tasks
from bmc.measure import label_scores, scores

RANDOM = np.random.default_rng(0)
LABELS = (RANDOM.random((60, 4)) < (0.5, 0.3, 0.2, 0.1)).astype(np.int64)
OUTPUTS = (LABELS * 2.0 - 1 + RANDOM.normal(size=(60, 4)) * 1.5).astype(np.float32)
PREDICTED = (OUTPUTS > 0).astype(int)


def test_every_score_is_scikit_learns() -> None:
    found = scores.of_task("multilabel", OUTPUTS, LABELS)
    for average in ("micro", "macro"):
        expected = metrics.f1_score(LABELS, PREDICTED, average=average)
        assert found[f"{average}_f1"]["value"] == pytest.approx(expected)
        assert found[f"{average}_f1"]["low"] < expected < found[f"{average}_f1"]["high"]
    assert found["exact_match"]["value"] == pytest.approx(metrics.accuracy_score(LABELS, PREDICTED))
    expected = metrics.average_precision_score(LABELS, OUTPUTS, average="macro")
    assert found["mean_average_precision"] == pytest.approx(expected)
    by_class = metrics.precision_recall_fscore_support(LABELS, PREDICTED)
    for name, values in zip(("precision", "recall", "f1", "rows"), by_class, strict=True):
        assert found["by_class"][name] == pytest.approx(values.tolist())


def test_equal_outputs_share_a_threshold_whatever_the_order_of_the_rows() -> None:
    coarse = np.round(OUTPUTS)  # as an int8 network's: many ties
    expected = metrics.average_precision_score(LABELS, coarse, average=None)
    for order in (np.arange(60), np.argsort(LABELS[:, 0]), np.argsort(-LABELS[:, 0])):
        found = label_scores.average_precision(coarse[order], LABELS[order])
        np.testing.assert_allclose(found, expected)
    constant = label_scores.average_precision(np.zeros((60, 4)), LABELS)
    np.testing.assert_allclose(constant, LABELS.mean(axis=0))


def test_the_threshold_with_the_best_f1_lies_between_two_probabilities() -> None:
    probabilities = np.array([0.9, 0.4, 0.3, 0.1])
    true = np.array([True, True, False, False])
    assert label_scores.best_threshold(probabilities, true) == pytest.approx(0.35)


def test_equal_probabilities_are_on_one_side_of_the_threshold() -> None:
    probabilities = np.array([0.4, 0.4, 0.4, 0.1])
    true = np.array([True, False, True, False])
    assert label_scores.best_threshold(probabilities, true) == pytest.approx(0.25)


def test_no_threshold_has_a_better_f1_than_the_chosen_one() -> None:
    choose = tasks.task("multilabel").thresholds
    assert choose is not None
    limits = choose(OUTPUTS, LABELS)
    probabilities = label_scores.sigmoid(OUTPUTS)
    for label, limit in enumerate(limits):
        best = max(
            metrics.f1_score(LABELS[:, label], probabilities[:, label] >= candidate)
            for candidate in probabilities[:, label]
        )
        chosen = metrics.f1_score(LABELS[:, label], probabilities[:, label] > limit)
        assert chosen == pytest.approx(best)


def test_a_label_of_fewer_than_five_rows_keeps_a_half() -> None:
    choose = tasks.task("multilabel").thresholds
    assert choose is not None
    labels = LABELS.copy()
    labels[:, 3] = 0
    labels[:4, 3] = 1
    assert choose(OUTPUTS, labels)[3] == 0.5


def test_outputs_relative_to_thresholds_are_above_0_where_the_probability_is_above() -> None:
    limits = (0.2, 0.5, 0.7, 0.9)
    relative = scores.relative_to(OUTPUTS, limits)
    assert ((relative > 0) == (label_scores.sigmoid(OUTPUTS) > limits)).all()
    assert scores.relative_to(OUTPUTS, ()) is OUTPUTS


def test_average_precision_does_not_depend_on_thresholds_and_f1_takes_those_of_each_row() -> None:
    limits = np.tile([[0.2, 0.5, 0.7, 0.9], [0.6, 0.5, 0.1, 0.5]], (30, 1))
    found = scores.of_task("multilabel", OUTPUTS, LABELS, thresholds=limits)
    predicted = label_scores.sigmoid(OUTPUTS) > limits
    expected = metrics.f1_score(LABELS, predicted, average="micro")
    assert found["micro_f1"]["value"] == pytest.approx(expected)
    precisions = label_scores.average_precision(OUTPUTS, LABELS)
    assert found["by_class"]["average_precision"] == precisions.tolist()
    assert found["mean_average_precision"] == pytest.approx(precisions.mean())


def test_two_models_agree_by_the_share_of_labels_in_common() -> None:
    ours = np.array([[1, 1, -1], [-1, -1, -1], [1, -1, -1]], np.float32)
    theirs = np.array([[1, -1, -1], [-1, -1, -1], [-1, 1, -1]], np.float32)
    classes = tasks.task("multilabel").classes
    assert classes is not None
    assert classes.agreement(ours, theirs).tolist() == [0.5, 1, 0]


def test_lost_f1_is_the_difference_of_both() -> None:
    worse = np.where(RANDOM.random(OUTPUTS.shape) < 0.1, -OUTPUTS, OUTPUTS)
    lost = scores.lost("multilabel", worse, OUTPUTS, LABELS)
    before, after = (
        metrics.f1_score(LABELS, each > 0, average="micro") for each in (OUTPUTS, worse)
    )
    assert lost.value == pytest.approx(before - after)
    changed = tasks.scoring("multilabel").changed(worse, OUTPUTS, LABELS)
    assert changed == pytest.approx(100 * (after - before))


def test_probabilities_that_are_frequencies_are_calibrated() -> None:
    outputs = np.zeros((1000, 2), np.float32)
    labels = np.tile([[0, 1], [1, 0]], (500, 1))
    assert label_scores.calibration_error(outputs, labels) == pytest.approx(0)
    assert label_scores.calibration_error(outputs + 100, labels) == pytest.approx(0.5)

"""Scores from logits: golden values, and intervals that are paired."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics
from sklearn.metrics import f1_score, recall_score

from bmc.measure import scores
from bmc.tasks import regression


def logits_of(predictions: NDArray[np.int64], classes: int = 2) -> NDArray[np.float32]:
    return np.eye(classes, dtype=np.float32)[predictions]


def rows(count: int = 1000, right: float = 0.8) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    generator = np.random.default_rng(1)
    labels = generator.integers(0, 2, count)
    wrong = np.arange(count) >= round(right * count)
    return logits_of(np.where(wrong, 1 - labels, labels)), labels


def test_accuracy_is_the_share_of_right_answers_with_the_binomials_interval() -> None:
    result = scores.accuracy(*rows())
    wide = 1.96 * np.sqrt(0.8 * 0.2 / 1000)
    assert result.value == pytest.approx(0.8)
    assert result.low == pytest.approx(0.8 - wide, abs=0.004)
    assert result.high == pytest.approx(0.8 + wide, abs=0.004)


def test_macro_f1_is_scikit_learns() -> None:
    generator = np.random.default_rng(2)
    labels, predictions = generator.integers(0, 3, (2, 200))
    result = scores.macro_f1(logits_of(predictions, 3), labels)
    assert result.value == pytest.approx(f1_score(labels, predictions, average="macro"))
    assert result.low < result.value < result.high


def test_a_class_that_is_never_answered_nor_asked_for_is_no_part_of_a_mean() -> None:
    labels = np.zeros(20, np.int64)
    assert scores.macro_f1(logits_of(labels, 2), labels).value == 1
    predictions = np.array([0] * 15 + [2] * 5)
    expected = f1_score(labels, predictions, average="macro")
    assert scores.macro_f1(logits_of(predictions, 4), labels).value == pytest.approx(expected)
    result = scores.of_task("classification", logits_of(predictions, 4), labels)
    assert result["macro_recall"] == pytest.approx(
        recall_score(labels, predictions, average="macro")
    )


def test_agreement_compares_answers_not_logits() -> None:
    logits, _ = rows(100)
    assert scores.agreement(logits, 7 * logits).value == 1.0
    turned = logits.copy()
    turned[:5] = 1 - turned[:5]
    assert scores.agreement(turned, logits).value == pytest.approx(0.95)


def test_the_kept_share_is_paired_and_so_narrower_than_two_accuracies() -> None:
    teacher, labels = rows(1000, 0.8)
    student, _ = rows(1000, 0.784)  # wrong wherever its teacher is, and on 16 rows more
    result = scores.kept(student, teacher, labels)
    assert result.value == pytest.approx(0.98)
    alone = scores.accuracy(student, labels)
    assert result.high - result.low < (alone.high - alone.low) / 2
    assert scores.kept(teacher, teacher, labels) == scores.Interval(1.0, 1.0, 1.0)


def test_the_same_rows_always_give_the_same_interval() -> None:
    assert scores.accuracy(*rows()) == scores.accuracy(*rows())


# All scores of a task


def answered(classes: int = 4) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return 300 labels and answers, unbalanced, a third of them wrong."""
    generator = np.random.default_rng(3)
    labels = generator.choice(classes, 300, p=[0.6, 0.25, 0.1, 0.05])
    wrong = generator.random(300) < 1 / 3
    return labels, np.where(wrong, generator.integers(0, classes, 300), labels)


def test_the_scores_of_a_classification_are_scikit_learns() -> None:
    labels, predictions = answered()
    result = scores.of_task("classification", logits_of(predictions, 4), labels)
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(labels, predictions)
    assert result["by_class"]["precision"] == pytest.approx(precision.tolist())
    assert result["by_class"]["recall"] == pytest.approx(recall.tolist())
    assert result["by_class"]["f1"] == pytest.approx(f1.tolist())
    assert result["macro_precision"] == pytest.approx(precision.mean())
    assert result["macro_recall"] == pytest.approx(recall.mean())
    assert result["macro_f1"]["value"] == pytest.approx(f1.mean())
    assert result["accuracy"]["value"] == pytest.approx(metrics.accuracy_score(labels, predictions))
    assert result["confusion"] == metrics.confusion_matrix(labels, predictions).tolist()
    json.dumps(result)


def test_the_calibration_error_equals_a_value_computed_by_hand() -> None:
    """Two rows of confidence 0.9, one right: |0.5 - 0.9|; two of 0.6, both right: |1 - 0.6|."""
    odds = np.log([9.0, 9.0, 1.5, 1.5]).astype(np.float32)
    logits = np.stack([odds, np.zeros(4, np.float32)], axis=1)
    labels = np.array([0, 1, 0, 0])
    assert scores.calibration_error(logits, labels) == pytest.approx(0.4)
    assert scores.calibration_error(logits + 1000, labels) == pytest.approx(0.4, abs=1e-4)
    assert scores.of_task("classification", logits, labels)["calibration_error"] == pytest.approx(
        0.4
    )


def test_rows_that_are_not_finite_have_a_calibration_error() -> None:
    """Confidence 0 of a right row, of a wrong one, and 1 of a right one: a third of the rows."""
    logits = np.array([[np.nan, 0], [np.inf, 0], [0, -np.inf]], np.float32)
    result = scores.of_task("classification", logits, np.array([0, 1, 0]))
    assert result["calibration_error"] == pytest.approx(1 / 3)


def test_the_confusion_matrix_has_true_classes_down_and_answers_across() -> None:
    labels, predictions = np.array([0, 0, 0, 2]), np.array([0, 1, 1, 2])
    result = scores.of_task("classification", logits_of(predictions, 3), labels)
    assert result["confusion"] == [[1, 2, 0], [0, 0, 0], [0, 0, 1]]


def test_of_many_classes_the_most_frequent_errors_are_listed_in_place_of_a_matrix() -> None:
    """A matrix of 5,000 classes would be 25 million numbers in the model's manifest."""
    labels = np.arange(5_000)
    predictions = np.where(labels % 2, labels, (labels + 1) % 5_000)
    labels, predictions = np.append(labels, [0, 0]), np.append(predictions, [1, 1])
    result = scores.class_scores(predictions, labels, 5_000)
    assert "confusion" not in result
    assert result["confusions"][:2] == [[0, 1, 3], [2, 3, 1]]
    assert len(json.dumps(result, indent=2)) < 1_000_000
    assert result["macro_recall"] == 0.5
    assert scores.worst_confusions(result, 1) == [(0, 1, 3, 3)]
    assert scores.missed_classes(result)[:2] == [(0, 3), (2, 1)]


def test_lists_and_matrices_of_errors_say_the_same() -> None:
    generator = np.random.default_rng(0)
    labels, predictions = generator.integers(0, 20, (2, 500))
    few, many = (scores.class_scores(predictions, labels, classes) for classes in (20, 200))
    assert "confusion" in few
    assert "confusions" in many
    assert scores.worst_confusions(few, 30) == scores.worst_confusions(many, 30)
    assert scores.rows_of_classes(few) == scores.rows_of_classes(many)[:20]
    assert few["macro_precision"] == many["macro_precision"]


def test_a_class_that_no_row_has_scores_zero_and_divides_by_nothing() -> None:
    labels, predictions = np.array([0, 0, 1]), np.array([0, 2, 1])
    result = scores.of_task("classification", logits_of(predictions, 4), labels)
    assert result["by_class"]["recall"] == [0.5, 1, 0, 0]
    assert result["by_class"]["precision"] == [1, 1, 0, 0]


def test_the_scores_of_a_regression_are_scikit_learns_with_intervals() -> None:
    generator = np.random.default_rng(4)
    truth = generator.normal(150, 70, 400)
    values = (truth + generator.normal(0, 30, 400)).astype(np.float32)
    result = scores.of_task("regression", values[:, None], truth)
    expected = {
        "mae": metrics.mean_absolute_error(truth, values),
        "mse": metrics.mean_squared_error(truth, values),
        "r2": metrics.r2_score(truth, values),
    }
    assert set(result) == set(expected)
    for name, value in expected.items():
        assert result[name]["value"] == pytest.approx(value)
        assert result[name]["low"] < value < result[name]["high"]
    json.dumps(result)


def test_r2_is_one_for_the_truth_zero_for_its_mean_and_below_for_worse() -> None:
    truth = np.arange(50, dtype=np.float64)
    assert scores.r2(truth, truth) == scores.Interval(1.0, 1.0, 1.0)
    assert scores.r2(np.full(50, truth.mean()), truth).value == pytest.approx(0)
    assert scores.r2(truth[::-1], truth).value < -1


def test_a_generator_has_no_labels_to_be_scored_by() -> None:
    pixels = np.zeros((2, 1, 4, 4), np.float32)
    assert scores.of_task("generation", pixels, np.zeros(2, np.int64)) == {}


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e9])
def test_r2_does_not_depend_on_the_unit(unit: float) -> None:
    generator = np.random.default_rng(0)
    truth = generator.normal(size=200)
    values = truth + generator.normal(size=200)
    labels: NDArray[np.float64] = truth * unit
    outputs: NDArray[Any] = (values * unit)[:, None]
    expected = metrics.r2_score(truth, values)
    assert scores.r2(outputs[:, 0], labels).value == pytest.approx(expected)
    assert regression.value(outputs, labels) == pytest.approx(expected)
    lost = regression.lost(np.full_like(outputs, labels.mean()), outputs, labels)
    assert lost.value == pytest.approx(expected)


def test_r2_of_equal_labels_is_one_for_these_labels_alone() -> None:
    assert scores.r2(np.zeros(9), np.zeros(9)).value == 1.0
    assert scores.r2(np.ones(9), np.zeros(9)).value == 0.0
    assert scores.r2(np.full(9, 0.2), np.full(9, 0.1)).value < 0

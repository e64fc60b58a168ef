"""Scores from logits: golden values, and intervals that are paired."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import f1_score

from bmc.measure import scores


def logits_of(answers: NDArray[np.int64], classes: int = 2) -> NDArray[np.float32]:
    return np.eye(classes, dtype=np.float32)[answers]


def rows(count: int = 1000, right: float = 0.8) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    generator = np.random.default_rng(1)
    labels = generator.integers(0, 2, count)
    wrong = np.arange(count) >= round(right * count)
    return logits_of(np.where(wrong, 1 - labels, labels)), labels


def test_accuracy_is_the_share_of_right_answers_with_the_binomials_interval() -> None:
    found = scores.accuracy(*rows())
    wide = 1.96 * np.sqrt(0.8 * 0.2 / 1000)
    assert found.value == pytest.approx(0.8)
    assert found.low == pytest.approx(0.8 - wide, abs=0.004)
    assert found.high == pytest.approx(0.8 + wide, abs=0.004)


def test_macro_f1_is_scikit_learns() -> None:
    generator = np.random.default_rng(2)
    labels, answers = generator.integers(0, 3, (2, 200))
    found = scores.macro_f1(logits_of(answers, 3), labels)
    assert found.value == pytest.approx(f1_score(labels, answers, average="macro"))
    assert found.low < found.value < found.high


def test_a_class_that_is_never_answered_nor_asked_for_does_not_divide_by_zero() -> None:
    labels = np.zeros(20, np.int64)
    assert scores.macro_f1(logits_of(labels, 2), labels).value == pytest.approx(0.5)


def test_agreement_compares_answers_not_logits() -> None:
    logits, _ = rows(100)
    assert scores.agreement(logits, 7 * logits).value == 1.0
    turned = logits.copy()
    turned[:5] = 1 - turned[:5]
    assert scores.agreement(turned, logits).value == pytest.approx(0.95)


def test_the_kept_share_is_paired_and_so_narrower_than_two_accuracies() -> None:
    teacher, labels = rows(1000, 0.8)
    student, _ = rows(1000, 0.784)  # wrong wherever its teacher is, and on 16 rows more
    found = scores.kept(student, teacher, labels)
    assert found.value == pytest.approx(0.98)
    alone = scores.accuracy(student, labels)
    assert found.high - found.low < (alone.high - alone.low) / 2
    assert scores.kept(teacher, teacher, labels) == scores.Interval(1.0, 1.0, 1.0)


def test_the_same_rows_always_give_the_same_interval() -> None:
    assert scores.accuracy(*rows()) == scores.accuracy(*rows())

"""A finalist learns from as many unlabeled rows as the time allows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bmc import artifact
from bmc import data as datasets
from bmc.search.chain import Effort
from bmc.search.exporting import without_test
from bmc.search.full_training import FullTraining, ShortTraining, recipe_epochs, rows_a_second

FULL = FullTraining(epochs=4, labeled=6_000, seconds=0, rows_a_second=100)
PRUNED = ShortTraining(seconds=60, epochs=1, rows=6_000)  # a hundredth of a second for a row


def within(seconds: float) -> FullTraining:
    return replace(FULL, seconds=seconds)


def test_what_the_teacher_and_the_training_take_must_fit_into_half_of_the_time() -> None:
    ten_thousand = 100 + 4 * 160  # seconds: the answers, and four epochs of 16,000 rows
    assert within(2 * ten_thousand + 1).effort(PRUNED, "") == Effort(4, None, 0, 10_000)
    assert within(2 * ten_thousand - 1).effort(PRUNED, "") == Effort(4, None, 0, 0)
    assert within(1e6).effort(PRUNED, "") == Effort(4, None, 0, 150_000)
    estimated = FULL.seconds_of(PRUNED, Effort(4, None, 0, 10_000), "")
    assert estimated == pytest.approx(ten_thousand)


def test_a_student_learns_for_the_epochs_of_its_recipe() -> None:
    assert recipe_epochs("tiny") == 3
    tiny = ShortTraining(seconds=6, epochs=1, rows=6_000)
    thirty_thousand = 300 + 3 * 36
    full = within(2 * thirty_thousand + 1)
    assert full.effort(tiny, "tiny") == Effort(4, None, 30_000)
    assert full.seconds_of(tiny, Effort(4, None, 30_000), "tiny") == pytest.approx(thirty_thousand)


def test_a_finalist_learns_from_no_fewer_rows_than_at_its_rung() -> None:
    slow = ShortTraining(seconds=1_000, epochs=1, rows=16_000, unlabeled=10_000)
    assert within(10).effort(slow, "tiny") == Effort(4, None, 10_000)


def test_without_a_known_time_or_unlabeled_rows_labeled_ones_are_all() -> None:
    assert within(1e6).effort(None, "") == Effort(4, None, 0, 0)
    assert FullTraining(4, 6_000, 1e6).effort(PRUNED, "") == Effort(4, None, 0, 0)
    assert FULL.seconds_of(None, Effort(4, None, 0), "") == 0


def test_a_model_is_timed_on_training_rows(digits_model: Path) -> None:
    model, data = artifact.load(digits_model), without_test(datasets.load("digits"))
    assert rows_a_second(model, data) > 10


def test_an_unknown_student_is_an_error() -> None:
    with pytest.raises(ValueError, match="'huge'"):
        recipe_epochs("huge")

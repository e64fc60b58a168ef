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


def test_the_teachers_answers_and_the_training_with_a_margin_must_fit_into_the_time() -> None:
    training = 4 * 160  # seconds: four epochs of 16,000 rows; the answers take 100
    assert within(101 + training / 0.8).effort(PRUNED, "", 1) == Effort(
        4, None, 0, 10_000, is_final=True
    )
    assert within(99 + training / 0.8).effort(PRUNED, "", 1) == Effort(4, None, 0, 0, is_final=True)
    assert within(1e6).effort(PRUNED, "", 1) == Effort(4, None, 0, 150_000, is_final=True)
    effort = Effort(4, None, 0, 10_000)
    assert FULL.seconds_of(PRUNED, effort, "", 1, 0) == pytest.approx(100 + training)
    assert FULL.seconds_of(PRUNED, effort, "", 1, 30_000) == pytest.approx(training)


def test_what_two_trainings_of_a_candidate_took_tells_what_a_row_takes() -> None:
    shorter = ShortTraining(seconds=100, epochs=1, rows=6_000)
    longer = ShortTraining(seconds=150, epochs=1, rows=16_000, unlabeled=10_000)
    assert longer.without_what_both_take(shorter).seconds == pytest.approx(80)
    assert shorter.without_what_both_take(longer) == shorter


def test_a_student_learns_for_the_epochs_of_its_recipe() -> None:
    assert recipe_epochs("tiny") == 3
    tiny = ShortTraining(seconds=6, epochs=1, rows=6_000)
    training = 3 * 36  # of 36,000 rows
    effort = Effort(4, None, 30_000, is_final=True)
    assert within(301 + training / 0.8).effort(tiny, "tiny", None) == effort
    assert FULL.seconds_of(tiny, effort, "tiny", None, 0) == pytest.approx(300 + training)


def test_a_student_that_is_cut_learns_before_as_long_as_in_its_trial_and_from_all_rows_after() -> (
    None
):
    tiny = ShortTraining(seconds=12, epochs=2, rows=6_000)
    effort = within(1e6).effort(tiny, "tiny", 1)
    assert effort == Effort(4, 1, 150_000, is_final=True)
    seconds = FULL.seconds_of(tiny, effort, "tiny", 1, 150_000)
    assert seconds == pytest.approx(5 * 156)


def test_a_finalist_learns_from_no_fewer_rows_than_at_its_rung() -> None:
    slow = ShortTraining(seconds=1_000, epochs=1, rows=16_000, unlabeled=10_000)
    assert within(10).effort(slow, "tiny", None) == Effort(4, None, 10_000, is_final=True)


def test_without_a_known_time_or_unlabeled_rows_labeled_ones_are_all() -> None:
    assert within(1e6).effort(None, "", None) == Effort(4, None, 0, 0, is_final=True)
    assert FullTraining(4, 6_000, 1e6).effort(PRUNED, "", 1) == Effort(4, None, 0, 0, is_final=True)
    assert FULL.seconds_of(None, Effort(4, None, 0), "", 1, 0) == 0


def test_a_model_is_timed_on_training_rows(digits_model: Path) -> None:
    model, data = artifact.load(digits_model), without_test(datasets.load("digits"))
    assert rows_a_second(model, data) > 10


def test_an_unknown_student_is_an_error() -> None:
    with pytest.raises(ValueError, match="'huge'"):
        recipe_epochs("huge")

"""A finalist learns from as many unlabeled rows as the time allows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bmc.search.chain import Effort
from bmc.search.full_training import FullTraining, ShortTraining, Trained

FULL = FullTraining(epochs=4, labeled=6_000, seconds=0, rows_a_second=100)
CUT, TINY = Trained(0, 1), Trained(3)  # epochs of a recipe
PRUNED = ShortTraining(seconds=60, epochs=1, rows=6_000)  # a hundredth of a second for a row


def within(seconds: float) -> FullTraining:
    return replace(FULL, seconds=seconds)


def test_the_teachers_answers_and_the_training_with_a_margin_must_fit_into_the_time() -> None:
    training = 4 * 160  # seconds: four epochs of 16,000 rows; the answers take 100
    twice = 2 * training / 0.8  # for another finalist, too
    assert within(101 + twice).effort(PRUNED, CUT) == Effort(4, None, 0, 10_000, is_final=True)
    assert within(99 + twice).effort(PRUNED, CUT) == Effort(4, None, 0, 0, is_final=True)
    assert within(1e6).effort(PRUNED, CUT) == Effort(4, None, 0, 150_000, is_final=True)
    effort = Effort(4, None, 0, 10_000)
    assert FULL.seconds_of(PRUNED, CUT, effort, 0) == pytest.approx(100 + training)
    assert FULL.seconds_of(PRUNED, CUT, effort, 30_000) == pytest.approx(training)


def test_what_two_trainings_of_a_candidate_took_tells_what_a_row_takes() -> None:
    shorter = ShortTraining(seconds=100, epochs=1, rows=6_000)
    longer = ShortTraining(seconds=150, epochs=1, rows=16_000, unlabeled=10_000)
    assert longer.without_what_both_take(shorter).seconds == pytest.approx(80)
    assert shorter.without_what_both_take(longer) == shorter


def test_a_student_learns_for_the_epochs_of_its_recipe() -> None:
    tiny = ShortTraining(seconds=6, epochs=1, rows=6_000)
    training = 3 * 36  # of 36,000 rows
    effort = Effort(4, None, 30_000, is_final=True)
    assert within(301 + 2 * training / 0.8).effort(tiny, TINY) == effort
    assert FULL.seconds_of(tiny, TINY, effort, 0) == pytest.approx(300 + training)


def test_a_student_that_is_cut_learns_before_as_long_as_in_its_trial_and_from_all_rows_after() -> (
    None
):
    tiny = ShortTraining(seconds=12, epochs=2, rows=6_000)
    effort = within(1e6).effort(tiny, Trained(3, 1))
    assert effort == Effort(4, 1, 150_000, is_final=True)
    seconds = FULL.seconds_of(tiny, Trained(3, 1), effort, 150_000)
    assert seconds == pytest.approx(5 * 156)


def test_a_finalist_learns_from_no_fewer_rows_than_at_its_rung() -> None:
    slow = ShortTraining(seconds=1_000, epochs=1, rows=16_000, unlabeled=10_000)
    assert within(10).effort(slow, TINY) == Effort(1, 1, 10_000, is_final=True)


def test_without_a_known_time_or_unlabeled_rows_labeled_ones_are_all() -> None:
    assert within(1e6).effort(None, CUT) == Effort(4, None, 0, 0, is_final=True)
    few = replace(within(1e6), unlabeled=5_000)
    assert few.effort(PRUNED, CUT).unlabeled_tuning == 5_000
    alone = replace(within(1e6), unlabeled=0)
    assert alone.effort(PRUNED, CUT) == Effort(4, None, 0, 0, is_final=True)
    assert FULL.seconds_of(None, CUT, Effort(4, None, 0), 0) == 0


def test_where_all_takes_too_long_a_finalist_has_fewer_epochs_then_fewer_labeled_rows() -> None:
    alone = replace(within(125), unlabeled=0)
    assert alone.effort(PRUNED, CUT) == Effort(1, None, 0, 0, is_final=True)
    few = ShortTraining(seconds=15, epochs=1, rows=1_500)  # a hundredth of a second for a row
    effort = alone.effort(few, CUT)
    assert effort == Effort(1, None, 0, 0, is_final=True, labeled=3_000)
    assert alone.seconds_of(few, CUT, effort, 0) == pytest.approx(30 + 30), "answered, and learned"
    longer = replace(alone, seconds=61 + 60 / 0.8)
    assert longer.effort(few, CUT) == Effort(1, None, 0, 0, is_final=True)
    assert replace(alone, seconds=1).effort(few, CUT).labeled == 1_500, "as many as in its trial"


def test_where_no_trial_trained_it_the_models_speed_tells_how_long_a_finalist_takes() -> None:
    known = replace(within(1_800), learned_a_second=100)
    assert known.effort(None, CUT) == Effort(4, None, 0, 10_000, is_final=True)
    slow = replace(known, learned_a_second=1)
    effort = slow.effort(None, CUT)
    assert (effort.epochs, effort.labeled) == (1, 750)
    assert slow.seconds_of(None, CUT, effort, 0) == pytest.approx(750 + 7.5)
    untrained = slow.effort(None, Trained())
    assert untrained == Effort(4, None, 0, 0, is_final=True)
    assert slow.seconds_of(None, Trained(), untrained, 0) == 0


def test_a_quantization_that_trains_takes_its_epochs_and_learns_from_labeled_rows() -> None:
    assert Trained(has_qat=True).epochs(4) == 4
    assert Trained(0, 1, has_qat=True).epochs(4) == 8
    assert Trained(3, 2, has_qat=True).epochs(4) == 10
    assert within(1e6).effort(PRUNED, Trained(has_qat=True)).unlabeled_tuning == 0

"""Successive halving: who is trained longer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bmc import artifact
from bmc.search.budgets import Limits, Measured
from bmc.search.chain import ALL_ROWS, ScoredRows
from bmc.search.halving import dominates, efforts_of, full_epochs, is_affordable, is_promoted
from bmc.search.space import Candidate, Chosen

LIMITS = Limits(1.0, None, 1.0)
BOTH = ("drop", "latency")


def measured(drop: float, milliseconds: float) -> Measured:
    return Measured(drop, 1000, milliseconds)


def test_a_candidate_within_the_limits_is_trained_no_longer() -> None:
    assert not is_promoted(measured(0.9, 0.9), (), LIMITS, BOTH)
    assert is_promoted(measured(20.0, 0.9), (), LIMITS, BOTH)
    unlike = replace(measured(0.9, 0.9), failure="its outputs differ from PyTorch's")
    assert is_promoted(unlike, (), LIMITS, BOTH), "training brings its outputs nearer"


def test_a_candidate_is_trained_no_longer_where_training_cannot_help() -> None:
    assert not is_promoted(measured(20.0, 1.2), (), LIMITS, BOTH)
    assert is_promoted(measured(20.0, 1.05), (), LIMITS, BOTH)  # as timings vary


def test_half_of_a_rung_is_promoted() -> None:
    rung = [measured(drop, 0.5) for drop in (10.0, 20.0, 30.0)]
    assert is_promoted(measured(15.0, 0.5), rung, LIMITS, BOTH)
    assert not is_promoted(measured(25.0, 0.5), rung, LIMITS, BOTH)
    assert is_promoted(measured(25.0, 0.4), rung, LIMITS, BOTH)  # faster than all of them


def test_a_latency_a_little_above_its_limit_may_be_a_measuring_error_and_a_size_is_none() -> None:
    limits = Limits(None, 1_000, 1.0)
    assert is_affordable(Measured(0.0, 1_000, 1.05), limits)
    assert not is_affordable(Measured(0.0, 1_000, 1.15), limits)
    assert not is_affordable(Measured(0.0, 1_001, 1.0), limits)


def test_equal_candidates_do_not_beat_each_other() -> None:
    assert not dominates(measured(1.0, 1.0), measured(1.0, 1.0), BOTH)
    assert dominates(measured(1.0, 0.9), measured(1.0, 1.0), BOTH)
    assert not dominates(measured(1.1, 0.9), measured(1.0, 1.0), BOTH)


def test_lengths_are_shares_of_the_models_own_training(digits_model: Path) -> None:
    model = artifact.load(digits_model)
    rungs = efforts_of(model, 1_000, 1e9, ALL_ROWS)
    assert [rung.epochs for rung in rungs] == [0, 2, 8]
    assert [rung.student_epochs for rung in rungs] == [2, 2, 8]
    assert [rung.unlabeled for rung in rungs] == [0, 10_000, 30_000]
    assert full_epochs(model) == 16
    short = replace(model, origin={"settings": {"epochs": 1}})
    of_short = efforts_of(short, 1_000, 1e9, ALL_ROWS)
    assert [rung.epochs for rung in of_short] == [0, 1, 1]
    assert [rung.unlabeled for rung in of_short] == [0, 10_000, 30_000], "a rung of its own"
    assert len(efforts_of(short, 1_000, 1, ALL_ROWS)) == 2, "two equal rungs are one"
    few = efforts_of(model, 1_000, 1e9, ScoredRows(1_000, 256))
    assert {rung.scored for rung in few} == {ScoredRows(1_000, 256)}


def test_a_student_that_is_cut_is_trained_for_as_many_epochs_in_all_as_one_that_is_not(
    digits_model: Path,
) -> None:
    tiny, cut = Chosen("distill", "tiny", {}), Chosen("prune", "structured", {"ratio": 0.5})
    for rung in efforts_of(artifact.load(digits_model), 1_000, 1e9, ALL_ROWS):
        epochs = [
            (rung.epochs_of_student(candidate) or 0) + rung.epochs_after(candidate)
            for candidate in (Candidate(tiny, (), None), Candidate(tiny, (cut,), None))
        ]
        assert epochs[0] == epochs[1]


def test_a_training_that_takes_too_long_has_fewer_unlabeled_rows_then_epochs_then_labeled_rows(
    digits_model: Path,
) -> None:
    model = artifact.load(digits_model)

    def last_of(most: int) -> tuple[int, int, int | None]:
        rung = efforts_of(model, 1_000, most, ALL_ROWS)[-1]
        return rung.epochs, rung.unlabeled, rung.labeled

    assert last_of(2_000_000) == (8, 30_000, None)
    assert last_of(100_000) == (8, 1_500, None)
    assert last_of(10_000) == (2, 0, None)
    assert last_of(2_000) == (1, 0, 400)
    assert last_of(1) == (1, 0, 256)
    first = efforts_of(model, 1_000, 2_000, ALL_ROWS)[0]
    assert (first.epochs, first.student_epochs, first.labeled) == (0, 1, 256)

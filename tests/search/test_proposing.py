"""What is tried next: parts alone, combinations that should fit the limits, Optuna's proposals."""

from __future__ import annotations

from typing import Any

import pytest

from bmc.choices import Between
from bmc.search.budgets import Limits, Measured
from bmc.search.combining import Effect, Tried, combined, effects_of
from bmc.search.proposing import next_params
from bmc.search.space import Candidate, Chosen, Option, Space
from tests.search.test_space import Fixed

SPACE = Space(
    (Option("distill", "tiny"), Option("distill", "mini")),
    (Option("prune", "structured", {"ratio": Between(0.1, 0.8)}), Option("share", "cluster")),
    (Option("quantize", "static"), Option("quantize", "weights")),
)
BASE = Measured(0.0, 80_000_000, 12.0)
LIMITS = Limits(1.0, 20e6, 2.0)
TINY, MINI = Chosen("distill", "tiny", {}), Chosen("distill", "mini", {})
CUT = Chosen("prune", "structured", {"ratio": 0.5})
STATIC = Chosen("quantize", "static", {})
FACTORS = {  # of the size and of the latency, and points that are lost
    "tiny": (0.2, 0.08, 4.0),
    "mini": (0.3, 0.35, 2.0),
    "structured": (0.6, 0.5, 9.0),
    "cluster": (0.25, 1.0, 0.5),
    "static": (0.25, 2.0, 0.1),
    "weights": (0.26, 1.0, 0.1),
}


def measured(candidate: Candidate) -> Measured:
    """Return what a candidate loses and costs by the factors of its parts."""
    drop, size, latency = 0.0, float(BASE.bytes), BASE.milliseconds
    for part in candidate.parts:
        of_size, of_latency, lost = FACTORS[part.name]
        drop, size, latency = drop + lost, size * of_size, latency * of_latency
    return Measured(drop, round(size), latency)


def proposed(
    count: int, space: Space = SPACE, limits: Limits = LIMITS
) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the first candidates, and their parameters; Optuna's are "optuna"."""
    queued: list[dict[str, Any]] = []
    tried: list[Tried] = []
    words: list[str] = []
    for number in range(count):
        known = set(words)
        params = next_params(space, tried, queued, known, number, BASE, limits, "latency")
        if params is None:
            words.append("optuna")
            continue
        candidate = space.draw(Fixed(**params))
        queued.append(params)
        words.append(candidate.shown())
        tried.append(Tried(candidate, measured(candidate), False))
    return words, queued


def test_each_part_is_tried_and_fewer_bits_with_what_is_fast_where_they_alone_do_too_little() -> (
    None
):
    words, _ = proposed(30)
    assert words[0] == "tiny"
    assert {"mini", "structured(ratio=0.45)", "cluster", "tiny, static", "tiny, weights"} <= set(
        words
    )
    assert not {"static", "weights"} & set(words)


def test_fewer_bits_alone_are_tried_where_they_may_be_enough() -> None:
    words, _ = proposed(30, limits=Limits(1.0, 40e6, None))
    assert {"static", "weights"} <= set(words)


def test_combinations_fit_the_limits_by_what_their_parts_took_and_each_student_has_its_turn() -> (
    None
):
    words, _ = proposed(30)
    combinations = [each for each in words if "," in each and "optuna" not in each]
    assert any(each.startswith("mini, structured") and "weights" in each for each in combinations)
    assert any(each.startswith("structured") for each in combinations)
    assert len(set(combinations)) == len(combinations)


def test_combinations_and_optuna_take_turns_once_each_part_was_tried() -> None:
    words, _ = proposed(40)
    end = words[-10:]
    assert end.count("optuna") == 5


def test_nothing_is_proposed_of_an_empty_space_of_one_part_that_was_tried() -> None:
    words, _ = proposed(4, Space((), (Option("share", "cluster"),), ()))
    assert words == ["cluster", "optuna", "optuna", "optuna"]


def test_an_effect_is_what_changed_since_the_candidate_without_the_part() -> None:
    taught, both = Candidate(TINY, (), None), Candidate(TINY, (), STATIC)
    tried = [
        Tried(taught, Measured(4.0, 20_000_000, 1.0), True),
        Tried(both, Measured(4.5, 5_000_000, 2.0), True),
    ]
    student, bits = effects_of(tried, BASE)
    assert (student.part, student.drop, student.size) == (TINY, 4.0, 0.25)
    assert bits == Effect(STATIC, 2.0, 0.25, 0.5)
    assert effects_of(tried[1:], BASE) == [], "tiny alone was not measured"


def test_what_is_lost_before_training_counts_a_third() -> None:
    cut = Candidate(None, (CUT,), None)
    (before,) = effects_of([Tried(cut, Measured(9.0, 1, 6.0), False)], BASE)
    (after,) = effects_of([Tried(cut, Measured(9.0, 1, 6.0), True)], BASE)
    assert (before.drop, after.drop) == (3.0, 9.0)


def test_other_shares_are_estimated_from_the_one_that_was_tried() -> None:
    effects = [Effect(MINI, 0.35, 0.2, 2.0), Effect(CUT, 0.5, 0.6, 3.0)]
    ranked = combined(SPACE, effects, BASE, LIMITS, "latency")
    shares = {candidate.structural[0].settings["ratio"]: m for candidate, m in ranked}
    assert shares[0.6].milliseconds == pytest.approx(12 * 0.35 * 0.4)
    assert 0.3 not in shares, "4.2 ms * 0.7 is too slow"
    assert [m.drop for _, m in ranked] == sorted(m.drop for _, m in ranked)

"""What is tried next: parts alone, combinations that should fit the limits, Optuna's proposals."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bmc.choices import Between
from bmc.search.budgets import Limits, Measured
from bmc.search.combining import best_of_each_start
from bmc.search.effects import Effect, Tried, effects_of, errors_of
from bmc.search.proposing import Proposer
from bmc.search.space import Candidate, Chosen, Option, Space
from tests.search.test_space import Fixed

SPACE = Space(
    (Option("distill", "tiny"), Option("distill", "mini")),
    (Option("prune", "structured", {"ratio": Between(0.1, 0.8)}), Option("share", "cluster")),
    (Option("quantize", "static", in_float=True), Option("quantize", "weights")),
    {"outputs": ("output",)},
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
    count: int,
    space: Space = SPACE,
    limits: Limits = LIMITS,
    broken: str = "",
    width: int = 1,
) -> list[str]:
    """Return the first candidates in words, or "optuna".

    Args:
        count: how many.
        space: what is chosen from.
        limits: the budgets.
        broken: a pair of parts that cannot be made, such as "tiny, structured".
        width: how many are proposed before any of them is measured.
    """
    proposer = Proposer(space, BASE, limits, "latency")
    queued: list[dict[str, Any]] = []
    tried: list[Tried] = []
    failed: list[Candidate] = []
    words: list[str] = []
    for number in range(count):
        if number % width == 0:
            ended = list(tried), list(failed)
        params = proposer.next_params(*ended, queued, len(queued))
        queued.append(params or {})
        if params is None:
            words.append("optuna")
            continue
        in_float = {} if params.get("in_float") else {"in_float": "outputs"}
        candidate = space.draw(Fixed(**params, **in_float))
        words.append(candidate.shown())
        if broken and all(name in candidate.shown() for name in broken.split(", ")):
            failed.append(candidate)
        else:
            tried.append(Tried(candidate, (measured(candidate),)))
    return words


def test_each_part_is_tried_and_fewer_bits_with_what_is_fast_where_they_alone_do_too_little() -> (
    None
):
    words = proposed(30)
    assert words[:3] == ["tiny", "structured(ratio=0.45)", "mini"], "in turn"
    alone = {"mini", "structured(ratio=0.45)", "cluster", "tiny, static", "tiny, weights"}
    assert alone <= set(words)
    assert not {"static", "weights"} & set(words)


def test_fewer_bits_alone_are_tried_first_where_they_may_be_enough() -> None:
    words = proposed(30, limits=Limits(1.0, 40e6, None))
    assert words[0] == "static(in_float=output)"
    assert "weights" in words
    alone = [word for word in words if "," not in word and "static" not in word]
    assert alone[:3] == ["weights", "structured(ratio=0.45)", "cluster"], "students come last"


@pytest.mark.parametrize("width", [1, 2, 4])
def test_combinations_fit_the_limits_by_what_their_parts_took_and_none_comes_twice(
    width: int,
) -> None:
    words = proposed(60, width=width)
    combinations = [each for each in words if ", " in each]
    assert any(each.startswith("mini, structured") for each in combinations)
    assert any(not each.startswith(("tiny", "mini")) for each in combinations)
    assert not combinations[0].startswith("tiny, structured"), "tiny costs what it may without it"
    assert len(set(combinations)) == len(combinations)
    assert words.count("optuna") >= 10, "Optuna has its turns"


def test_weights_are_pruned_before_they_share_values() -> None:
    both = [each for each in proposed(80) if "cluster" in each and "structured" in each]
    assert both
    assert all(each.index("structured") < each.index("cluster") for each in both)


def test_layers_in_float_of_the_model_are_not_those_of_a_student() -> None:
    words = proposed(80, limits=Limits(1.0, 40e6, None))
    with_bits = [each for each in words if each.startswith("tiny, static")]
    assert with_bits == ["tiny, static"]


def test_combinations_and_optuna_take_turns_once_each_part_was_tried() -> None:
    assert proposed(40)[-9:].count("optuna") == 3


def test_nothing_is_combined_in_a_space_of_one_part() -> None:
    words = proposed(4, Space((), (Option("share", "cluster"),), ()))
    assert words == ["cluster", "optuna", "optuna", "optuna"]


def test_parts_that_cannot_be_made_together_are_given_up() -> None:
    words = proposed(40, broken="tiny, structured")
    broken = [each for each in words if "tiny" in each and "structured" in each]
    kinds = {"cluster" in each for each in broken} | {"weights" in each for each in broken}
    assert 0 < len(broken) <= 2 * 8, f"two of each kind: {kinds}"


def test_an_effect_is_what_changed_since_the_candidate_without_the_part() -> None:
    taught, both = Candidate(TINY, (), None), Candidate(TINY, (), STATIC)
    tried = [
        Tried(taught, (Measured(6.0, 20_000_000, 1.0), Measured(4.0, 20_000_000, 1.0))),
        Tried(both, (Measured(6.5, 5_000_000, 2.0),)),
    ]
    student, bits = effects_of(tried, BASE)
    assert (student.part, student.drop, student.size) == (TINY, 6.0, 0.25), "at the first rung"
    assert bits == Effect(STATIC, 2.0, 0.25, 0.5, "tiny"), "at the rung that both reached"
    assert effects_of(tried[1:], BASE) == [], "tiny alone was not measured"


def test_what_is_lost_before_training_counts_a_third() -> None:
    cut = Candidate(None, (CUT,), None)
    (before,) = effects_of([Tried(cut, (Measured(9.0, 1, 6.0),))], BASE)
    (after,) = effects_of([Tried(cut, (Measured(9.0, 1, 6.0), Measured(8.0, 1, 6.0)))], BASE)
    assert (before.drop, after.drop) == (3.0, 8.0)


def test_bits_that_the_target_computes_differently_have_no_effect() -> None:
    wrong = Measured(0.0, 1, 1.0, failure="the outputs differ")
    assert effects_of([Tried(Candidate(None, (), STATIC), (wrong,))], BASE) == []


def ratios_of(effects: list[Effect], limits: Limits = LIMITS, goal: str = "latency") -> list[float]:
    """Return the ratios of combinations with `mini`, the best first."""
    ratios: list[float] = []

    def is_new(candidate: Candidate) -> bool:
        return not candidate.structural or candidate.structural[0].settings["ratio"] not in ratios

    while True:
        best = best_of_each_start(SPACE, effects, {}, BASE, limits, goal, is_new).get("mini")
        if best is None:
            return ratios
        ratios.append(best.structural[0].settings["ratio"])


def test_other_ratios_are_estimated_from_the_nearest_and_not_from_one_that_is_far_away() -> None:
    effects = [Effect(MINI, 0.35, 0.2, 2.0), Effect(CUT, 0.5, 0.6, 3.0)]
    assert ratios_of(effects) == [0.6, 0.7, 0.8], "0.5 and less are too slow"
    gentle = Effect(Chosen("prune", "structured", {"ratio": 0.2}), 0.8, 0.9, 0.3)
    assert ratios_of([effects[0], gentle]) == [], "0.4 at most is estimated from 0.2"
    assert ratios_of([effects[0], gentle], Limits(1.0, 20e6, 3.0)) == [0.3, 0.4]


def test_a_ratio_of_0_tells_nothing_about_others() -> None:
    nothing = Effect(Chosen("prune", "structured", {"ratio": 0.0}), 1.0, 1.0, 0.3)
    mini = Effect(MINI, 0.35, 0.2, 2.0)
    assert ratios_of([mini, nothing]) == []
    kept = Candidate(MINI, (nothing.part,), None)
    assert errors_of(SPACE, [Tried(kept, (measured(kept),))], [mini, nothing], BASE) == {}


def test_without_a_limit_of_the_loss_what_loses_least_comes_first() -> None:
    effects = [Effect(MINI, 0.35, 0.2, 2.0), Effect(CUT, 0.5, 0.6, 3.0)]
    ratios = ratios_of(effects, Limits(None, None, None))
    assert ratios == sorted(ratios)


def test_what_was_slower_than_estimated_corrects_the_next_estimate_for_the_same_techniques() -> (
    None
):
    effects = [Effect(MINI, 0.35, 0.2, 2.0), Effect(CUT, 0.5, 0.6, 3.0)]
    cut = replace(CUT, settings={"ratio": 0.6})
    slow = Measured(5.0, round(BASE.bytes * 0.2 * 0.52), 12 * 0.35 * 0.4 * 1.5)
    errors = errors_of(SPACE, [Tried(Candidate(MINI, (cut,), None), (slow,))], effects, BASE)
    assert errors["mini", ("prune/structured",)] == pytest.approx((1.5, 1.0))
    best = best_of_each_start(
        SPACE, effects, errors, BASE, LIMITS, "latency", lambda candidate: True
    )
    assert best["mini"].structural[0].settings["ratio"] == 0.7, "0.6 would take 2.5 ms"

"""Which candidates are trained in full."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pytest

pytest.importorskip("optuna")

from bmc.choices import Between
from bmc.recipes.plan import Step
from bmc.search.budgets import Budgets, Limits, Measured
from bmc.search.chain import Effort
from bmc.search.finalists import Finalist, choose, front_of, train
from bmc.search.full_training import FullTraining
from bmc.search.objective import Objective
from bmc.search.space import Option, Space
from bmc.search.study import RUNGS, SECONDS, SHOWN
from bmc.search.trials import best_of
from tests.search.test_trials import trials_of


def test_candidates_that_training_can_bring_within_the_limits_come_first(
    digits_model: Path, tmp_path: Path
) -> None:
    trials = trials_of(digits_model, tmp_path, "unstructured")
    trials = replace(trials, limits=Limits(1.0, None, 1.0))
    for drop, milliseconds in ((0.0, 1.5), (9.0, 0.9), (20.0, 0.8)):
        trial = trials.study.ask()
        measured = Measured(drop, 1000, milliseconds)
        trials.study.note(trial, SHOWN, f"lost {drop}")
        trials.study.note(trial, RUNGS, [asdict(measured)])
        trials.study.tell(trial, [drop, milliseconds], trials.limits.constraints(measured))
    assert [best_of(trial).drop for trial in choose(trials)] == [9.0, 20.0, 0.0]


@pytest.mark.parametrize("width", [1, 2])
def test_finalists_learn_from_the_rows_that_fit_and_what_takes_too_long_makes_room(
    width: int, digits_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = trials_of(digits_model, tmp_path, "unstructured", width)
    trials = replace(
        trials,
        space=Space(structural=(Option("prune", "unstructured", {"ratio": Between(0.1, 0.9)}),)),
        origin=replace(trials.origin, transfer="mine.txt"),
        rungs=(Effort(0, 1, 0), Effort(1, 1, 0, 10_000)),
    )
    seconds_of_ratio = {0.3: 60.0, 0.5: 6_000.0, 0.7: 60.0}
    for ratio, seconds in seconds_of_ratio.items():
        fixed = {"first": "prune/unstructured", "second": "none"}
        trials.study.queue({**fixed, "prune/unstructured.ratio": ratio})
        trial = trials.study.ask()
        trials.study.note(trial, SHOWN, trials.space.draw(trial).shown())
        measured = [asdict(Measured(drop, 1000, 1.0)) for drop in (30.0, 9.0)]
        trials.study.note(trial, RUNGS, measured)
        trials.study.note(trial, SECONDS, [0.0, seconds])
        trials.study.tell(trial, [9.0, 1.0], {})
    made: dict[float, int] = {}

    def make(self: Objective, candidates: Sequence[Sequence[Step]]) -> list[Path]:
        for (step,) in candidates:
            made[step.settings["ratio"]] = step.settings.get("transfer_size", 0)
        return [digits_model for _ in candidates]

    monkeypatch.setattr(Objective, "make", make)
    monkeypatch.setattr(Objective, "measure_finalist", lambda *_: Measured(9.0, 1000, 0.0))
    full = FullTraining(epochs=4, labeled=6_000, seconds=1_600, rows_a_second=100)
    chosen = trials.study.complete()
    finalists = train(trials, chosen, 3, full, time.monotonic() + 900)  # the answers are shared
    assert len(finalists) == 2, "4 epochs of 6,000 seconds each are left out"
    assert made[0.3] == made[0.7] == 50_000
    assert (0.5 in made) is (width == 2), "several are trained in parallel, whatever they take"


def test_a_loss_that_is_certainly_within_its_limit_comes_before_a_faster_model() -> None:
    budgets = Budgets(max_drop=1, max_latency="2ms")
    limits = budgets.limits(Measured(0.0, 1000, 10.0))
    fast = finalist("fast", Measured(0.9, 1000, 1.0, drop_low=-0.5, drop_high=2.3))
    slow = finalist("slow", Measured(0.1, 1000, 1.5, drop_low=-0.4, drop_high=0.6))
    slower = finalist("slower", Measured(-0.5, 1000, 1.8, drop_low=-1.0, drop_high=0.1))
    front, sentence = front_of([fast, slower, slow], limits, budgets)
    assert [each.words for each in front] == ["slow", "slower", "fast"]
    assert "rule out" not in sentence


def test_a_loss_that_may_be_above_its_limit_is_said_and_the_least_one_comes_first() -> None:
    budgets = Budgets(max_drop=1, max_latency="2ms")
    limits = budgets.limits(Measured(0.0, 1000, 10.0))
    fast = finalist("fast", Measured(0.9, 1000, 1.0, drop_low=-0.5, drop_high=2.3))
    slow = finalist("slow", Measured(0.2, 1000, 1.5, drop_low=-1.0, drop_high=1.4))
    front, sentence = front_of([fast, slow], limits, budgets)
    assert [each.words for each in front] == ["slow", "fast"]
    assert sentence.endswith("; the validation rows do not rule out a loss above 1 points")


def finalist(words: str, measured: Measured) -> Finalist:
    return Finalist(words, (), Path(words), Path(words), measured)

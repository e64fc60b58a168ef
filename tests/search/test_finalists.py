"""Which candidates are trained in full."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("optuna")

from bmc.choices import Between
from bmc.recipes.plan import Step
from bmc.search import finalists as finalists_of
from bmc.search.budgets import Budgets, Limits, Measured
from bmc.search.chain import Effort
from bmc.search.expected import Expectation
from bmc.search.finalists import Finalist, choose, front_of, train
from bmc.search.full_training import FullTraining
from bmc.search.objective import Objective
from bmc.search.space import Option, Space
from bmc.search.study import RUNGS, SECONDS, SHOWN
from bmc.search.trials import Kept, Trials, best_of
from bmc.workflows import students
from tests.search.test_trials import trials_of


def test_candidates_that_training_can_bring_within_the_limits_come_first(
    digits_model: Path, tmp_path: Path
) -> None:
    trials = trials_of(digits_model, tmp_path, "unstructured")
    trials = replace(trials, limits=Limits(1.0, None, 1.0))
    for drop, milliseconds in ((0.0, 1.5), (9.0, 0.9), (20.0, 0.8)):
        trials.study.queue({"first": "none", "quantize": "none"})
        trial = trials.study.ask()
        trials.space.draw(trial)
        measured = Measured(drop, 1000, milliseconds)
        trials.study.note(trial, SHOWN, f"lost {drop}")
        trials.study.note(trial, RUNGS, [asdict(measured)])
        trials.study.tell(trial, [drop, milliseconds], trials.limits.constraints(measured))
    assert [best_of(trial).drop for trial in choose(trials)] == [9.0, 20.0, 0.0]


@pytest.mark.parametrize(("width", "end"), [(1, 2_300), (2, 1_400)])
def test_finalists_learn_from_the_rows_that_fit_and_what_takes_too_long_makes_room(
    width: int, end: float, digits_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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

    clock = [0.0]

    def make(self: Objective, candidates: Sequence[Sequence[Step]]) -> list[Path]:
        if any(step.settings["ratio"] not in made for (step,) in candidates):
            clock[0] += 840 if made else 1_340  # the answers are shared
        for (step,) in candidates:
            made[step.settings["ratio"]] = step.settings.get("transfer_size", 0)
        return [digits_model for _ in candidates]

    monkeypatch.setattr(finalists_of, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(Objective, "make", make)
    monkeypatch.setattr(Objective, "measure_finalist", lambda *_: Measured(9.0, 1000, 0.0))
    full = FullTraining(epochs=4, labeled=6_000, seconds=2_600, rows_a_second=100)
    finalists = train(trials, trials.study.complete(), 3, full, end)
    assert len(finalists) == 2, "what was trained in parallel is kept, although the time is over"
    assert made[0.3] == made[0.7] == 50_000
    assert 0.5 not in made, "4 epochs of 6,000 seconds each are left out"


@pytest.mark.parametrize("student", ["tiny", "lstm", "textcnn", "cnn", "mlp"])
def test_a_student_is_trained_for_the_epochs_of_its_recipe_or_for_as_many_as_fit(
    student: str, digits_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = replace(
        trials_of(digits_model, tmp_path, "unstructured"),
        space=Space((Option("distill", student),)),
        rungs=(Effort(1, 1, 0),),
    )
    trials.study.queue({"start": student})
    trial = trials.study.ask()
    trials.study.note(trial, SHOWN, trials.space.draw(trial).shown())
    trials.study.note(trial, RUNGS, [asdict(Measured(9.0, 1000, 1.0))])
    trials.study.note(trial, SECONDS, [60.0])
    trials.study.tell(trial, [9.0, 1.0], {})
    epochs: list[int | None] = []

    def make(self: Objective, candidates: Sequence[Sequence[Step]]) -> list[Path]:
        epochs.extend(step.settings.get("epochs") for (step,) in candidates)
        return [digits_model for _ in candidates]

    monkeypatch.setattr(Objective, "make", make)
    monkeypatch.setattr(Objective, "measure_finalist", lambda *_: Measured(9.0, 1000, 0.0))
    for seconds in (1e6, 150.0):
        full = FullTraining(epochs=4, labeled=6_000, seconds=seconds, unlabeled=0)
        train(trials, [trial], 1, full, time.monotonic() + seconds)
    whole, shorter = epochs
    recipe = students.choose(student, {}).recipe_for(trials.objective.data).epochs
    assert whole in (None, recipe)
    assert shorter in (1, 2)


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


def test_a_certain_model_stays_where_an_uncertain_one_is_better_in_everything() -> None:
    budgets = Budgets(max_drop=1, max_latency="2ms")
    limits = budgets.limits(Measured(0.0, 1000, 10.0))
    certain = finalist("certain", Measured(0.1, 1000, 1.5, drop_low=-0.2, drop_high=0.4))
    lucky = finalist("lucky", Measured(0.0, 900, 1.0, drop_low=-1.9, drop_high=2.0))
    front, sentence = front_of([lucky, certain], limits, budgets)
    assert [each.words for each in front] == ["certain", "lucky"]
    assert "rule out" not in sentence


def test_of_uncertain_models_the_one_nearest_to_the_model_comes_first() -> None:
    budgets = Budgets(max_drop=1, max_latency="2ms")
    limits = budgets.limits(Measured(0.0, 1000, 10.0))
    lucky = finalist("lucky", Measured(0.2, 1000, 1.0, "", -2.0, 2.4, divergence=0.3))
    near = finalist("near", Measured(0.7, 1000, 1.5, "", -0.8, 2.2, divergence=0.05))
    front, _ = front_of([lucky, near], limits, budgets, Expectation(slope=12, spread=0.2))
    assert [each.words for each in front] == ["near", "lucky"]


def test_a_drop_without_an_interval_is_said() -> None:
    budgets = Budgets(max_drop=1)
    limits = budgets.limits(Measured(0.0, 1000, 10.0))
    _, sentence = front_of([finalist("x", Measured(0.0, 1000, 1.0))], limits, budgets)
    assert sentence.endswith("; a drop of this score has no interval")


@pytest.mark.parametrize(("divergences", "taken"), [((0.1, 0.3), "full"), ((0.3, 0.1), "short")])
def test_a_short_training_that_loses_less_is_taken_only_if_it_is_nearer_to_the_model(
    divergences: tuple[float, float],
    taken: str,
    digits_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trials = trials_of(digits_model, tmp_path, "unstructured")
    trials = replace(trials, rungs=(Effort(0, 1, 0), Effort(1, 1, 0)))
    fixed = {"first": "prune/unstructured", "second": "none", "quantize": "none"}
    trials.study.queue({**fixed, "prune/unstructured.ratio": 0.5})
    trial = trials.study.ask()
    trials.study.note(trial, SHOWN, trials.space.draw(trial).shown())
    trials.study.note(trial, RUNGS, [asdict(Measured(each, 1000, 1.0)) for each in (30.0, 0.5)])
    trials.study.tell(trial, [0.5, 1.0], {})
    measured = [
        Measured(drop, 1000, 0.0, divergence=divergence)
        for drop, divergence in zip((1.2, 0.5), divergences, strict=True)
    ]
    monkeypatch.setattr(Objective, "make", lambda self, of: [digits_model for _ in of])
    monkeypatch.setattr(Objective, "measure_finalist", lambda *_: measured.pop(0))
    full = FullTraining(epochs=4, labeled=1_000, seconds=1e6)
    (finalist,) = train(trials, trials.study.complete(), 1, full, 1e12)
    assert finalist.measured.drop == {"full": 1.2, "short": 0.5}[taken]


def measured_trials(digits_model: Path, folder: Path, ratios: Sequence[float]) -> Trials:
    """Return trials of pruning at some ratios, each of which took a minute."""
    trials = replace(
        trials_of(digits_model, folder, "unstructured"),
        space=Space(structural=(Option("prune", "unstructured", {"ratio": Between(0.1, 0.9)}),)),
        rungs=(Effort(0, 1, 0), Effort(1, 1, 0)),
    )
    for ratio in ratios:
        fixed = {"first": "prune/unstructured", "second": "none"}
        trials.study.queue({**fixed, "prune/unstructured.ratio": ratio})
        trial = trials.study.ask()
        trials.study.note(trial, SHOWN, trials.space.draw(trial).shown())
        trials.study.note(trial, RUNGS, [asdict(Measured(9.0, 1000, 1.0)) for _ in range(2)])
        trials.study.note(trial, SECONDS, [0.0, 60.0])
        trials.study.tell(trial, [9.0, 1.0], {})
    return trials


def test_finalists_of_an_earlier_call_are_kept_and_compared_without_being_trained_again(
    digits_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = measured_trials(digits_model, tmp_path, (0.3, 0.5))
    effort = Effort(4, None, 0, is_final=True)
    first = trials.study.complete()[0]
    planned = Effort(4, None, 0, is_final=True)
    trials.keep_trained([Kept(first.number, effort, planned)])
    steps = trials.steps(trials.candidate(first), effort)
    for key in trials.objective.keys(steps):
        trials.objective.store.add(key, digits_model)
    trials.objective.forget(trials.keys_to_keep())
    monkeypatch.setattr(Objective, "measure_finalist", lambda *_: Measured(1.0, 1000, 0.0))
    full = FullTraining(epochs=4, labeled=6_000, seconds=1e6, unlabeled=0)
    kept = train(trials, trials.study.complete(), 2, full, time.monotonic() - 1)
    assert [each.steps for each in kept] == [steps], "nothing is trained: the time is over"


def test_a_finalist_of_an_earlier_call_whose_model_is_gone_is_trained_again(
    digits_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on another machine, or with another version of bmc: its place is not left to a lesser."""
    trials = measured_trials(digits_model, tmp_path, (0.3, 0.5))
    first, effort = trials.study.complete()[0], Effort(4, None, 0, is_final=True)
    trials.keep_trained([Kept(first.number, effort, effort)])
    made = list[Sequence[Step]]()

    def make(self: Objective, candidates: Sequence[Sequence[Step]]) -> list[Path]:
        made.extend(candidates)
        return [digits_model for _ in candidates]

    monkeypatch.setattr(Objective, "make", make)
    monkeypatch.setattr(Objective, "measure_finalist", lambda *_: Measured(1.0, 1000, 0.0))
    full = FullTraining(epochs=4, labeled=6_000, seconds=1e6, unlabeled=0)
    train(trials, trials.study.complete(), 1, full, time.monotonic() + 1e6)
    assert made[0] == trials.steps(trials.candidate(first), effort)


def test_a_finalist_that_a_stopped_call_has_trained_is_taken_though_the_time_is_over(
    digits_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = measured_trials(digits_model, tmp_path, (0.3, 0.5))
    monkeypatch.setattr(Objective, "measure_finalist", lambda *_: Measured(1.0, 1000, 0.0))
    full = FullTraining(epochs=4, labeled=6_000, seconds=1e6, unlabeled=0)
    made = list[Sequence[Step]]()

    def make(self: Objective, candidates: Sequence[Sequence[Step]]) -> list[Path]:
        made.extend(candidates)
        for steps in candidates:
            for key in self.keys(steps):
                self.store.add(key, digits_model)
        return [digits_model for _ in candidates]

    monkeypatch.setattr(Objective, "make", make)
    assert len(train(trials, trials.study.complete(), 2, full, time.monotonic() + 1e6)) == 2
    again = train(trials, trials.study.complete(), 2, full, time.monotonic() - 1)
    assert len(again) == 2


def test_finalists_in_parallel_fit_into_the_time_one_after_the_other_on_each_worker(
    digits_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = replace(measured_trials(digits_model, tmp_path, (0.3, 0.5, 0.6, 0.7)), width=2)
    made, clock = list[Sequence[Step]](), [0.0]

    def make(self: Objective, candidates: Sequence[Sequence[Step]]) -> list[Path]:
        new = [each for each in candidates if each not in made]
        made.extend(new)
        clock[0] += 1.2 * each if new else 0.0
        return [digits_model for _ in candidates]

    monkeypatch.setattr(finalists_of, "time", SimpleNamespace(monotonic=lambda: clock[0]))

    monkeypatch.setattr(Objective, "make", make)
    monkeypatch.setattr(Objective, "measure_finalist", lambda *_: Measured(1.0, 1000, 0.0))
    full = FullTraining(epochs=4, labeled=6_000, seconds=1e6, unlabeled=0)
    each = finalists_of.training_seconds(trials, trials.study.complete()[:1], full)
    train(trials, trials.study.complete(), 4, full, 1.5 * each)
    assert len(made) == 2, "not all four, each of which would fit alone"


def finalist(words: str, measured: Measured) -> Finalist:
    kept = Kept(0, Effort(1, 1, 0), Effort(1, 1, 0))
    return Finalist(kept, words, (), Path(words), Path(words), measured)

"""Train the best candidates in full, measure them in turn, and choose the front."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from optuna.trial import FrozenTrial

from bmc import console
from bmc.data import count_of_spaced
from bmc.errors import GateError, StorageError, reason_of
from bmc.measure.latency import BenchSettings
from bmc.recipes.plan import Step
from bmc.recipes.runners import Failure
from bmc.search import timing
from bmc.search.budgets import Budgets, Limits, Measured, shown
from bmc.search.chain import Effort
from bmc.search.effects import start_of
from bmc.search.expected import Expectation, fitted
from bmc.search.full_training import FullTraining, ShortTraining, Trained
from bmc.search.halving import dominates, is_affordable
from bmc.search.objective import FAILURES
from bmc.search.space import Candidate
from bmc.search.trials import Kept, Trials, best_of, best_rung, ranking, seconds_of
from bmc.workflows import students

_ERROR = 0.5  # points by which a score of some validation rows may differ from that of all


@dataclass(frozen=True)
class Finalist:
    """A candidate that was trained in full.

    Args:
        kept: its trial, and how it was trained.
        words: its steps in words.
        steps: its steps.
        model: its model directory.
        bundle: its bundle for measurements, which has no test scores.
        measured: points of the validation score lost, and size; the latency follows.
    """

    kept: Kept
    words: str
    steps: tuple[Step, ...]
    model: Path
    bundle: Path
    measured: Measured


def choose(trials: Trials) -> list[FrozenTrial]:
    """Return the trials whose candidates may be trained in full, the most promising first.

    Those nearest to the limits and the goal alternate with the best of other students, and with
    those of Optuna's front that lose least: near copies of one candidate would fail together. Those
    that are too large or too slow come after the others, since training does not change that.

    Args:
        trials: the trials.
    """
    measured = [trial for trial in trials.study.complete() if best_of(trial) != trials.base]
    ranked = ranking(measured, trials.limits, trials.goal)
    numbers = {trial.number for trial in ranked}
    expectation = fitted([best_of(trial) for trial in ranked])
    front = [trial for trial in trials.study.front() if trial.number in numbers]
    front.sort(key=lambda trial: (expectation.drop(best_of(trial)), trial.number))
    ranked.sort(key=lambda trial: not is_affordable(best_of(trial), trials.limits))
    starts: dict[str, FrozenTrial] = {}
    for trial in ranked:
        starts.setdefault(start_of(trials.candidate(trial)), trial)
    rounds = zip_longest(ranked, list(starts.values())[1:], front)
    distinct = {trial.number: trial for each in rounds for trial in each if trial is not None}
    return sorted(
        distinct.values(), key=lambda trial: not is_affordable(best_of(trial), trials.limits)
    )


def training_seconds(trials: Trials, chosen: Sequence[FrozenTrial], full: FullTraining) -> float:
    """Estimate how long candidates are trained in full, one after the other.

    Args:
        trials: the trials.
        chosen: trials of the candidates.
        full: how long they are trained.
    """
    answered, seconds = 0, 0.0
    for trial in chosen:
        planned = _Planned.of(trials, trial, full)
        seconds += planned.seconds(full, answered)
        answered = max(answered, planned.effort.unlabeled, planned.effort.unlabeled_tuning)
    return seconds


def train(
    trials: Trials, chosen: Sequence[FrozenTrial], count: int, full: FullTraining, end: float
) -> list[Finalist]:
    """Train candidates in full, and score them on validation rows.

    Where the full training loses more than the short one did, the short one's model is tried, and
    taken if its outputs are nearer to the model's: the smaller of two drops would be the luckier. A
    candidate whose bundle differs too much from PyTorch makes room for the next. Finalists of an
    earlier call come first, and are not trained in the same way again.

    Args:
        trials: the trials.
        chosen: trials of the candidates, in order.
        count: number of finalists, at most, without those of earlier calls.
        full: how long they are trained.
        end: time on the clock `time.monotonic` by which they should be trained: none but the first
            is begun that would take longer. Where that is not known, it takes as long as the
            slowest one did.
    """
    earlier = _of_earlier_calls(trials)
    planned = {trial.number: _Planned.of(trials, trial, full) for trial in chosen}
    tried_before = [(each.kept.trial, each.kept.full) for each in earlier]
    chosen = [
        trial
        for trial in chosen
        if (trial.number, planned[trial.number].effort) not in tried_before
    ]
    made: set[int] = set()
    if trials.width > 1:  # in parallel; those that fail say so below
        numbers = [
            trial.number
            for trial in chosen
            if not trials.objective.has(
                trials.steps(trials.candidate(trial), planned[trial.number].effort)
            )
        ]
        missing = count - (len(chosen) - len(numbers))
        made = _in_time(planned, numbers, missing, full, end, trials.width)
        if not made and missing == count and not earlier:
            made = set(numbers[:1])
        first = [trial for trial in chosen if trial.number in made]
        started = time.monotonic()
        trials.objective.make(
            [trials.steps(trials.candidate(t), planned[t.number].effort) for t in first]
        )
        trials.study.spend_on_finalists(time.monotonic() - started)
    finalists: list[Finalist] = []  # of this call
    longest, answered = 0.0, 0
    margin = 0.0 if trials.objective.validation_rows is None else _ERROR
    for number, trial in enumerate(chosen, start=1):
        if len(finalists) == count:
            break
        effort, begun = planned[trial.number].effort, time.monotonic()
        seconds = planned[trial.number].seconds(full, answered)
        candidate = trials.candidate(trial)
        is_made = trial.number in made or trials.objective.has(trials.steps(candidate, effort))
        is_first = not (finalists or earlier)
        if not is_first and not is_made and begun + (seconds or longest) > end:
            continue
        console.note(f"finalist {len(finalists) + 1}: {candidate.shown()}")
        tried: list[Finalist] = []
        short = replace(trials.rungs[best_rung(trial)], is_final=True)
        for of_effort in (effort, short):
            steps = trials.steps(candidate, of_effort)
            if tried and not _is_worth_another(tried[0], steps, best_of(trial), margin):
                break
            folder = trials.objective.folder / f"finalist-{number}-{len(tried)}"
            try:
                kept = Kept(trial.number, of_effort, effort)
                tried.append(_finalist(trials, trial, kept, folder))
            except StorageError:
                raise
            except FAILURES as error:
                console.note(f"left out: {reason_of(error)}")
        if tried:
            best = _nearest(tried)
            if best.steps not in [each.steps for each in earlier]:  # its short training won again
                finalists.append(best)
            answered = max(answered, effort.unlabeled, effort.unlabeled_tuning)
        longest = max(longest, time.monotonic() - begun)
        trials.study.spend_on_finalists(time.monotonic() - begun)
    if len(finalists) < min(count, len(chosen)):
        console.note(f"{len(finalists)} finalists; the others failed or would take too long")
    return earlier + finalists


def _of_earlier_calls(trials: Trials) -> list[Finalist]:
    """Return the finalists of earlier calls whose models are still kept."""
    started = time.monotonic()
    by_number = {trial.number: trial for trial in trials.study.complete()}
    finalists = []
    for number, kept in enumerate(trials.trained_in_full()):
        trial = by_number[kept.trial]
        if trials.objective.has(trials.steps(trials.candidate(trial), kept.effort)):
            folder = trials.objective.folder / f"finalist-of-before-{number}"
            try:
                finalists.append(_finalist(trials, trial, kept, folder))
            except StorageError:
                raise
            except FAILURES as error:  # of a runtime that was replaced since
                console.note(f"a finalist of before is left out: {reason_of(error)}")
    trials.study.spend_on_finalists(time.monotonic() - started)
    return finalists


def _is_worth_another(
    full: Finalist, steps: Sequence[Step], short: Measured, margin: float
) -> bool:
    """Tell whether a candidate that was trained in full is also taken as its trial trained it.

    Args:
        full: the candidate, trained in full.
        steps: its steps in the trial.
        short: what was measured in the trial.
        margin: points by which the trial's score may differ from that of all validation rows.
    """
    compared = [
        [(step.verb, {**step.settings, "validation_rows": None}) for step in each]
        for each in (full.steps, steps)
    ]
    return compared[0] != compared[1] and full.measured.drop > short.drop + margin


def _nearest(tried: Sequence[Finalist]) -> Finalist:
    """Return the model whose outputs are nearest to the uncompressed one's; by drop if unknown."""
    known = all(each.measured.divergence is not None for each in tried)
    return min(
        tried,
        key=lambda each: (each.measured.divergence or 0.0) if known else each.measured.drop,
    )


class _Planned(NamedTuple):
    """How a finalist is to be trained, by what its training at a rung took."""

    effort: Effort
    short: ShortTraining | None
    trained: Trained

    @classmethod
    def of(cls, trials: Trials, trial: FrozenTrial, full: FullTraining) -> _Planned:
        """Return how the candidate of a trial is to be trained."""
        candidate = trials.candidate(trial)
        number = max(len(seconds_of(trial)) - 1, 0)  # the longest training tells most
        rungs = zip(trials.rungs, seconds_of(trial), strict=False)
        shorts = [_short(candidate, rung, seconds, full) for rung, seconds in rungs]
        short = shorts[number]
        before = shorts[number - 1] if number else None
        if short is not None and before is not None:
            short = short.without_what_both_take(before)
        trained = Trained(
            _recipe_epochs(candidate.student.name, trials) if candidate.student else 0,
            (trials.rungs[number].student_epochs or 1) if candidate.structural else None,
            candidate.has_qat,
        )
        return cls(full.effort(short, trained), short, trained)

    def seconds(self, full: FullTraining, answered: int) -> float:
        """Estimate how long that takes; see `FullTraining.seconds_of`."""
        return full.seconds_of(self.short, self.trained, self.effort, answered)


def _in_time(
    planned: Mapping[int, _Planned],
    numbers: Sequence[int],
    count: int,
    full: FullTraining,
    end: float,
    width: int,
) -> set[int]:
    """Return the first candidates that can be trained until the end, `width` at a time."""
    left = end - time.monotonic()
    busy, fitting = [0.0] * width, set[int]()  # seconds for which each worker is busy
    for number in numbers:
        worker = busy.index(min(busy))
        seconds = planned[number].seconds(full, 0)
        if len(fitting) < count and busy[worker] + seconds <= left:
            busy[worker] += seconds
            fitting.add(number)
    return fitting


def _recipe_epochs(student: str, trials: Trials) -> int:
    """Return the epochs of a student's recipe, for the data of a search."""
    return students.choose(student, {}).recipe_for(trials.objective.data).epochs


def _short(
    candidate: Candidate, rung: Effort, seconds: float | None, full: FullTraining
) -> ShortTraining | None:
    """Return what a candidate's training at a rung took; None where it had none, or is unknown."""
    epochs = (rung.epochs_of_student(candidate) or 0) if candidate.student else 0
    epochs += rung.epochs_after(candidate)
    epochs += max(1, rung.epochs) * candidate.has_qat
    if seconds is None or not epochs:
        return None
    unlabeled = rung.unlabeled if candidate.student else rung.unlabeled_tuning
    unlabeled = min(unlabeled, full.unlabeled)
    labeled = full.labeled
    if rung.labeled is not None:
        labeled = count_of_spaced(labeled, rung.labeled)
    return ShortTraining(seconds, epochs, labeled + unlabeled, unlabeled)


def _finalist(trials: Trials, trial: FrozenTrial, kept: Kept, folder: Path) -> Finalist:
    """Train a candidate, unless it is kept, and score it on all validation rows.

    Raises:
        GateError: it cannot be trained, or its bundle differs too much from PyTorch.
    """
    objective, candidate = trials.objective, trials.candidate(trial)
    words, steps = candidate.shown(), trials.steps(candidate, kept.effort)
    (model,) = objective.make([steps])
    if isinstance(model, Failure):
        raise GateError(f"{words}: {model.message}", "parity")
    measured = objective.measure_finalist(model, folder)
    if measured.failure:
        raise GateError(f"{words}: {measured.failure}", "parity")
    return Finalist(kept, words, steps, model, folder, measured)


def time_in_turn(
    trials: Trials, finalists: Sequence[Finalist], settings: BenchSettings
) -> tuple[list[Finalist], float]:
    """Measure the finalists and the uncompressed model in turn, in one run.

    Returns:
        the finalists with their latency, and the latency of the uncompressed model.
    """
    objective = trials.objective
    folders = [objective.baseline, *(finalist.bundle for finalist in finalists)]
    latencies = timing.milliseconds(folders, objective.threads, settings)
    timed = [
        replace(
            finalist,
            measured=replace(finalist.measured, milliseconds=latencies[finalist.bundle]),
        )
        for finalist in finalists
    ]
    return timed, latencies[objective.baseline]


def expectation_of(trials: Trials, finalists: Sequence[Finalist]) -> Expectation:
    """Return what other rows would show of a drop, by all that was measured.

    Args:
        trials: the trials.
        finalists: the finalists.
    """
    measured = [best_of(trial) for trial in trials.study.complete()]
    return fitted([*measured, *(finalist.measured for finalist in finalists)])


def front_of(
    finalists: Sequence[Finalist],
    limits: Limits,
    budgets: Budgets,
    expectation: Expectation = Expectation(),
) -> tuple[list[Finalist], str]:
    """Return the front within the limits, and one sentence that says what was found.

    Args:
        finalists: the finalists; at least one.
        limits: the budgets, as numbers.
        budgets: the budgets.
        expectation: what other rows would show of a drop.

    Returns:
        the finalists of the front: those whose drop is certainly within its limit, the best for the
        goal first; then the others, the least expected drop first, since a small excess cannot be
        told from none. The nearest alone where none is within the limits.
    """
    within = [finalist for finalist in finalists if not limits.excess(finalist.measured)]
    if not within:
        named = {str(number): each.measured for number, each in enumerate(finalists)}
        name, sentence = limits.nearest(named)
        return [finalists[int(name)]], sentence
    objectives = budgets.objectives()
    certain = [each for each in within if limits.is_certain(each.measured)]
    expected = [
        replace(each, measured=replace(each.measured, drop=expectation.drop(each.measured)))
        for each in within
    ]
    by_model = {each.model: each for each in within}
    front = sorted(
        _not_beaten(certain, certain, objectives),
        key=lambda each: each.measured.of(budgets.minimize),
    )
    others = [each for each in expected if not limits.is_certain(each.measured)]
    others = sorted(_not_beaten(others, expected, objectives), key=lambda each: each.measured.drop)
    front += [by_model[each.model] for each in others]
    sentence = f"within {limits.shown()}: {front[0].words}, {shown(front[0].measured)}"
    if not limits.is_certain(front[0].measured):
        sentence += f"; the validation rows do not rule out a loss above {limits.drop:g} points"
    elif limits.drop is not None and front[0].measured.drop_high is None:
        sentence += "; a drop of this score has no interval"
    return front, sentence


def _not_beaten(
    some: Sequence[Finalist], others: Sequence[Finalist], objectives: Sequence[str]
) -> list[Finalist]:
    """Return the finalists that no other one dominates in every objective."""
    return [
        each
        for each in some
        if not any(dominates(other.measured, each.measured, objectives) for other in others)
    ]

"""Train the best candidates in full, measure them in turn, and choose the front."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from bmc.search.full_training import FullTraining, ShortTraining, Trained
from bmc.search.halving import beats, is_affordable
from bmc.search.objective import FAILURES
from bmc.search.space import Candidate
from bmc.search.trials import Trials, best_of, best_rung, ranking, seconds_of

_ERROR = 0.5  # points by which a score of some validation rows may differ from that of all


@dataclass(frozen=True)
class Finalist:
    """A candidate that was trained in full.

    Args:
        words: its steps in words.
        steps: its steps.
        model: its model directory.
        bundle: its bundle for measurements, which has no test scores.
        measured: points of the validation score lost, and size; the latency follows.
    """

    words: str
    steps: tuple[Step, ...]
    model: Path
    bundle: Path
    measured: Measured


def choose(trials: Trials) -> list[FrozenTrial]:
    """Return the trials whose candidates may be trained in full, the most promising first.

    Those nearest to the limits and the goal alternate with those of Optuna's front that lose least.
    Those that are too large or too slow come after the others, since training does not change that.

    Args:
        trials: the trials.
    """
    measured = [trial for trial in trials.study.complete() if best_of(trial) != trials.base]
    ranked = ranking(measured, trials.limits, trials.goal)
    numbers = {trial.number for trial in ranked}
    front = [trial for trial in trials.study.front() if trial.number in numbers]
    front.sort(key=lambda trial: (best_of(trial).drop, trial.number))
    mixed = [trial for pair in zip(ranked, front, strict=False) for trial in pair] + ranked
    distinct = {trial.number: trial for trial in mixed}
    return sorted(
        distinct.values(), key=lambda trial: not is_affordable(best_of(trial), trials.limits)
    )


def train(
    trials: Trials, chosen: Sequence[FrozenTrial], count: int, full: FullTraining, end: float
) -> list[Finalist]:
    """Train candidates in full, and score them on validation rows.

    Where the full training loses more than the short one did, the short one's model is taken. A
    candidate whose bundle differs too much from PyTorch makes room for the next.

    Args:
        trials: the trials.
        chosen: trials of the candidates, in order.
        count: number of finalists, at most.
        full: how long they are trained.
        end: time on the clock `time.monotonic` by which they should be trained: none but the first
            is begun that would take longer. Where that is not known, it takes as long as the
            slowest one did.
    """
    planned = {trial.number: _Planned.of(trials, trial, full) for trial in chosen}
    if trials.width > 1:  # in parallel; those that fail say so below
        first = [planned[trial.number].effort for trial in chosen[:count]]
        pairs = zip(chosen, first, strict=False)
        trials.objective.make([trials.steps(trials.candidate(t), effort) for t, effort in pairs])
    finalists: list[Finalist] = []
    longest, answered = 0.0, 0
    margin = 0.0 if trials.objective.validation_rows is None else _ERROR
    for number, trial in enumerate(chosen, start=1):
        if len(finalists) == count:
            break
        effort, begun = planned[trial.number].effort, time.monotonic()
        seconds = planned[trial.number].seconds(full, answered)
        if finalists and begun + (seconds or longest) > end:
            continue
        candidate = trials.candidate(trial)
        console.note(f"finalist {len(finalists) + 1}: {candidate.shown()}")
        tried: list[Finalist] = []
        short = replace(trials.rungs[best_rung(trial)], is_final=True)
        for of_effort in (effort, short):
            steps = trials.steps(candidate, of_effort)
            if tried and not _is_worth_another(tried[0], steps, best_of(trial), margin):
                break
            folder = trials.objective.folder / f"finalist-{number}-{len(tried)}"
            try:
                tried.append(_finalist(trials, candidate.shown(), steps, folder))
            except StorageError:
                raise
            except FAILURES as error:
                console.note(f"left out: {reason_of(error)}")
        if tried:
            finalists.append(min(tried, key=lambda finalist: finalist.measured.drop))
            answered = max(answered, effort.unlabeled, effort.unlabeled_tuning)
        longest = max(longest, time.monotonic() - begun)
    if len(finalists) < min(count, len(chosen)):
        console.note(f"{len(finalists)} finalists; the others failed or would take too long")
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


class _Planned(NamedTuple):
    """How a finalist is to be trained, by what its training at a rung took."""

    effort: Effort
    short: ShortTraining | None
    trained: Trained

    @classmethod
    def of(cls, trials: Trials, trial: FrozenTrial, full: FullTraining) -> _Planned:
        """Return how the candidate of a trial is to be trained."""
        candidate, number = trials.candidate(trial), best_rung(trial)
        rungs = zip(trials.rungs, seconds_of(trial), strict=False)
        shorts = [_short(candidate, rung, seconds, full) for rung, seconds in rungs]
        short = shorts[number]
        before = shorts[number - 1] if number else None
        if short is not None and before is not None:
            short = short.without_what_both_take(before)
        trained = Trained(
            candidate.student.name if candidate.student else "",
            (trials.rungs[number].student_epochs or 1) if candidate.structural else None,
            candidate.has_qat,
        )
        return cls(full.effort(short, trained), short, trained)

    def seconds(self, full: FullTraining, answered: int) -> float:
        """Estimate how long that takes; see `FullTraining.seconds_of`."""
        return full.seconds_of(self.short, self.trained, self.effort, answered)


def _short(
    candidate: Candidate, rung: Effort, seconds: float | None, full: FullTraining
) -> ShortTraining | None:
    """Return what a candidate's training at a rung took; None where it had none, or is unknown."""
    epochs = (rung.student_epochs or 0) * bool(candidate.student) + rung.epochs_after(candidate)
    epochs += max(1, rung.epochs) * candidate.has_qat
    if seconds is None or not epochs:
        return None
    unlabeled = rung.unlabeled if candidate.student else rung.unlabeled_tuning
    unlabeled *= full.has_unlabeled
    labeled = full.labeled
    if rung.labeled is not None:
        labeled = count_of_spaced(labeled, rung.labeled)
    return ShortTraining(seconds, epochs, labeled + unlabeled, unlabeled)


def _finalist(trials: Trials, words: str, steps: tuple[Step, ...], folder: Path) -> Finalist:
    objective = trials.objective
    (model,) = objective.make([steps])
    if isinstance(model, Failure):
        raise GateError(f"{words}: {model.message}", "parity")
    measured = objective.measure_finalist(model, folder)
    if measured.failure:
        raise GateError(f"{words}: {measured.failure}", "parity")
    return Finalist(words, steps, model, folder, measured)


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


def front_of(
    finalists: Sequence[Finalist], limits: Limits, budgets: Budgets
) -> tuple[list[Finalist], str]:
    """Return the front within the limits, and one sentence that says what was found.

    Args:
        finalists: the finalists; at least one.
        limits: the budgets, as numbers.
        budgets: the budgets.

    Returns:
        the finalists of the front: those whose drop is certainly within its limit, the best for the
        goal first; then the others, the least drop first, since a small excess cannot be told from
        none. The nearest alone where none is within the limits.
    """
    within = [finalist for finalist in finalists if not limits.excess(finalist.measured)]
    if not within:
        named = {str(number): each.measured for number, each in enumerate(finalists)}
        name, sentence = limits.nearest(named)
        return [finalists[int(name)]], sentence
    objectives = budgets.objectives()
    front = [
        each
        for each in within
        if not any(beats(other.measured, each.measured, objectives) for other in within)
    ]

    def rank(finalist: Finalist) -> tuple[bool, float]:
        is_certain = limits.is_certain(finalist.measured)
        return not is_certain, finalist.measured.of(budgets.minimize if is_certain else "drop")

    front.sort(key=rank)
    sentence = f"within {limits.shown()}: {front[0].words}, {shown(front[0].measured)}"
    if not limits.is_certain(front[0].measured):
        sentence += f"; the validation rows do not rule out a loss above {limits.drop:g} points"
    return front, sentence

"""Run the trials of a search: short trainings first, longer ones for the best."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

from optuna.trial import FixedTrial, FrozenTrial, Trial

from bmc import console
from bmc.errors import StorageError, reason_of
from bmc.recipes.plan import Step
from bmc.recipes.runners import Failure, is_transient
from bmc.search.budgets import Limits, Measured, shown
from bmc.search.chain import Effort, Origin, steps_of
from bmc.search.effects import Tried
from bmc.search.expected import fitted
from bmc.search.halving import is_promoted
from bmc.search.making import Made
from bmc.search.objective import FAILURES, Objective
from bmc.search.proposing import Proposer
from bmc.search.space import Candidate, Space
from bmc.search.study import RUNGS, SECONDS, SHOWN, Study
from bmc.typed import read_as

_REPEATED = 20  # candidates in a row that were measured before: there are hardly others
_FEW = 3  # trials that are run even if the time is over
_KEPT = 8  # candidates whose models are kept
_FINALISTS = "finalists of finished searches"


@dataclass(frozen=True)
class Kept:
    """A finalist of a search, as its study keeps it.

    Args:
        trial: number of its trial.
        effort: how the model that was taken was trained: in full, or as in the trial.
        full: how it was trained in full.
    """

    trial: int
    effort: Effort
    full: Effort


@dataclass(frozen=True)
class Trials:
    """The trials of one search.

    Args:
        space: what is chosen from.
        study: where the trials are kept.
        objective: what measures a candidate.
        origin: the uncompressed model.
        rungs: how long a candidate is trained at each rung.
        limits: the budgets.
        objectives: what is minimized.
        goal: which of the objectives counts most within the limits.
        base: what the uncompressed model takes.
        seed: random seed of the trainings.
        width: candidates that are trained in parallel.
    """

    space: Space
    study: Study
    objective: Objective
    origin: Origin
    rungs: tuple[Effort, ...]
    limits: Limits
    objectives: tuple[str, ...]
    goal: str
    base: Measured
    seed: int
    width: int = 1

    def run(self, seconds: float, count: int | None) -> None:
        """Run trials until the time is over or there are enough.

        Where the time is over before, a few are run nevertheless, until one can be measured.

        Args:
            seconds: time for trials, those of earlier calls included.
            count: number of trials, those of earlier calls included; None for no limit.
        """
        repeated = 0
        while repeated < _REPEATED:
            is_enough = self.study.complete() or len(self.study.trials()) >= _FEW
            if self.study.seconds >= seconds and is_enough:
                return
            left = self.width if count is None else count - len(self.study.trials())
            if left < 1:
                return
            started = time.monotonic()
            try:
                trials = [self._ask() for _ in range(min(self.width, left))]
                repeated = 0 if self._run_some(trials) else repeated + len(trials)
            finally:
                self.study.spend(time.monotonic() - started)
            self.objective.forget(self.keys_to_keep())

    def candidate(self, trial: FrozenTrial) -> Candidate:
        """Return the candidate of a finished trial."""
        return self.space.draw(FixedTrial(trial.params))

    def steps(self, candidate: Candidate, effort: Effort) -> tuple[Step, ...]:
        """Return the steps of a candidate."""
        return steps_of(candidate, self.origin, effort, self.seed)

    def trained_in_full(self) -> list[Kept]:
        """Return the finalists of earlier calls."""
        return [read_as(Kept, each) for each in self.study.kept(_FINALISTS) or []]

    def keep_trained(self, trained: Sequence[Kept]) -> None:
        """Keep finalists, which later calls compare with theirs."""
        kept = dict.fromkeys([*self.trained_in_full(), *trained])
        self.study.keep(_FINALISTS, [asdict(each) for each in kept])

    def _ask(self) -> Trial:
        """Return the next trial: queued before, a part alone, a combination, or Optuna's own."""
        if not self.study.waiting():
            queued = self.study.queued()
            failed = [self.candidate(trial) for trial in self.study.impossible()]
            proposer = Proposer(self.space, self.base, self.limits, self.goal)
            params = proposer.next_params(self._tried(), failed, queued, self.study.count())
            if params is not None:
                self.study.queue(params)
        return self.study.ask()

    def _run_some(self, trials: Sequence[Trial]) -> bool:
        """Run trials; return whether a candidate of them is new."""
        running = []
        for trial in trials:
            candidate = self.space.draw(trial)
            running.append(_Running(trial, candidate, candidate.shown()))
            self.study.note(trial, SHOWN, candidate.shown())
        new: dict[str, _Running] = {}
        failures = self.study.failures()
        for each in running:
            each.rungs, each.seconds = self._measured_before(each.words)
            each.failure = failures.get(each.words, "")
            if not (each.rungs or each.failure):
                new.setdefault(each.words, each)
        self._climb(list(new.values()))
        for each in new.values():
            self._end(each)
        for each in running:
            if each is not new.get(each.words):
                if each.words in new:  # proposed twice in one round
                    twin = new[each.words]
                    each.rungs, each.seconds, each.failure = twin.rungs, twin.seconds, twin.failure
                    each.is_transient = twin.is_transient
                self._end(each)
        return bool(new)

    def _climb(self, new: Sequence[_Running]) -> None:
        """Measure candidates at each rung that they reach; those of a rung train in parallel."""
        for each in new:
            if not each.candidate.parts:
                each.rungs.append(self.base)
                each.seconds.append(None)
        climbing = [each for each in new if each.candidate.parts]
        for number, effort in enumerate(self.rungs):
            climbing = [each for each in climbing if self._has_more(each, number)]
            steps = [self.steps(each.candidate, effort) for each in climbing]
            models = self.objective.make(steps)
            for each, of_rung in zip(climbing, steps, strict=True):
                each.steps = of_rung
            climbing = [
                each
                for each, model in zip(climbing, models, strict=True)
                if self._is_promoted(each, model, number, new)
            ]

    def _has_more(self, mine: _Running, number: int) -> bool:
        """Tell whether a rung, or one above it, trains a candidate differently than the last."""
        return any(self.steps(mine.candidate, rung) != mine.steps for rung in self.rungs[number:])

    def _is_promoted(
        self, mine: _Running, model: Made, number: int, new: Sequence[_Running]
    ) -> bool:
        """Measure a candidate at a rung; return whether it is trained longer."""
        if isinstance(model, Failure):
            mine.failure, mine.is_transient = model.message, model.is_transient
            return False
        try:
            measured = self.objective.measure(model, mine.words)
        except StorageError:
            raise  # a full disk says nothing about the candidate, which is run again
        except FAILURES as error:
            mine.failure, mine.is_transient = reason_of(error), is_transient(error)
            return False
        others = self._others(mine, number, new)
        mine.rungs.append(measured)
        mine.seconds.append(self.objective.seconds(mine.steps))
        return is_promoted(measured, others, self.limits, self.objectives)

    def _end(self, mine: _Running) -> None:
        """Tell the study what was measured of a candidate, or why nothing was."""
        if not mine.rungs:
            console.note(f"trial {mine.trial.number}: {mine.words}: {mine.failure}")
            self.study.fail(mine.trial, mine.failure, mine.is_transient)
            return
        best = mine.rungs[_best_of_rungs(mine.rungs)]
        reached = _trained(mine.rungs)
        then = f"; then {mine.failure}" if mine.failure else ""
        console.note(f"trial {mine.trial.number}: {mine.words}: {shown(best)} ({reached}){then}")
        self.study.note(mine.trial, RUNGS, [asdict(measured) for measured in mine.rungs])
        self.study.note(mine.trial, SECONDS, mine.seconds)
        values = [best.of(name) for name in self.objectives]
        self.study.tell(mine.trial, values, self.limits.constraints(best))

    def _tried(self) -> list[Tried]:
        return [Tried(self.candidate(trial), rungs_of(trial)) for trial in self.study.complete()]

    def _others(self, mine: _Running, number: int, new: Sequence[_Running]) -> list[Measured]:
        """Return what was measured of other candidates at a rung that are trained alike there.

        At the first rung only students are trained.
        """
        tried = [Tried(each.candidate, each.rungs) for each in new if each is not mine]
        reached = [each for each in (*self._tried(), *tried) if len(each.rungs) > number]
        has_student = bool(mine.candidate.student)
        return [
            rungs[number]
            for candidate, rungs in reached
            if number > 0 or bool(candidate.student) is has_student
        ]

    def _measured_before(self, words: str) -> tuple[list[Measured], list[float | None]]:
        """Return the rungs of an earlier trial of the same candidate, and how long each took."""
        for trial in self.study.complete():
            if trial.user_attrs.get(SHOWN) == words:
                return rungs_of(trial), seconds_of(trial)
        return [], []

    def keys_to_keep(self) -> set[str]:
        """Return the keys of the best trials' steps, and of the finalists' of earlier calls."""
        ranked = ranking(self.study.complete(), self.limits, self.goal)[:_KEPT]
        keys: set[str] = set()
        by_number = {trial.number: trial for trial in self.study.complete()}
        for kept in self.trained_in_full():
            steps = self.steps(self.candidate(by_number[kept.trial]), kept.effort)
            keys.update(self.objective.keys(steps))
        for trial in ranked:
            number = best_rung(trial)
            steps = self.steps(self.candidate(trial), self.rungs[number])
            keys.update(self.objective.keys(steps))
        return keys


@dataclass
class _Running:
    """A candidate that is measured.

    Args:
        trial: its trial.
        candidate: the candidate.
        words: its steps in words.
        rungs: what was measured at each rung.
        seconds: how long the steps of each rung took.
        steps: its steps at the last rung.
        failure: why it could not be made or measured.
        is_transient: whether another attempt may succeed.
    """

    trial: Trial
    candidate: Candidate
    words: str
    rungs: list[Measured] = field(default_factory=list)
    seconds: list[float | None] = field(default_factory=list)
    steps: tuple[Step, ...] = ()
    failure: str = ""
    is_transient: bool = False


def rungs_of(trial: FrozenTrial) -> list[Measured]:
    """Return what was measured of a trial at each rung."""
    return [Measured(**measured) for measured in trial.user_attrs.get(RUNGS, [])]


def seconds_of(trial: FrozenTrial) -> list[float | None]:
    """Return how long the steps of each rung took; None where that is not known."""
    seconds: list[float | None] = list(trial.user_attrs.get(SECONDS, []))
    return seconds + [None] * (len(rungs_of(trial)) - len(seconds))


def best_rung(trial: FrozenTrial) -> int:
    """Return the rung at which a trial was nearest to the model."""
    return _best_of_rungs(rungs_of(trial))


def best_of(trial: FrozenTrial) -> Measured:
    """Return what was measured of a trial at the rung at which it was nearest to the model."""
    return rungs_of(trial)[best_rung(trial)]


def _best_of_rungs(rungs: Sequence[Measured]) -> int:
    """Return the rung of least divergence; of least drop where divergences are not known.

    The least of several drops would be the luckiest.
    """
    distances = [rung.divergence for rung in rungs if rung.divergence is not None]
    if len(distances) < len(rungs):
        distances = [rung.drop for rung in rungs]
    return distances.index(min(distances))


def ranking(trials: Sequence[FrozenTrial], limits: Limits, goal: str) -> list[FrozenTrial]:
    """Return trials of different candidates: those nearest to the limits, then to the goal, first.

    What counts of a drop is what other rows would show of it; see `bmc.search.expected`.

    Args:
        trials: trials that were measured.
        limits: the budgets.
        goal: what is minimized within them: "drop", "size" or "latency".
    """
    distinct = {str(trial.user_attrs.get(SHOWN)): trial for trial in reversed(trials)}
    measured = {trial.number: best_of(trial) for trial in distinct.values()}
    expectation = fitted(list(measured.values()))
    for number, each in measured.items():
        measured[number] = replace(each, drop=expectation.drop(each))
    return sorted(
        distinct.values(),
        key=lambda trial: (
            limits.excess(measured[trial.number]),
            measured[trial.number].of(goal),
            trial.number,
        ),
    )


def _trained(rungs: Sequence[Measured]) -> str:
    return f"rung {len(rungs)}" if len(rungs) > 1 else "untrained"

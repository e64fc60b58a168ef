"""Run the trials of a search: short trainings first, longer ones for the best."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from optuna.trial import FrozenTrial, Trial

from bmc import console
from bmc.errors import StorageError, reason_of
from bmc.recipes.plan import Step
from bmc.search.budgets import Limits, Measured, shown
from bmc.search.chain import Effort, Origin, steps_of
from bmc.search.halving import is_promoted
from bmc.search.objective import FAILURES, Objective
from bmc.search.space import Candidate, Space
from bmc.search.study import RUNGS, SHOWN, Replay, Study

_REPEATED = 20  # candidates in a row that were measured before: there are hardly others
_KEPT = 8  # candidates whose models are kept


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

    def run(self, seconds: float, count: int | None) -> None:
        """Run trials until the time is over or there are enough.

        Args:
            seconds: time for trials, those of earlier calls included.
            count: number of trials, those of earlier calls included; None for no limit.
        """
        self.study.begin(self.space.starts())
        repeated = 0
        while self.study.seconds < seconds and repeated < _REPEATED:
            if count is not None and len(self.study.trials()) >= count:
                return
            started = time.monotonic()
            repeated = 0 if self._run_one(self.study.ask()) else repeated + 1
            self.study.spend(time.monotonic() - started)
            self.objective.forget(self._keys_to_keep())

    def candidate(self, trial: FrozenTrial) -> Candidate:
        """Return the candidate of a finished trial."""
        return self.space.draw(Replay(trial))

    def steps(self, candidate: Candidate, effort: Effort) -> tuple[Step, ...]:
        """Return the steps of a candidate."""
        return steps_of(candidate, self.origin, effort, self.seed)

    def _run_one(self, trial: Trial) -> bool:
        """Run a trial; return whether its candidate is new."""
        candidate = self.space.draw(trial)
        words = candidate.shown()
        self.study.note(trial, SHOWN, words)
        rungs = self._measured_before(words)
        is_new = not rungs
        if is_new:
            try:
                self._climb(candidate, words, rungs)
            except StorageError:
                raise  # a full disk says nothing about the candidate, which is run again
            except FAILURES as error:
                if not rungs:
                    console.note(f"trial {trial.number}: {words}: {reason_of(error)}")
                    self.study.fail(trial, reason_of(error))
                    return True
        best = min(rungs, key=lambda measured: measured.drop)
        console.note(f"trial {trial.number}: {words}: {shown(best)} ({_trained(rungs)})")
        self.study.note(trial, RUNGS, [asdict(measured) for measured in rungs])
        values = [best.of(name) for name in self.objectives]
        self.study.tell(trial, values, self.limits.constraints(best))
        return is_new

    def _climb(self, candidate: Candidate, words: str, rungs: list[Measured]) -> None:
        """Add what is measured of a candidate at each rung that it reaches."""
        if not candidate.parts:
            rungs.append(self.base)
            return
        before: tuple[Step, ...] = ()
        for number, effort in enumerate(self.rungs):
            steps = self.steps(candidate, effort)
            if steps == before:  # nothing of it is trained
                return
            before = steps
            mine = self.objective.measure(steps, words)
            rungs.append(mine)
            others = [rung[number] for rung in self._all_rungs() if len(rung) > number]
            if not is_promoted(mine, others, self.limits, self.objectives):
                return

    def _all_rungs(self) -> list[list[Measured]]:
        return [rungs_of(trial) for trial in self.study.complete()]

    def _measured_before(self, words: str) -> list[Measured]:
        """Return the rungs of an earlier trial of the same candidate; [] where there is none."""
        for trial in self.study.complete():
            if trial.user_attrs.get(SHOWN) == words:
                return rungs_of(trial)
        return []

    def _keys_to_keep(self) -> set[str]:
        ranked = ranking(self.study.complete(), self.limits, self.goal)[:_KEPT]
        keys: set[str] = set()
        for trial in ranked:
            number = best_rung(trial)
            steps = self.steps(self.candidate(trial), self.rungs[number])
            keys.update(self.objective.keys(steps))
        return keys


def rungs_of(trial: FrozenTrial) -> list[Measured]:
    """Return what was measured of a trial at each rung."""
    return [Measured(**measured) for measured in trial.user_attrs.get(RUNGS, [])]


def best_rung(trial: FrozenTrial) -> int:
    """Return the rung at which a trial lost least."""
    rungs = rungs_of(trial)
    return min(range(len(rungs)), key=lambda number: rungs[number].drop)


def best_of(trial: FrozenTrial) -> Measured:
    """Return what was measured of a trial at the rung at which it lost least."""
    return rungs_of(trial)[best_rung(trial)]


def ranking(trials: Sequence[FrozenTrial], limits: Limits, goal: str) -> list[FrozenTrial]:
    """Return trials of different candidates: those nearest to the limits, then to the goal, first.

    Args:
        trials: trials that were measured.
        limits: the budgets.
        goal: what is minimized within them: "drop", "size" or "latency".
    """
    distinct = {str(trial.user_attrs.get(SHOWN)): trial for trial in reversed(trials)}
    measured = {trial.number: best_of(trial) for trial in distinct.values()}
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

"""Run a plan: what is not done yet, independent steps side by side, and measure at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bmc import console
from bmc.errors import StorageError
from bmc.recipes.measuring import measure
from bmc.recipes.names import Names, slug
from bmc.recipes.plan import Plan, Step
from bmc.recipes.planning import keys_of, redone, timing_steps, users_of, width_of
from bmc.recipes.progress import (
    CACHED,
    DONE,
    FAILED,
    SKIPPED,
    WAITING,
    Progress,
    StepProgress,
)
from bmc.recipes.results import PlanResult as PlanResult
from bmc.recipes.results import StepResult as StepResult
from bmc.recipes.runners import Failure, Outcome, Runner
from bmc.recipes.running import check_step
from bmc.recipes.store import Seal, StepStore


@dataclass
class _Run:
    """A plan that runs; it may have thousands of steps, so few loops go over all of them."""

    plan: Plan
    store: StepStore
    runner: Runner
    names: Names
    keys: Mapping[str, str]
    progress: Progress
    results: dict[str, StepResult] = field(default_factory=dict)
    before: Mapping[str, Seal] = field(default_factory=dict)  # of results that are made again
    running: dict[str, list[Step]] = field(default_factory=dict)  # by key: two may share one

    def __post_init__(self) -> None:
        self._waiting = {step.name: step for step in self.plan.steps}
        for name in self.results:
            del self._waiting[name]
        self._users = users_of(self.plan)
        self._timing = timing_steps(self.plan)

    def start(self) -> None:
        """Submit every step whose inputs are there, and will stay what they are."""
        redone = [name for name in self.before if name not in self.results]
        unsettled = {user for name in redone for user in self._users[name]}
        started = []
        for step in list(self._waiting.values()):
            key = self.keys[step.name]
            if not all(name in self.results for name in step.inputs.values()):
                continue
            if any(name in unsettled for name in step.inputs.values()):
                continue
            if key in self.running:
                self.running[key].append(step)
            elif self._has_room(step):
                inputs = {argument: self.keys[name] for argument, name in step.inputs.items()}
                self.running[key] = [step]
                self.runner.submit(step, key, inputs)
            else:
                continue
            del self._waiting[step.name]
            started.append(step.name)
        self.progress.begin(started)

    def _has_room(self, step: Step) -> bool:
        """Tell whether a step may start now; a step that times a bundle runs alone."""
        if not self.runner.times_alone or not self.running:
            return True
        if step.name in self._timing:
            return False
        # A step that times a bundle was submitted alone, so it is the only one.
        first = next(iter(self.running.values()))
        return not any(each.name in self._timing for each in first)

    def end(self, outcome: Outcome) -> None:
        """Note what became of a step, and name its result.

        Raises:
            StorageError: the disk is full.
        """
        for step in self.running.pop(outcome.key):
            if outcome.failure is not None:
                self._fail(step, outcome.failure, outcome.seconds)
                continue
            path = self.names.give(step, outcome.key)
            self.results[step.name] = StepResult(step, outcome.key, DONE, path, outcome.seconds)
            self.progress.change(step.name, state=DONE, seconds=outcome.seconds, text="")
            if step.name in self.before:
                self._redo_users(step)

    def _redo_users(self, step: Step) -> None:
        """Make again what was made of a result, if the result came out otherwise this time."""
        seal = self.store.seal(self.keys[step.name])
        if seal is not None and seal.content() == self.before[step.name].content():
            return
        for other in self._users_of(step):
            if other.name in self.results:
                console.note(f"{other.name}: made again, since {step.name} came out otherwise")
                self.store.remove(self.keys[other.name])
                del self.results[other.name]
                self._waiting[other.name] = other
                self.progress.change(other.name, state=WAITING)

    def _users_of(self, step: Step) -> list[Step]:
        """Return the steps that depend on a step, in the order of the plan."""
        users = self._users[step.name]
        return [other for other in self.plan.steps if other.name in users] if users else []

    def _fail(self, step: Step, failure: Failure, seconds: float) -> None:
        kept = self.names.give_failed(step, Path(failure.kept)) if failure.kept else None
        why, key = failure.message, self.keys[step.name]
        if kept is not None:
            why = why.replace(failure.kept, str(kept))
        console.note(f"{step.name} failed: {why}")
        self.results[step.name] = StepResult(
            step, key, FAILED, kept, seconds, why, failure.exit_code
        )
        self.progress.change(step.name, state=FAILED, seconds=seconds, text=why)
        for other in self._users_of(step):
            if other.name not in self.results:
                because = f"it depends on {step.name!r}, which failed"
                skipped = StepResult(other, self.keys[other.name], SKIPPED, why=because)
                self.results[other.name] = skipped
                del self._waiting[other.name]
                self.progress.change(other.name, state=SKIPPED, text=because)
        if failure.is_storage:
            raise StorageError(f"step {step.name!r}: {why}; the same command goes on from there")


def run_plan(
    plan: Plan,
    store: StepStore,
    runner: Runner | Callable[[int], Runner],
    *,
    redo: Sequence[str] = (),
    keys: Mapping[str, str] | None = None,
) -> PlanResult:
    """Run the steps of a plan that are not done yet, then measure its bundles and judge them.

    Steps that depend on one that failed are skipped; the others are run. A command that was killed
    goes on when it is run again: results that are done are taken, trainings resume.

    Args:
        plan: the plan.
        store: the results.
        runner: what runs steps, or a function that makes one for a number of steps that may run
            side by side: it is not called when all is done, and what it made is closed at the end.
        redo: names of steps to run again, though their results are there; what depends on them is
            run again if they come out otherwise.
        keys: key of each step's result by the step's name, if they are known already.

    Returns:
        what became of each step; `PlanResult.raise_failures` raises the error of a command.

    Raises:
        ChangedResultError: a result in the store is not what the step wrote; nothing is run.
        StorageError: the disk is full.
        BmcError: a step is wrong; nothing is run.

    Example:
        >>> store = StepStore()
        >>> run_plan(plan, store, lambda width: LocalRunner(store, width)).raise_failures()
    """
    keys = keys_of(plan, store) if keys is None else keys
    names = Names(plan, store)
    names.refuse_taken()
    before: dict[str, Seal] = {}
    for step in redone(plan, redo):
        seal = store.seal(keys[step.name], anywhere=True)
        if seal is not None:
            before[step.name] = seal
            store.remove(keys[step.name])
    progress = Progress.of(slug(plan.name), plan.steps)
    missing = {step.name: step for step in plan.steps if not store.has(keys[step.name])}
    results = {
        step.name: StepResult(step, keys[step.name], CACHED, names.give(step, keys[step.name]))
        for step in plan.steps
        if step.name not in missing
    }
    progress.steps.update((name, _cached(progress, name, store, keys[name])) for name in results)
    try:
        if missing:
            for step in missing.values():
                check_step(step)
            taken = {name for step in missing.values() for name in step.inputs.values()}
            for name in sorted(taken & results.keys()):  # made before there was a shared location
                store.share(keys[name])
            made = runner(width_of(plan)) if callable(runner) else runner
            made.on_event = progress.tell
            try:
                _run_all(_Run(plan, store, made, names, keys, progress, results, before))
            finally:
                if callable(runner):
                    made.close()
        progress.doing = "measuring" if plan.bench else "report"
        progress.write()
        in_order = tuple(results[step.name] for step in plan.steps)
        bundles = {each.step.name: each.path for each in in_order if each.path is not None}
        measured = measure(plan, store, bundles)
    finally:
        progress.doing = ""
        progress.write(is_over=True)
        store.hashes.save()
    return PlanResult(plan.name, in_order, measured)


def _run_all(run: _Run) -> None:
    """Run steps until each has a result, has failed, or depends on one that failed."""
    run.progress.write()
    run.start()
    while run.running:
        run.end(run.runner.wait())
        run.start()


def _cached(progress: Progress, name: str, store: StepStore, key: str) -> StepProgress:
    seal = store.seal(key)
    seconds = seal.seconds if seal is not None else 0.0
    return replace(progress.steps[name], state=CACHED, seconds=seconds)

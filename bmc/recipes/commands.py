"""What `bmc run` does: read a recipe, say what it will do, do it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bmc import console
from bmc.errors import BmcError
from bmc.recipes.execute import PlanResult, run_plan
from bmc.recipes.expand import MOST_STEPS, place_of, plan_of, source_of
from bmc.recipes.local_runner import cores_of_process
from bmc.recipes.options import RunOptions
from bmc.recipes.plan import Plan
from bmc.recipes.planning import PlannedStep, planned
from bmc.recipes.reading import read_recipe
from bmc.recipes.recipe import Recipe
from bmc.recipes.runner_choice import runner_on
from bmc.recipes.runners import Runner
from bmc.recipes.running import check_step
from bmc.recipes.store import StepStore


@dataclass(frozen=True)
class Preview:
    """What a recipe will do.

    Args:
        plan: its plan.
        steps: its steps, and which of them are done.
    """

    plan: Plan
    steps: tuple[PlannedStep, ...]


def preview(path: str | Path, options: RunOptions = RunOptions()) -> Preview:
    """Check a recipe, and return what it will do; nothing is run.

    Args:
        path: the recipe.
        options: how it would be run.

    Raises:
        BmcError: the recipe is wrong, or a result in the store was changed.
    """
    return _prepared(path, options)[0]


def run_recipe(path: str | Path, options: RunOptions = RunOptions()) -> PlanResult:
    """Run the steps of a recipe that are not done yet; measure, report and judge its bundles.

    Args:
        path: the recipe.
        options: how it is run.

    Returns:
        what became of each step; `raise_failures` of it raises an error where one failed.

    Raises:
        BmcError: the recipe is wrong, or a result in the store was changed; nothing is run.
        StorageError: the disk is full.
    """
    prepared, store = _prepared(path, options)
    done = sum(step.is_done for step in prepared.steps)
    console.note(f"{path}: {len(prepared.steps)} steps, {done} of them done already")

    def runner(width: int) -> Runner:
        most = options.workers or max(1, cores_of_process() // (options.threads or 1))
        return runner_on(options.on, store, min(most, width), options.threads)

    keys = {each.step.name: each.key for each in prepared.steps}
    return run_plan(prepared.plan, store, runner, redo=options.redo, keys=keys)


def _prepared(path: str | Path, options: RunOptions) -> tuple[Preview, StepStore]:
    """Read and plan a recipe, and check every step that is not done; this imports torch then."""
    recipe = read_recipe(path)
    plan = plan_of(recipe, None if options.yes else MOST_STEPS)
    store = StepStore(options.store or "")
    steps = planned(plan, store, options.redo)
    for each in steps:
        if not each.is_done:
            _check(each, recipe)
    return Preview(plan, steps), store


def _check(planned_step: PlannedStep, recipe: Recipe) -> None:
    """Check what needs the technique or the network; the message has the place in the recipe."""
    try:
        check_step(planned_step.step)
    except BmcError as error:
        place = place_of(source_of(recipe, planned_step.step.name), str(error))
        raise type(error)(f"{place}: {error}") from error

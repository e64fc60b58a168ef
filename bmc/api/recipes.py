"""Run a recipe from Python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bmc.api._calls import Progress, call
from bmc.api.handles import BundleHandle, ModelHandle
from bmc.api.wording import worded
from bmc.recipes.commands import run_recipe
from bmc.recipes.options import RunOptions
from bmc.trust import names_of
from bmc.workspace import kind_of


@worded()
def run(
    recipe: str | Path,
    *,
    redo: Sequence[str] = (),
    workers: int | None = None,
    threads: int | None = None,
    store: str | Path | None = None,
    on: str | None = None,
    yes: bool = False,
    code: str = "",
    verbose: bool = False,
    progress: Progress | None = None,
) -> dict[str, ModelHandle | BundleHandle]:
    """Run a recipe: a file that lists data, steps, targets and measurements.

    Steps with cached results are not run again, and a killed run resumes when the same call is
    made again.

    Args:
        recipe: a .toml or .yaml file.
        redo: names of steps to run again although their results are cached.
        workers: steps that run in parallel, each in its own process; one per core when None.
        threads: threads of each of these processes; an equal share of the cores when None.
        store: where results are cached: a folder, or a URL such as s3://bucket/steps; the folder
            .steps of the workspace when None.
        on: "ray", or "ray://HOST:PORT", for the steps to run on a Ray cluster; None for this
            machine without Ray.
        yes: accept a plan of more than 200 steps.
        code: module:function of yours that a step names, which may run; several are separated by
            commas.
        verbose: write notes and progress to stderr.
        progress: function that is called with each note and step instead; see `bmc.Event`.

    Returns:
        a handle of each step's result by the step's name, such as "pruned[ratio=0.5]".

    Raises:
        UnknownError: there is no such recipe, or a key or name in it is unknown.
        SettingError: a value of the recipe is of another type, or out of range.
        UsageError: the recipe is not valid, or has more steps than are made without asking.
        GateError: a gate failed, or a training diverged; the other results are kept.
        BmcError: a step failed for another reason; the other results are kept.

    Example:
        >>> made = bmc.run("recipe.toml")
        >>> made["pruned[ratio=0.5]"].scores
    """
    options = RunOptions(
        redo=(redo,) if isinstance(redo, str) else tuple(redo),
        workers=workers,
        threads=threads,
        store=None if store is None else str(store),
        on=on,
        yes=yes,
    )
    with call(verbose, progress, _Code(",".join(names_of(code))), alone="bmc.run"):
        result = run_recipe(recipe, options)
        result.raise_failures()
    return {
        each.step.name: _handle(each.path, code) for each in result.steps if each.path is not None
    }


class _Code:
    """The code that a call trusts, in the form in which a handle has it."""

    def __init__(self, code: str) -> None:
        self.code = code


def _handle(path: Path, code: str) -> ModelHandle | BundleHandle:
    return BundleHandle(path) if kind_of(path) == "bundle" else ModelHandle(path, code)

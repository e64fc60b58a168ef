"""bmc run"""

from __future__ import annotations

from pathlib import Path

from bmc.recipes.options import RunOptions
from bmc.rendering.rendered import Rendered
from bmc.workflows.options import OwnCode

PANEL = "Run"


def run(recipe: Path, *, options: RunOptions = RunOptions(), code: OwnCode = OwnCode()) -> Rendered:
    """Run a recipe: a file that lists data, steps, targets and measurements.

    Cached steps are not run again, a killed run resumes, and independent steps run in parallel. At
    the end the bundles are timed in alternation, and a report is written.

    Args:
        recipe: a .toml or .yaml file; bmc recipe init writes one.

    Example:
        bmc run recipe.toml --dry-run
        bmc run recipe.toml
    """
    from bmc.recipes import commands
    from bmc.rendering import recipes as render

    if options.dry_run:
        return render.planned(commands.preview(recipe, options))
    return render.finished(commands.run_recipe(recipe, options))

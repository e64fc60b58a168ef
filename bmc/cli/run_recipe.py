"""bmc run"""

from __future__ import annotations

from pathlib import Path

from bmc.recipes.options import RunOptions
from bmc.rendering.rendered import Rendered
from bmc.workflows.options import OwnCode

PANEL = "Run"


def run(recipe: Path, *, options: RunOptions = RunOptions(), code: OwnCode = OwnCode()) -> Rendered:
    """Run a recipe: a file that says data, steps, targets and what is measured.

    Steps that are done are not run again, a run that was killed resumes, and independent steps run
    side by side. When all are done, the bundles are timed alone, in turn, and a report is written.
    `bmc recipe init` writes a recipe.

    Args:
        recipe: the recipe, a .toml or .yaml file.

    Example:
        bmc run recipe.toml --dry-run
        bmc run recipe.toml
    """
    from bmc.recipes import commands
    from bmc.rendering import recipes as render

    if options.dry_run:
        return render.planned(commands.preview(recipe, options))
    return render.finished(commands.run_recipe(recipe, options))

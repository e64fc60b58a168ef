"""bmc show"""

from __future__ import annotations

from bmc.rendering.rendered import Rendered

PANEL = "Output"


def show(name: str | None = None, *, recipe: bool = False) -> Rendered:
    """Show how a model or bundle was made: the command of every step, settings, curves, scores.

    Commands are recorded as they were typed. For a model that was made from Python, equivalent
    commands are shown.

    Args:
        name: a model or bundle of the workspace, or its folder; the newest model when left out.
        recipe: print the recipe that makes the model again, which bmc run takes.

    Example:
        bmc show tiny-movie-reviews
        bmc show tiny-movie-reviews --recipe
    """
    from bmc.rendering import lineage as render
    from bmc.workflows import show as workflow

    if recipe:
        from bmc.recipes.lineage import recipe_of
        from bmc.rendering.recipes import made_by

        return made_by(recipe_of(name))
    return render.lineage(workflow.show(name))

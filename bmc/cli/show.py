"""bmc show"""

from __future__ import annotations

from bmc.rendering.rendered import Rendered


def show(name: str | None = None) -> Rendered:
    """Show how a model or bundle was made: the command of every step, settings, curves, scores.

    Commands are recorded as they were typed. For a model that was made from Python, equivalent
    commands are shown.

    Args:
        name: a model or bundle of the workspace, or its folder; the newest model when left out.

    Example:
        bmc show tiny-movie-reviews
        bmc show tiny-movie-reviews-onnx --json
    """
    from bmc.rendering import lineage as render
    from bmc.workflows import show as workflow

    return render.lineage(workflow.show(name))

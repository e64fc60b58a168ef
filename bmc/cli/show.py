"""bmc show"""

from __future__ import annotations

from typing import Annotated

import typer

from bmc.cli import _complete
from bmc.cli.options import Answer, Common


def show(
    name: Annotated[str | None, typer.Argument(autocompletion=_complete.entries)] = None,
    /,
    *,
    common: Common = Common(),
) -> Answer:
    """Show how a model or bundle was made: the command of every step, settings, curves, scores.

    Commands are recorded as they were typed. Of a model that was made from Python, commands that do
    the same are shown.

    Args:
        name: a model or bundle of the workspace, or its folder; the newest model when left out.

    Example:
        bmc show tiny-movie-reviews
        bmc show tiny-movie-reviews-onnx --json
    """
    from bmc.cli.shown.made import made
    from bmc.workflows import show as workflow

    common.begin()
    return made(workflow.show(name))

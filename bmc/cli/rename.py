"""bmc rename"""

from __future__ import annotations

from typing import Annotated

import typer

from bmc.cli import _complete
from bmc.cli.options import Answer, Common


def rename(
    name: Annotated[str, typer.Argument(autocompletion=_complete.entries)],
    new: str,
    /,
    *,
    common: Common = Common(),
) -> Answer:
    """Rename a model or bundle of the workspace.

    What was made from it still finds it: lineages go by its weights.

    Args:
        name: as it is called now.
        new: as it will be called.

    Example:
        bmc rename tiny-movie-reviews reviewer
        bmc rename tiny-movie-reviews-onnx reviewer-onnx
    """
    from bmc.workflows import shelf

    common.begin()
    entry = shelf.rename(name, new)
    return Answer(
        {"name": entry.path.name, "kind": entry.kind, "before": name},
        (f"{name} is {entry.path} now",),
    )

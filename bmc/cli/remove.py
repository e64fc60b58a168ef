"""bmc remove"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from bmc.cli import _complete
from bmc.cli.options import Answer, Common
from bmc.errors import UsageError


def remove(
    *name: Annotated[str, typer.Argument(autocompletion=_complete.entries)],
    yes: Annotated[bool, typer.Option("--yes", "-y")] = False,
    common: Common = Common(),
) -> Answer:
    """Remove models or bundles of the workspace; it asks before.

    Args:
        name: of each; one that failed a gate has .failed behind it.
        yes: do not ask.

    Example:
        bmc remove tiny-movie-reviews-onnx
        bmc remove bert-movie-reviews-static.failed --yes
    """
    from bmc.measure.shown import megabytes
    from bmc.workflows import shelf

    common.begin()
    if not name:
        raise UsageError("bmc remove needs a NAME (bmc models lists all)")
    entries = [shelf.find(one) for one in dict.fromkeys(name)]
    listed = ", ".join(f"{one.kind} {one.path} ({megabytes(one.bytes)})" for one in entries)
    if not yes and not _agreed(f"remove {listed}?"):
        return Answer({"removed": []}, ("nothing was removed",))
    shelf.remove(entries)
    return Answer({"removed": [str(one.path) for one in entries]}, (f"removed {listed}",))


def _agreed(question: str) -> bool:
    """Ask on stderr, so that stdout has the result alone.

    Raises:
        UsageError: nobody can answer.
    """
    if sys.stdin is None or sys.stdin.closed or not sys.stdin.isatty():
        raise UsageError(f"{question} Nobody can answer here: --yes does")
    return typer.confirm(question, err=True)

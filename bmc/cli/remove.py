"""bmc remove"""

from __future__ import annotations

import sys

import typer

from bmc.cli.options import Answer
from bmc.errors import UsageError


def remove(name: tuple[str, ...], *, yes: bool = False) -> Answer:
    """Remove models or bundles of the workspace; asks for confirmation.

    Args:
        name: names of the models or bundles; those that failed a check end in .failed.
        yes: do not ask.

    Example:
        bmc remove tiny-movie-reviews-onnx
        bmc remove bert-movie-reviews-static.failed --yes
    """
    from bmc.rendering import listing as render
    from bmc.workflows import shelf

    entries = tuple(shelf.find(one) for one in dict.fromkeys(name))
    if not yes and not _agreed(f"remove {render.named(entries)}?"):
        return render.removed(())
    shelf.remove(entries)
    return render.removed(entries)


def _agreed(question: str) -> bool:
    """Ask on stderr, so that stdout has the result alone.

    Raises:
        UsageError: nobody can answer.
    """
    if sys.stdin is None or sys.stdin.closed or not sys.stdin.isatty():
        raise UsageError(f"{question} Nobody can answer here: --yes does")
    return typer.confirm(question, err=True)

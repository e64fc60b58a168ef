"""bmc remove"""

from __future__ import annotations

import sys

import typer

from bmc.cli.options import Rendered
from bmc.errors import UsageError


def remove(name: tuple[str, ...], *, yes: bool = False) -> Rendered:
    """Remove models or bundles of the workspace; asks for confirmation.

    Args:
        name: names of the models or bundles; those that failed a check end in .failed.
        yes: do not ask.

    Example:
        bmc remove tiny-movie-reviews-onnx
        bmc remove bert-movie-reviews-static.failed --yes
    """
    from bmc.rendering import listing as render
    from bmc.workflows import entries

    selected = tuple(entries.find(entry) for entry in dict.fromkeys(name))
    if not yes and not _agreed(f"remove {render.names_and_sizes(selected)}?"):
        return render.removed(())
    entries.remove(selected)
    return render.removed(selected)


def _agreed(question: str) -> bool:
    """Ask on stderr, so that stdout has the result alone.

    Raises:
        UsageError: nobody can answer.
    """
    if sys.stdin is None or sys.stdin.closed or not sys.stdin.isatty():
        raise UsageError(f"{question} Nobody can answer here: --yes does")
    return typer.confirm(question, err=True)

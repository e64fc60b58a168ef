"""The command line: one file a verb; a verb is a typed function whose docstring is its help."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec

COMPLETING = "_BMC_COMPLETE"  # set by a shell that completes a command line
_PACKAGES = ("typer", "rich")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and leave with its exit code: 0 done, 1 check failed, 2 wrong, 3 missing."""
    if COMPLETING in os.environ:
        if not _installed():
            sys.exit(0)
        from bmc.cli import app

        app.complete()
    from bmc import streams, termination

    streams.open_missing()
    termination.raise_on_signals()
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; errors become one line on stderr."""
    if not _installed():  # after `python -m bmc.slim`
        from bmc.cli import device

        return device.run(arguments)
    from bmc.cli import running

    return running.run(arguments)


def _installed() -> bool:
    """Tell whether the packages of the command line are installed."""
    return all(find_spec(name) is not None for name in _PACKAGES)

"""The command line: one file a verb; a verb is a typed function whose docstring is its help."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from bmc.cli import app


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and leave with its exit code: 0 done, 1 check failed, 2 wrong, 3 missing."""
    if app.COMPLETING in os.environ:
        app.complete()
    from bmc import streams, termination

    streams.open_missing()
    termination.raise_on_signals()
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; errors become one line on stderr."""
    from bmc.cli import running

    return running.run(arguments)

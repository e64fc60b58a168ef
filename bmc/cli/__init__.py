"""The command line: one file a verb; a verb is a typed function whose docstring is its help."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from bmc.cli import app

_SIGNALLED = 128  # and the signal's number: what a shell says of a program that one ended


class _StoppedError(KeyboardInterrupt):
    """A signal asks the command to end, as Ctrl-C does."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = _SIGNALLED + number


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and leave with its exit code: 0 done, 1 gate failed, 2 wrong, 3 missing.

    SIGTERM and SIGHUP end it as Ctrl-C does: what it was writing is removed, checkpoints stay.
    """
    if app.COMPLETING in os.environ:
        app.complete()
    from bmc import streams

    streams.open_missing()
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _stop)
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def _stop(number: int, frame: FrameType | None) -> None:
    raise _StoppedError(number)


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; errors become one line on stderr."""
    from bmc.cli import running

    return running.run(arguments)

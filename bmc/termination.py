"""End a command on SIGTERM and SIGHUP as on Ctrl-C: what is half-written is removed."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from types import FrameType

_SIGNALLED = 128  # plus the signal's number: the exit status of a program killed by a signal
_RESUMABLE = ("train", "distill", "prune", "share", "run", "compress")
BROKEN_PIPE = _SIGNALLED + signal.SIGPIPE if hasattr(signal, "SIGPIPE") else 1
"""The exit code of a program whose results are no longer read, as with `| head`."""


class TerminatedError(KeyboardInterrupt):
    """A signal ends the command.

    Args:
        number: number of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = _SIGNALLED + number


def exit_code_of(interruption: KeyboardInterrupt) -> int:
    """Return the exit code of a program that Ctrl-C or a signal ended."""
    return getattr(interruption, "exit_code", _SIGNALLED + signal.SIGINT)


def message_for(arguments: Sequence[str], processes: int = 1) -> str:
    """Return the message for a command that was interrupted: whether it can be resumed.

    Args:
        arguments: the verb and what follows it.
        processes: number of processes of one training; a launcher ends all when one has ended.
    """
    trains = arguments and (arguments[0] in _RESUMABLE or "qat" in arguments)
    kept = "The same command goes on from the last checkpoint"
    several = f", or another of the {processes} processes has ended" if processes > 1 else ""
    return f"stopped{several}. {kept if trains else 'Nothing was kept'}"


def raise_on_signals() -> None:
    """Raise TerminatedError on SIGTERM and SIGHUP, unless they are ignored or handled already."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _terminate)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise TerminatedError(number)

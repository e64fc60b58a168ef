"""Print notes and progress on stderr, and results on stdout.

Called from Python, bmc prints nothing unless a reporter is set; the command line sets
`bmc.terminal.Terminal`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

from bmc import processes, streams
from bmc.errors import UsageError
from bmc.printable import printable as printable

_FILE_WIDTH = 120
_mode = {"json": False}  # for the whole process: one command runs at a time


class Reporter(Protocol):
    """The receiver of notes and progress: a terminal, a caller's function, or `Silent`."""

    def note(self, text: str) -> None:
        """Report one line on the present work."""

    def progress(
        self, text: str, total: int, unit: str, done: int
    ) -> AbstractContextManager[Callable[[int], None]]:
        """Return a context manager; its value is a function that adds a number of units.

        Args:
            text: present work in a few words.
            total: number of units in all.
            unit: name of the units, such as "steps", "rows" or "bytes".
            done: number of units that are done already.
        """


class Silent:
    """Discard notes and progress: the default when bmc is called from Python."""

    def note(self, text: str) -> None:
        pass

    @contextmanager
    def progress(
        self, text: str, total: int, unit: str, done: int
    ) -> Iterator[Callable[[int], None]]:
        yield lambda count: None


@dataclass(frozen=True)
class Event:
    """A note, or the progress of some work, as a caller's function receives it.

    Args:
        text: the note, or what is being done.
        done: number of units that are done; None for a note.
        total: number of units in all; None for a note.
        unit: name of the units, such as "steps", "rows" or "bytes".
    """

    text: str
    done: int | None = None
    total: int | None = None
    unit: str = "steps"


@dataclass(frozen=True)
class Callback:
    """Pass every note and every step of progress to a caller's function.

    An exception that the function raises ends the work, as Ctrl-C does.

    Args:
        function: the function to call with each `Event`.
    """

    function: Callable[[Event], None]

    def note(self, text: str) -> None:
        self.function(Event(text))

    @contextmanager
    def progress(
        self, text: str, total: int, unit: str, done: int
    ) -> Iterator[Callable[[int], None]]:
        self.function(Event(text, done, total, unit))

        def advance(count: int) -> None:
            nonlocal done
            done += count
            self.function(Event(text, done, total, unit))

        yield advance


_SILENT_REPORTER = Silent()
_reporter: ContextVar[Reporter] = ContextVar("reporter", default=_SILENT_REPORTER)


def set_mode(quiet: bool, json: bool) -> None:
    """Set how a command prints; of several processes of one training the first does.

    Args:
        quiet: drop notes and progress.
        json: print results as one JSON document.
    """
    is_silent = quiet or not processes.is_first()
    _reporter.set(_SILENT_REPORTER if is_silent else _terminal())
    _mode["json"] = json


def _terminal() -> Reporter:
    # Imported when something is shown: devices do not have the package rich.
    from bmc.terminal import Terminal  # noqa: PLC0415

    return Terminal()


@contextmanager
def reporting(reporter: Reporter) -> Iterator[None]:
    """Send notes and progress to a reporter while the block runs."""
    token = _reporter.set(reporter)
    try:
        yield
    finally:
        _reporter.reset(token)


def wants_json() -> bool:
    """Tell whether results are to be printed as JSON."""
    return _mode["json"]


def note(text: str) -> None:
    """Report one line on the present work."""
    _reporter.get().note(text)


def complain(text: str) -> None:
    """Print on stderr, in one line, why a command ended; --quiet does not hide the line."""
    print(f"bmc: {printable(' '.join(text.split()))}", file=streams.stderr(), flush=True)


def muted() -> AbstractContextManager[None]:
    """Discard notes and progress while the block runs, for work that is only a trial."""
    return reporting(_SILENT_REPORTER)


def progress(
    text: str, total: int, unit: str = "steps", done: int = 0
) -> AbstractContextManager[Callable[[int], None]]:
    """Show the progress of some work and the time left; the block gets a function that advances it.

    Args:
        text: present work in a few words.
        total: number of units in all.
        unit: name of the units; "bytes" are shown in MB, all other units as numbers.
        done: number of units that are done already, when a command is resumed.
    """
    return _reporter.get().progress(text, total, unit, done)


def say(*results: object) -> None:
    """Print texts or rich tables on stdout.

    Args:
        results: the result of a command, for a person to read.
    """
    stdout = streams.results()
    if all(isinstance(item, str) for item in results):
        for item in results:
            print(printable(str(item)), file=stdout)
        return
    from bmc.terminal import PlainConsole  # noqa: PLC0415  see `_terminal`

    width = None if stdout.isatty() else _FILE_WIDTH
    console = PlainConsole(file=stdout, highlight=False, width=width)
    for item in results:
        console.print(item, soft_wrap=isinstance(item, str))


def confirm(question: str) -> bool:
    """Ask on stderr, so that stdout has the result alone; any answer but y or yes is no.

    Raises:
        UsageError: nobody can answer, because stdin is not a terminal.
    """
    from bmc.terminal import stderr  # noqa: PLC0415  see `_terminal`

    if sys.stdin is None or sys.stdin.closed or not sys.stdin.isatty():
        raise UsageError(f"{question} Nobody can answer here: --yes does")
    stderr().print(f"{question} [y/N]:", end=" ")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def ask(question: str, default: str, option: str) -> str:
    """Ask on stderr, and return the answer; the default for an empty line.

    Args:
        question: the question.
        default: the answer that an empty line stands for.
        option: option that answers it where nobody can be asked.

    Raises:
        UsageError: nobody can answer, because stdin is not a terminal.
    """
    from bmc.terminal import stderr  # noqa: PLC0415  see `_terminal`

    if sys.stdin is None or sys.stdin.closed or not sys.stdin.isatty():
        raise UsageError(f"{question} Nobody can answer here: {option} does")
    stderr().print(f"{question} [{default}]:", end=" ")
    return sys.stdin.readline().strip() or default

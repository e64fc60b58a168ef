"""Print notes and progress on stderr, and results on stdout.

Called from Python, bmc prints nothing unless a reporter is set; the command line sets `Terminal`.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from bmc import streams
from bmc.errors import UsageError

_FILE_WIDTH = 120
# Characters that a terminal acts on instead of showing them: control characters, marks of the text
# direction, invisible characters (but for the joiners, which some scripts need) and surrogates.
_CONTROLS = re.compile(
    "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\xad\\u061c\\u180e\\u200b\\u200e\\u200f\\u2028-\\u202e"
    "\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb\\ud800-\\udfff\\U000e0000-\\U000e007f]"
)
_mode = {"json": False}  # for the whole process: one command runs at a time


def printable(text: str) -> str:
    """Escape the control characters in a text, such as \\x1b; line breaks and tabs stay.

    Labels, file names and messages of libraries are data: they must not move the cursor, set the
    terminal's title, or change the order in which characters are shown.

    Example:
        >>> printable("good\\x1b[2J")
        'good\\\\x1b[2J'
    """
    return _CONTROLS.sub(lambda match: ascii(match[0])[1:-1], text)


class _PlainConsole(Console):
    """A console that prints text literally, also in tables: no markup, control codes escaped."""

    def on_broken_pipe(self) -> None:
        """Raise ReaderLeftError when the reader of a pipe has ended, where rich would exit."""
        raise streams.ReaderLeftError

    def render_str(self, text: str, **settings: Any) -> Text:
        return super().render_str(printable(text), **{**settings, "markup": False, "emoji": False})


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


class Terminal:
    """Write notes and progress to stderr: a progress bar on a terminal, lines in a log file."""

    def note(self, text: str) -> None:
        stderr().print(text)

    @contextmanager
    def progress(
        self, text: str, total: int, unit: str, done: int
    ) -> Iterator[Callable[[int], None]]:
        terminal = stderr()
        if not terminal.is_terminal:
            yield _Lines(text, total, unit, done).advance
            return
        counts = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
        columns = [
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            counts,
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        ]
        bar = Progress(*columns, console=terminal, refresh_per_second=4)
        with bar:
            task = bar.add_task(text, total=total, completed=done)
            yield lambda count: bar.update(task, advance=count)


_SILENT_REPORTER = Silent()
_reporter: ContextVar[Reporter] = ContextVar("reporter", default=_SILENT_REPORTER)


def set_mode(quiet: bool, json: bool) -> None:
    """Set how a command prints.

    Args:
        quiet: drop notes and progress.
        json: print results as one JSON document.
    """
    _reporter.set(_SILENT_REPORTER if quiet else Terminal())
    _mode["json"] = json


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


def stderr() -> Console:
    """Return a console on the current `sys.stderr`, which tests and callers may have replaced."""
    return _PlainConsole(file=streams.stderr(), highlight=False, soft_wrap=True)


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


class _Lines:
    """Print progress as lines: the first after two seconds, then one every ten seconds."""

    def __init__(self, text: str, total: int, unit: str, done: int) -> None:
        self._text, self._total, self._unit = text, total, unit
        self._resumed_at = self._done = done
        self._started = time.monotonic()
        self._next = self._started + 2

    def advance(self, count: int) -> None:
        self._done += count
        now = time.monotonic()
        if now < self._next and self._done < self._total:
            return
        elapsed = now - self._started
        if self._done >= self._total and elapsed < 2:
            return
        self._next = now + 10
        rate = (self._done - self._resumed_at) / max(elapsed, 1e-9)
        left = (self._total - self._done) / rate if rate else 0
        stderr().print(
            f"{self._text}: {self._amount(self._done)} of {self._amount(self._total)}, "
            f"{elapsed:.0f} s, {left:.0f} s left"
        )

    def _amount(self, count: int) -> str:
        return f"{count / 1e6:.1f} MB" if self._unit == "bytes" else str(count)


def say(*results: object) -> None:
    """Print texts or rich tables on stdout.

    Args:
        results: the result of a command, for a person to read.
    """
    stdout = streams.results()
    width = None if stdout.isatty() else _FILE_WIDTH
    console = _PlainConsole(file=stdout, highlight=False, width=width)
    for item in results:
        console.print(item, soft_wrap=isinstance(item, str))


def confirm(question: str) -> bool:
    """Ask on stderr, so that stdout has the result alone; any answer but y or yes is no.

    Raises:
        UsageError: nobody can answer, because stdin is not a terminal.
    """
    if sys.stdin is None or sys.stdin.closed or not sys.stdin.isatty():
        raise UsageError(f"{question} Nobody can answer here: --yes does")
    stderr().print(f"{question} [y/N]:", end=" ")
    return sys.stdin.readline().strip().lower() in ("y", "yes")

"""What a person sees while bmc works: notes and progress on stderr, results on stdout.

Called from Python, bmc says nothing unless a reporter is set; the command line sets `Terminal`.
"""

from __future__ import annotations

import re
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

_WIDTH_OF_A_FILE = 120
# Controls, what changes the direction or hides (but joiners, which scripts need), half characters.
_OBEYED = re.compile(
    "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\xad\\u061c\\u180e\\u200b\\u200e\\u200f\\u2028-\\u202e"
    "\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb\\ud800-\\udfff\\U000e0000-\\U000e007f]"
)
_mode = {"json": False}  # one process, one terminal


def printable(text: str) -> str:
    """Return a text with what a terminal would obey instead of show written out, such as \\x1b.

    Labels, names of files and messages of libraries are data: they must not move the cursor, set
    the title, or be read in another order than they are written. Line breaks and tabs stay.

    Example:
        >>> printable("good\\x1b[2J")
        'good\\\\x1b[2J'
    """
    return _OBEYED.sub(lambda found: ascii(found[0])[1:-1], text)


class _Terminal(Console):
    """A console that shows text as it is: no markup, no control codes in it, wherever it stands."""

    def on_broken_pipe(self) -> None:
        """Let the command decide what a reader that left means, not rich."""
        raise streams.ReaderLeftError

    def render_str(self, text: str, **settings: Any) -> Text:
        return super().render_str(printable(text), **{**settings, "markup": False, "emoji": False})


class Reporter(Protocol):
    """Where notes and progress go: a terminal, a caller's function, or nowhere."""

    def note(self, text: str) -> None:
        """Take one line that says what is being done."""

    def progress(
        self, text: str, total: int, unit: str, done: int
    ) -> AbstractContextManager[Callable[[int], None]]:
        """Return a context whose value is called with the number of units that were just done."""


class Silent:
    """Say nothing: the reporter of bmc called from Python, unless the caller asks."""

    def note(self, text: str) -> None:
        pass

    @contextmanager
    def progress(
        self, text: str, total: int, unit: str, done: int
    ) -> Iterator[Callable[[int], None]]:
        yield lambda count: None


@dataclass(frozen=True)
class Event:
    """A note, or how far some work is: what a caller's function is called with.

    Args:
        text: the note, or what is being done.
        done: units that are done; None for a note.
        total: units in all; None for a note.
        unit: what is counted, such as "steps", "rows" or "bytes".
    """

    text: str
    done: int | None = None
    total: int | None = None
    unit: str = "steps"


@dataclass(frozen=True)
class Callback:
    """Pass every note and every step of progress to a caller's function.

    An exception that the function raises ends the work, as Ctrl-C does.
    """

    function: Callable[[Event], None]

    def note(self, text: str) -> None:
        self.function(Event(text))

    @contextmanager
    def progress(
        self, text: str, total: int, unit: str, done: int
    ) -> Iterator[Callable[[int], None]]:
        reached = done
        self.function(Event(text, reached, total, unit))

        def advance(count: int) -> None:
            nonlocal reached
            reached += count
            self.function(Event(text, reached, total, unit))

        yield advance


class Terminal:
    """Write notes to stderr; progress is a moving bar there, or lines where stderr is a file."""

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
        shown = Progress(*columns, console=terminal, refresh_per_second=4)
        with shown:
            task = shown.add_task(text, total=total, completed=done)
            yield lambda count: shown.update(task, advance=count)


_SILENT = Silent()
_reporter: ContextVar[Reporter] = ContextVar("reporter", default=_SILENT)


def set_mode(quiet: bool, json: bool) -> None:
    """Say how a command talks: `quiet` drops notes and progress, `json` prints one document."""
    _reporter.set(_SILENT if quiet else Terminal())
    _mode["json"] = json


@contextmanager
def reporting(reporter: Reporter) -> Iterator[None]:
    """Send notes and progress to a reporter for as long as the block runs."""
    token = _reporter.set(reporter)
    try:
        yield
    finally:
        _reporter.reset(token)


def wants_json() -> bool:
    """Tell whether results are to be printed as JSON."""
    return _mode["json"]


def stderr() -> Console:
    """Return a console on today's stderr (tests and callers may have replaced it)."""
    return _Terminal(file=streams.stderr(), highlight=False, soft_wrap=True)


def note(text: str) -> None:
    """Say what is being done."""
    _reporter.get().note(text)


def complain(text: str) -> None:
    """Say on stderr, in one line, why a command ended; --quiet does not hide it."""
    print(f"bmc: {printable(' '.join(text.split()))}", file=streams.stderr(), flush=True)


def muted() -> AbstractContextManager[None]:
    """Say nothing for as long as the block runs: what is tried out needs no notes."""
    return reporting(_SILENT)


def progress(
    text: str, total: int, unit: str = "steps", done: int = 0
) -> AbstractContextManager[Callable[[int], None]]:
    """Show how far some work is and the time left; the block gets a function that advances it.

    Args:
        text: what is being done.
        total: how many units there are.
        unit: "bytes" are shown as MB, anything else as numbers.
        done: how many are done already, when a command is resumed.
    """
    return _reporter.get().progress(text, total, unit, done)


class _Lines:
    """Progress as lines in a log: the first after two seconds, then one every ten."""

    def __init__(self, text: str, total: int, unit: str, done: int) -> None:
        self._text, self._total, self._unit = text, total, unit
        self._first = self._done = done
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
        rate = (self._done - self._first) / max(elapsed, 1e-9)
        left = (self._total - self._done) / rate if rate else 0
        stderr().print(
            f"{self._text}: {self._amount(self._done)} of {self._amount(self._total)}, "
            f"{elapsed:.0f} s, {left:.0f} s left"
        )

    def _amount(self, count: int) -> str:
        return f"{count / 1e6:.1f} MB" if self._unit == "bytes" else str(count)


def say(*shown: object) -> None:
    """Print a command's result for a person: text or rich tables, on stdout."""
    stdout = streams.results()
    width = None if stdout.isatty() else _WIDTH_OF_A_FILE
    terminal = _Terminal(file=stdout, highlight=False, width=width)
    for item in shown:
        terminal.print(item, soft_wrap=isinstance(item, str))

"""Write to a terminal or a log file: tables, notes and progress bars, with the package rich.

`bmc.console` imports this file when something is shown: `import bmc` and the runner that measures
on a device need no rich.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

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
from bmc.printable import printable


class PlainConsole(Console):
    """A console that prints text literally, also in tables: no markup, control codes escaped."""

    def on_broken_pipe(self) -> None:
        """Raise ReaderLeftError when the reader of a pipe has ended, where rich would exit."""
        raise streams.ReaderLeftError

    def render_str(self, text: str, **settings: Any) -> Text:
        return super().render_str(printable(text), **{**settings, "markup": False, "emoji": False})


def stderr() -> Console:
    """Return a console on the current `sys.stderr`, which tests and callers may have replaced."""
    return PlainConsole(file=streams.stderr(), highlight=False, soft_wrap=True)


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

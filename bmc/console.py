"""What a person sees while bmc works: notes and progress on stderr, results on stdout."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

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

_mode = {"quiet": False, "json": False}  # one process, one terminal


def set_mode(quiet: bool, json: bool) -> None:
    """Say how to talk: `quiet` drops notes and progress, `json` wants results as one document."""
    _mode.update(quiet=quiet, json=json)


def wants_json() -> bool:
    """Tell whether results are to be printed as JSON."""
    return _mode["json"]


def stderr() -> Console:
    """Return a console on today's stderr (tests and callers may have replaced it)."""
    return Console(file=sys.stderr, quiet=_mode["quiet"], highlight=False, soft_wrap=True)


def note(text: str) -> None:
    """Say on stderr what is being done."""
    stderr().print(text, markup=False)


@contextmanager
def progress(
    text: str, total: int, unit: str = "steps", done: int = 0
) -> Iterator[Callable[[int], None]]:
    """Show a bar with the time left; the block is given a function that advances it.

    Args:
        text: what is being done.
        total: how many units there are.
        unit: "bytes" are shown as MB, anything else as numbers.
        done: how many are done already, when a command is resumed.
    """
    counts = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
    terminal = stderr()
    columns = [
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        counts,
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    ]
    shown = Progress(*columns, console=terminal, transient=False, refresh_per_second=4)
    with shown:
        task = shown.add_task(text, total=total, completed=done)
        yield lambda count: shown.update(task, advance=count)


def say(*shown: object) -> None:
    """Print a command's result for a person: text or rich tables, on stdout."""
    terminal = Console(file=sys.stdout, highlight=False, soft_wrap=True)
    for item in shown:
        terminal.print(item, markup=False)

"""Show how far a recipe is, live on a terminal."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict

from rich.live import Live
from rich.table import Table

from bmc import console
from bmc.errors import UsageError
from bmc.recipes.progress import CACHED, DONE, FAILED, RUNNING, SKIPPED, StepProgress
from bmc.recipes.watching import Watched, read_progress
from bmc.rendering.rendered import Rendered
from bmc.terminal import stderr

_EVERY = 0.5  # seconds
_MOST_TEXT = 60  # characters of what a step is doing


def watch(names: Sequence[str]) -> Rendered:
    """Show how far a recipe is until it ends; off a terminal, how far it is now.

    Args:
        names: name of the recipe; none for the one that changed last.

    Raises:
        UsageError: several are named.
        UnknownError: no such recipe was run in the workspace.
    """
    if len(names) > 1:
        raise UsageError(f"--watch shows one recipe, and {len(names)} are named: name one")
    name = names[0] if names else None
    watched = read_progress(name)
    terminal = stderr()
    if terminal.is_terminal and watched.is_running and not console.wants_json():
        with Live(console=terminal, refresh_per_second=4, transient=True) as live:
            while watched.is_running:
                live.update(table_of(watched))
                time.sleep(_EVERY)
                watched = read_progress(watched.name)
    return shown(watched)


def shown(watched: Watched) -> Rendered:
    """Render how far a recipe is."""
    lines: list[object] = [table_of(watched)]
    if watched.was_killed:
        lines.append(f"the command that ran {watched.name} was killed: bmc run goes on from there")
    return Rendered(asdict(watched), tuple(lines))


def table_of(watched: Watched) -> Table:
    """Return a table with a row for each step."""
    over = watched.count(CACHED, DONE, FAILED, SKIPPED)
    doing = f", {watched.doing}" if watched.doing and watched.is_running else ""
    now = time.time() if watched.is_running else watched.updated
    title = f"{watched.name}: {over} of {len(watched.steps)} steps, {_time(now - watched.started)}"
    table = Table("step", "verb", "state", "time", "", title=f"{title}{doing}")
    for step in watched.steps:
        table.add_row(step.name, step.verb, step.state, _time_of(step, now), _text_of(step))
    return table


def _time_of(step: StepProgress, now: float) -> str:
    if step.state == RUNNING:
        return _time(now - step.since)
    return _time(step.seconds) if step.seconds else ""


def _text_of(step: StepProgress) -> str:
    if step.state == RUNNING and step.total:
        return f"{step.text[:_MOST_TEXT]}: {step.done} of {step.total}"
    return step.text[:_MOST_TEXT]


def _time(seconds: float) -> str:
    whole = max(0, round(seconds))
    return f"{whole} s" if whole < 120 else f"{whole // 60} min {whole % 60:02d} s"

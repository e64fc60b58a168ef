"""Read how far a recipe is, while another command runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import psutil

from bmc import workspace
from bmc.errors import ArtifactError, UnknownError, unknown
from bmc.recipes.progress import FOLDER, STATES, StepProgress
from bmc.untrusted import read_json

_WHAT = "progress of a recipe"


@dataclass(frozen=True)
class Watched:
    """How far a recipe is.

    Args:
        name: name of the recipe.
        started: time at which the command started, in seconds since 1970.
        updated: time of the last change, in seconds since 1970.
        doing: what it does besides its steps, such as measuring.
        is_running: whether the command is running.
        was_killed: whether the command was killed before its end.
        steps: progress of each step.
    """

    name: str
    started: float
    updated: float
    doing: str
    is_running: bool
    was_killed: bool
    steps: tuple[StepProgress, ...]

    def count(self, *states: str) -> int:
        """Return the number of steps in one of some states."""
        return sum(step.state in states for step in self.steps)


def read_progress(name: str | None = None) -> Watched:
    """Return how far a recipe is; the file is read, and nothing is written.

    Args:
        name: name of the recipe; None for the one that changed last.

    Raises:
        UnknownError: no recipe of this name was run in the workspace.
        ArtifactError: the file is damaged.
    """
    folder = workspace.root() / FOLDER
    known = {path.stem: path for path in folder.glob("*.json")}
    if not known:
        raise UnknownError(f"no recipe was run in {workspace.root()} yet: bmc run RECIPE runs one")
    if name is not None and name not in known:
        raise unknown("recipe", name, known)
    path = known[name] if name is not None else max(known.values(), key=_changed)
    return _read(read_json(path, _WHAT), path)


def _read(content: Mapping[str, Any], path: Path) -> Watched:
    """Return what a file says, whose values are checked.

    Raises:
        ArtifactError: it is damaged.
    """
    try:
        steps = tuple(StepProgress(**_typed(step)) for step in content["steps"])
        process, started, updated = (
            int(content["process"]),
            float(content["started"]),
            float(content["updated"]),
        )
        name, doing = str(content["name"]), str(content["doing"])
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{path} is damaged ({error}); remove it") from error
    is_running = process != 0 and _is_alive(process, started)
    return Watched(
        name, started, updated, doing, is_running, process != 0 and not is_running, steps
    )


def _typed(step: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a step in their types.

    Raises:
        ValueError: a value is of another type, or the state is unknown.
    """
    kinds = {"str": str, "float": float, "int": int}
    values = {
        field.name: kinds[str(field.type)](step[field.name]) for field in fields(StepProgress)
    }
    if values["state"] not in STATES:
        raise ValueError(f"state {values['state']!r:.40}")
    return values


def _is_alive(process: int, started: float) -> bool:
    """Tell whether a process that was there at a time runs; its number may be another's by now."""
    try:
        return psutil.Process(process).create_time() <= started + 1
    except (psutil.Error, ValueError, OverflowError):
        return False


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # replaced just now
        return 0.0

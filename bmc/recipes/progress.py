"""How far a plan is, in a file that other commands read while it runs."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bmc import disk, workspace, writing
from bmc.recipes.plan import Step

FOLDER = ".recipes"
"""Folder of the workspace with what is known of recipes that were run there."""
WAITING, RUNNING, CACHED, DONE, FAILED, SKIPPED = (
    "waiting",
    "running",
    "cached",
    "done",
    "failed",
    "skipped",
)
STATES = (WAITING, RUNNING, CACHED, DONE, FAILED, SKIPPED)
_EVERY = 0.5  # seconds between two writes for notes and progress alone


@dataclass(frozen=True)
class StepProgress:
    """What a step is doing.

    Args:
        name: name of the step.
        verb: its verb.
        state: one of `STATES`.
        since: time at which it started, in seconds since 1970; 0 before.
        seconds: how long it took; 0 before it has ended.
        text: its last note, what it is doing, or why it failed.
        done: units that are done of what it is doing.
        total: number of these units; 0 where it is not known.
    """

    name: str
    verb: str
    state: str = WAITING
    since: float = 0.0
    seconds: float = 0.0
    text: str = ""
    done: int = 0
    total: int = 0


@dataclass
class Progress:
    """The progress of a plan, written at each change.

    Args:
        path: the file; its folder is made.
        name: name of the plan.
        steps: progress of each step by its name.
        doing: what the plan does besides its steps, such as measuring.
    """

    path: Path
    name: str
    steps: dict[str, StepProgress] = field(default_factory=dict)
    doing: str = ""
    started: float = field(default_factory=time.time)
    _written: float = 0.0

    @classmethod
    def of(cls, name: str, steps: Iterable[Step]) -> Progress:
        """Return the progress of a plan that starts now in the workspace.

        Args:
            name: name of the plan, as a folder may be named.
            steps: the steps of the plan.
        """
        begun = {step.name: StepProgress(step.name, step.verb) for step in steps}
        return cls(workspace.root() / FOLDER / f"{name}.json", name, begun)

    def begin(self, names: Iterable[str]) -> None:
        """Note that steps have started; the file is written once, also for thousands of them."""
        now = time.time()
        changed = {name: replace(self.steps[name], state=RUNNING, since=now) for name in names}
        self.steps.update(changed)
        if changed:
            self.write()

    def change(self, name: str, **changes: Any) -> None:
        """Change the progress of a step; a new state is written at once."""
        self.steps[name] = replace(self.steps[name], **changes)
        if "state" in changes or time.monotonic() - self._written > _EVERY:
            self.write()

    def tell(self, name: str, text: str, done: int | None, total: int | None) -> None:
        """Keep the last note of a step, or how far it is with something."""
        if name in self.steps:
            self.change(name, text=text, done=done or 0, total=total or 0)

    def write(self, is_over: bool = False) -> None:
        """Write the file; that it cannot be written stops nothing.

        Args:
            is_over: whether the plan has ended.
        """
        content = {
            "schema": 1,
            "name": self.name,
            "process": 0 if is_over else os.getpid(),
            "started": self.started,
            "updated": time.time(),
            "doing": self.doing,
            "steps": [asdict(step) for step in self.steps.values()],
        }
        with suppress(Exception):
            disk.make_folders(self.path.parent)
            writing.write_atomically(self.path, (json.dumps(content) + "\n").encode())
        self._written = time.monotonic()

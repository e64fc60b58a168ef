"""Measure how much each layer matters: change one layer at a time, and measure the network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TypeVar

from bmc import console

Change = TypeVar("Change")
Measured = TypeVar("Measured")


def measure_each(
    changes: Sequence[Change],
    changed: Callable[[Change], AbstractContextManager[object]],
    measure: Callable[[Change], Measured],
    title: str,
    unit: str = "steps",
) -> dict[Change, Measured]:
    """Return what is measured with each change alone, in the order of the changes.

    Args:
        changes: hashable names of changes, such as the paths of layers.
        changed: makes a change for as long as its block runs.
        measure: called while the change is made.
        title: of the progress bar.
        unit: of the progress.
    """
    measured: dict[Change, Measured] = {}
    with console.progress(title, len(changes), unit) as advance:
        for change in changes:
            with changed(change):
                measured[change] = measure(change)
            advance(1)
    return measured

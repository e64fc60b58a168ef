"""Measure how much each layer matters: change one layer at a time, and measure the network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TypeVar

from bmc import console

Change = TypeVar("Change")
Result = TypeVar("Result")


def measure_each(
    changes: Sequence[Change],
    apply: Callable[[Change], AbstractContextManager[object]],
    measure: Callable[[Change], Result],
    title: str,
    unit: str = "steps",
) -> dict[Change, Result]:
    """Return one measurement for each change applied alone, in the order of the changes.

    Args:
        changes: hashable names of the changes, such as the paths of layers.
        apply: function that returns a context manager; the change holds inside its block.
        measure: function that measures the network while the change holds.
        title: title of the progress bar.
        unit: unit of the progress bar.
    """
    results: dict[Change, Result] = {}
    with console.progress(title, len(changes), unit) as advance:
        for change in changes:
            with apply(change):
                results[change] = measure(change)
            advance(1)
    return results

"""Models of a report's floor that have no bundle: they are trained and scored in this process.

A report names their score in a sentence. The scores are kept in the workspace's cache, as the
bundles of other simple models are.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc import console, disk, locks
from bmc.contracts import tasks
from bmc.data import Dataset
from bmc.files import write_json
from bmc.workflows.floor import FloorPlan
from bmc.workflows.floor_training import data_of


@dataclass(frozen=True)
class ScoredModel:
    """A simple model without a bundle.

    Args:
        title: short name, for notes.
        described: the model and the package that computes it, as the subject of a sentence.
        reason: sentence that says why the model has no bundle.
        outputs_of: function that trains the model on a data set, and returns its outputs on the
            held-out rows, as the task's scores take them.
    """

    title: str
    described: str
    reason: str
    outputs_of: Callable[[Dataset], NDArray[Any]]


def sentence(plan: FloorPlan, model: ScoredModel) -> str:
    """Return a sentence on the score of a model on the held-out rows of a plan's data.

    Raises:
        DataError: the data was changed since the plan's record.
    """
    path = plan.folder / "scores.json"
    with locks.alone(plan.folder / "floor", patience=float("inf")):
        result = _read(path) or _scored(plan, model)
        disk.make_folders(path.parent)
        write_json(path, result)
    interval = f"{result['value']:.3f} [{result['low']:.3f}, {result['high']:.3f}]"
    unit = tasks.task(str(plan.data.get("task", "classification"))).unit
    return (
        f"{model.described} has {result['measure']} {interval} on the {result['rows']} held-out "
        f"{unit}, trained in {result['seconds']:.0f} s. {model.reason} (--no-floor leaves it out)"
    )


def _scored(plan: FloorPlan, model: ScoredModel) -> dict[str, Any]:
    console.note(f"floor: {model.title}; --no-floor leaves the floor out")
    data = data_of(plan)
    started = time.monotonic()
    outputs = model.outputs_of(data)
    seconds = time.monotonic() - started
    scoring = tasks.scoring(data.task, data.labels)
    interval = scoring.interval(outputs, np.array(data.test.labels))
    return {
        "measure": scoring.title,
        **asdict(interval),
        "rows": len(outputs),
        "seconds": round(seconds, 1),
    }


def _read(path: Path) -> dict[str, Any] | None:
    """Return the scores that an earlier report left; None where there are none, or damaged ones."""
    try:
        result = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    names = ("value", "low", "high", "rows", "seconds")
    is_whole = isinstance(result, dict) and isinstance(result.get("measure"), str)
    if is_whole and all(type(result.get(name)) in (int, float) for name in names):
        return result  # type: ignore[no-any-return]
    return None

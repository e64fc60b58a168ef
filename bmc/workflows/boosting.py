"""Gradient boosting as the floor of a table of numbers: trained and scored in this process.

Trees are no network, and have no bundle: a report names their score in a sentence. The scores are
kept in the workspace's cache, as the bundles of other simple models are.

Source: Friedman 2001, "Greedy Function Approximation: A Gradient Boosting Machine"; Ke et al. 2017,
"LightGBM: A Highly Efficient Gradient Boosting Decision Tree" (histograms).
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from bmc import console, disk, locks
from bmc.contracts import tasks
from bmc.data import Dataset
from bmc.errors import DataError
from bmc.files import write_json
from bmc.measure.label_scores import logits_of
from bmc.measure.scores import relative_to
from bmc.workflows.floor import FloorPlan
from bmc.workflows.floor_training import data_of, part_of

_MAX_ROWS = 200_000


def sentence(plan: FloorPlan) -> str:
    """Return a sentence on the score of gradient boosting on the held-out rows of a plan's data.

    Raises:
        DataError: the data was changed since the plan's record.
    """
    path = plan.folder / "scores.json"
    with locks.alone(plan.folder / "floor", patience=float("inf")):
        result = _read(path) or _made(plan)
        disk.make_folders(path.parent)
        write_json(path, result)
    interval = f"{result['value']:.3f} [{result['low']:.3f}, {result['high']:.3f}]"
    return (
        f"gradient boosting (HistGradientBoosting of scikit-learn) has {result['measure']} "
        f"{interval} on the {result['rows']} held-out rows, trained in {result['seconds']:.0f} s. "
        "It was scored in scikit-learn: it is no bundle, and has no size or time here (--no-floor "
        "leaves it out)"
    )


def outputs_of(data: Dataset) -> NDArray[Any]:
    """Fit scikit-learn's model with its default settings; return its outputs on held-out rows.

    Returns:
        probabilities (rows, classes), of several labels a row logits relative to the thresholds
        that are best on the validation rows (rows, labels), or the numbers (rows, 1) of a
        regression.

    Raises:
        DataError: the task is neither.
    """
    train, test = part_of(data, _MAX_ROWS), np.asarray(data.test.rows)
    rows, labels = np.asarray(train.rows), np.array(train.labels)
    task = tasks.task(data.task)
    if task.is_numeric:
        regressor = HistGradientBoostingRegressor(random_state=0).fit(rows, labels)
        return np.asarray(regressor.predict(test))[:, None]
    if task.classes is None:
        raise DataError(f"there is none for {data.task}")
    if task.thresholds is not None:
        asked = np.concatenate([np.asarray(data.validation.rows), test])
        probabilities = np.stack([_probability(rows, truth, asked) for truth in labels.T], axis=1)
        logits = logits_of(probabilities).astype(np.float32)
        chosen_by, held_out = np.split(logits, [len(data.validation)])
        thresholds = task.thresholds(chosen_by, np.array(data.validation.labels))
        return relative_to(held_out, thresholds)
    return np.asarray(_fitted(rows, labels).predict_proba(test))


def _probability(rows: NDArray[Any], truth: NDArray[Any], asked: NDArray[Any]) -> NDArray[Any]:
    """Return the probability of one label on other rows; 1 where every training row has it."""
    if truth.all():
        return np.ones(len(asked))
    return np.asarray(_fitted(rows, truth).predict_proba(asked))[:, 1]


def _fitted(rows: NDArray[Any], labels: NDArray[Any]) -> HistGradientBoostingClassifier:
    """Fit a classifier; it stops early on a tenth of many rows, which splits every class in two."""
    is_splittable = np.unique(labels, return_counts=True)[1].min() > 1
    early_stopping = "auto" if is_splittable else False
    model = HistGradientBoostingClassifier(random_state=0, early_stopping=early_stopping)
    return model.fit(rows, labels)


def _made(plan: FloorPlan) -> dict[str, Any]:
    console.note("floor: gradient boosting; --no-floor leaves the floor out")
    data = data_of(plan)
    started = time.monotonic()
    outputs = outputs_of(data)
    seconds = time.monotonic() - started
    scoring = tasks.scoring(data.task)
    interval = scoring.interval(outputs, np.array(data.test.labels))
    return {
        "measure": scoring.title,
        **asdict(interval),
        "rows": len(outputs),
        "seconds": round(seconds, 1),
    }


def _read(path: Any) -> dict[str, Any] | None:
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

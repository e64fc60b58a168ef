"""Gradient boosting as the floor of a table of numbers.

Trees are no network, and have no bundle: they are scored in this process.

Source: Friedman 2001, "Greedy Function Approximation: A Gradient Boosting Machine"; Ke et al. 2017,
"LightGBM: A Highly Efficient Gradient Boosting Decision Tree" (histograms).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from bmc.contracts import tasks
from bmc.data import Dataset
from bmc.errors import DataError
from bmc.measure.label_scores import logits_of
from bmc.measure.scores import relative_to
from bmc.workflows.floor_training import part_of
from bmc.workflows.scored_floor import ScoredModel

_MAX_ROWS = 200_000


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


MODEL = ScoredModel(
    title="gradient boosting",
    described="gradient boosting (HistGradientBoosting of scikit-learn)",
    reason="It was scored in scikit-learn: it is no bundle, and has no size or time here",
    outputs_of=outputs_of,
)

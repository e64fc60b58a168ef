"""Gradient boosting as a floor: fitted where a class has one row, and by thresholds of labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bmc.data import Dataset, Examples, Table, split
from bmc.label_names import joined
from bmc.measure.label_scores import Counted
from bmc.workflows import boosting


def numbers(rows: int) -> NDArray[np.float64]:
    return np.random.default_rng(0).normal(size=(rows, 2))


def test_a_class_of_one_training_row_among_many_is_fitted() -> None:
    rows = numbers(10_400)
    labels = ["yes" if row[0] > 0 else "no" for row in rows]
    data = split(Table(rows, labels, kind="features", features=("a", "b")), "t")
    count = 10_050
    codes = [int(row[0] > 0) for row in rows[:count]]
    train = Examples(rows[:count], (2, *codes[1:]))
    data = replace(data, labels=("no", "yes", "rare"), train=train)
    assert boosting.outputs_of(data).shape == (len(data.test), 3)


def test_labels_are_predicted_above_the_thresholds_that_are_best_on_validation_rows() -> None:
    data = labeled()
    outputs = boosting.outputs_of(data)
    truth = np.array(data.test.labels)
    assert outputs.shape == truth.shape
    assert Counted.of(outputs, truth).micro_f1() > 0.6
    everything = tuple((1, 1) for _ in data.validation.labels)  # so that low thresholds are best
    generous = replace(data, validation=replace(data.validation, labels=everything))
    assert (boosting.outputs_of(generous) > 0).mean() > 0.9 > (outputs > 0).mean()


def labeled() -> Dataset:
    """Return rows of which a label is likely, and another is rare."""
    rows = numbers(400)
    noise = np.random.default_rng(1).normal(size=(400, 2))
    likely, rare = rows[:, 0] + noise[:, 0] > 0, rows[:, 1] + noise[:, 1] > 1.5
    flags = np.stack([likely, rare], axis=1)
    labels = [joined(np.array(["likely", "rare"])[row].tolist()) for row in flags]
    table = Table(rows, labels, kind="features", features=("a", "b"), several=True)
    return split(table, "t", task="multilabel")

"""Calibration samples: training rows that a technique runs the network on."""

from __future__ import annotations

from typing import Any

import numpy as np

from bmc.model import Model, Work


def calibration_samples(model: Model, work: Work, count: int) -> list[Any]:
    """Return training rows drawn at random, in the order of the data; seeds for a generator.

    Args:
        model: any model.
        work: work whose training data is drawn from.
        count: number of rows to return; all rows where there are fewer.
    """
    if not model.has_labels:
        return list(range(count))
    rows = work.data.train.rows
    indices = np.random.default_rng(0).permutation(len(rows))[:count]
    return [rows[index] for index in np.sort(indices).tolist()]

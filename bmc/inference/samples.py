"""Training rows that a technique runs the network on, drawn at random from all of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from bmc.inputs import Many
from bmc.model import Model, Work


def drawn(rows: Many, count: int) -> list[Any]:
    """Return rows drawn at random, in random order: data may be sorted by class.

    Args:
        rows: rows to draw from.
        count: number of rows to return; all rows where there are fewer.
    """
    indices = np.random.default_rng(0).permutation(len(rows))[:count]
    return [rows[index] for index in indices.tolist()]


def calibration_samples(model: Model, work: Work, count: int) -> list[Any]:
    """Return training rows drawn at random, in random order; seeds for a generator.

    Args:
        model: any model.
        work: work whose training data is drawn from.
        count: number of rows to return; all rows where there are fewer.
    """
    if not model.has_labels:
        return list(range(count))
    return drawn(work.data.train.rows, count)

"""Calibration samples: training rows that a technique looks at while it decides."""

from __future__ import annotations

from typing import Any

import numpy as np

from bmc.model import Model, Work


def calibration_samples(model: Model, work: Work, count: int) -> list[Any]:
    """Return training rows, drawn at random, in their order; a generator's are seeds of noise.

    Args:
        model: any model.
        work: whose training rows are drawn from.
        count: rows to return; all where there are fewer.
    """
    if model.task == "generation":
        return list(range(count))
    rows = work.data.train.rows
    places = np.random.default_rng(0).permutation(len(rows))[:count]
    return [rows[place] for place in np.sort(places).tolist()]

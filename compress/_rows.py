"""Rows that a technique looks at while it decides: of the training part, drawn at random."""

from __future__ import annotations

from typing import Any

import numpy as np

from bmc.model import Model, Work


def drawn(model: Model, work: Work, count: int) -> list[Any]:
    """Return so many training rows, drawn at random, in their order; a generator reads seeds."""
    if model.task == "generation":
        return list(range(count))
    rows = work.data.train.rows
    places = np.random.default_rng(0).permutation(len(rows))[:count]
    return [rows[place] for place in np.sort(places).tolist()]

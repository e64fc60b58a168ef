"""Rows that peers calibrate with and score by, as the arrays that an exported model takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class LabeledRows:
    """Rows of equal size.

    Args:
        calibration: inputs (rows, ...) by name, of training rows.
        validation: inputs (rows, ...) by name, of validation rows.
        labels: classes of the validation rows.
        classes: number of classes.
    """

    calibration: Arrays
    validation: Arrays
    labels: NDArray[np.int64]
    classes: int

    def named(self) -> dict[str, NDArray[Any]]:
        """Return all arrays: PART.INPUT, and validation.labels."""
        parts = {"calibration": self.calibration, "validation": self.validation}
        arrays = {f"{part}.{name}": a for part, of in parts.items() for name, a in of.items()}
        rows = len(next(iter(self.calibration.values())))
        return {
            **arrays,
            "calibration.labels": np.zeros(rows, np.int64),
            "validation.labels": self.labels,
        }

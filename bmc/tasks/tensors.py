"""Arrays by name: the task of ONNX files of other tools, whose meaning bmc does not know.

No model directory has this task. A pipeline returns all outputs of such a bundle as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc.contracts.tasks import Task


def check_output(labels: Sequence[str], shape: Sequence[Any]) -> None:
    """Accept outputs of any shape."""


def predictions(
    outputs: NDArray[np.float32], labels: Sequence[str], limits: Sequence[float] = ()
) -> list[NDArray[np.float32] | None]:
    """Return the outputs of each row; None for a row with an output that is not finite."""
    return [row if np.isfinite(row).all() else None for row in outputs]


def _row_shape(labels: Sequence[str], spec: Mapping[str, Any]) -> tuple[int, ...]:
    return ()


TASK = Task(
    output="outputs",
    row_shape=_row_shape,
    check_output=check_output,
    predictions=predictions,
)

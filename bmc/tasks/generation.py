"""Generation: an image for each row of noise; rows have no labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc.contracts.tasks import Task

_CHANNELS = (1, 3)


def check_output(labels: Sequence[str], shape: Sequence[Any]) -> None:
    """Check that outputs are images.

    Raises:
        ValueError: they are not.
    """
    if len(shape) != 4 or shape[1] not in _CHANNELS:
        raise ValueError(f"generated images have shape (batch, 1 or 3, y, x), not {tuple(shape)}")


def predictions(
    outputs: NDArray[np.float32], labels: Sequence[str], limits: Sequence[float] = ()
) -> list[NDArray[np.uint8] | None]:
    """Return images, uint8 (height, width, channels), of pixels (rows, ...) in [-1, 1].

    A row with a pixel that is not finite has None.
    """
    finite = np.logical_and.reduce(np.isfinite(outputs.reshape(len(outputs), -1)), axis=1)
    pixels = np.clip(np.round((outputs + 1) * 127.5), 0, 255)
    images = np.nan_to_num(pixels).astype(np.uint8).transpose(0, 2, 3, 1)
    return [image if is_finite else None for image, is_finite in zip(images, finite, strict=True)]


def _row_shape(labels: Sequence[str], spec: Mapping[str, Any]) -> tuple[int, ...]:
    return tuple(int(spec[size]) for size in ("channels", "height", "width"))


TASK = Task(
    output="pixels",
    row_shape=_row_shape,
    check_output=check_output,
    predictions=predictions,
)

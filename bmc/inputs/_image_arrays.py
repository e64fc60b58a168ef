"""Check and convert arrays that are images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc.errors import DataError
from bmc.inputs import Row

_CHANNELS = (1, 3, 4)
_TAKEN = "give a file, its bytes, a PIL image, or uint8 (height, width[, channels])"


def array_of(row: Row) -> NDArray[np.uint8]:
    """Return an array of bytes, (height, width) or (height, width, 1, 3 or 4).

    Raises:
        DataError: the array has another type or shape; the message says how to convert it.
    """
    try:
        array = np.asarray(row)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{named(row)} is no image ({error}); {_TAKEN}") from error
    if array.dtype.kind not in "buif":
        raise DataError(f"{named(row)} is no image; {_TAKEN}")
    if np.ma.is_masked(row):
        raise DataError(f"{named(row)} is no image that can be read (it has masked pixels)")
    if array.dtype != np.uint8:
        raise DataError(f"an image must be bytes (uint8); it is {array.dtype}{_cure(array)}")
    if array.ndim in (2, 3) and array.size and array.shape[2:] in ((), *((c,) for c in _CHANNELS)):
        return array
    raise DataError(
        f"{named(row)} is no image that can be read (it must be (height, width), or "
        f"(height, width, 1, 3 or 4)){_layout(array)}"
    )


def _cure(array: NDArray[Any]) -> str:
    """Say how numbers of another type become bytes."""
    if not array.size:
        return ", and empty"
    if array.dtype == np.bool_:
        return ": 255 * image.astype('uint8')"
    if not np.isfinite(array).all():
        return ", and holds NaN or infinity"
    low, high = array.min(), array.max()
    if low >= 0 and high <= 1:
        return ", of values in 0..1: (255 * image).round().astype('uint8')"
    if low >= 0 and high <= 255:
        return f", of values in {low:.4g}..{high:.4g}: image.round().astype('uint8')"
    return f", of values in {low:.4g}..{high:.4g}: bring them to 0..255 first"


def _layout(array: NDArray[Any]) -> str:
    """Say what an array of another shape probably is."""
    if array.ndim == 4:
        return f"; {len(array)} images are given as a list: list(images)"
    if array.ndim != 3 or not array.size:
        return ""
    if array.shape[2] == 2:
        return "; of gray and alpha, give the gray: image[:, :, 0]"
    if array.shape[0] in _CHANNELS:
        return "; channels come last: image.transpose(1, 2, 0)"
    return f"; if these are {len(array)} gray images, give a list: list(images)"


def named(row: Row) -> str:
    """Name an image in a message: its file, or what else it is."""
    if isinstance(row, str | Path):
        return str(row)
    if isinstance(row, bytes | bytearray | memoryview):
        return f"a file's content of {len(row)} bytes"
    if hasattr(row, "mode") and hasattr(row, "size"):
        return f"a PIL image of mode {row.mode}"
    if hasattr(row, "shape"):
        return f"an array of shape {tuple(row.shape)}"
    return f"{type(row).__name__} {row!r:.60}"

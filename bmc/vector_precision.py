"""Store sentence vectors in fewer bits, as sentence-transformers does; needs no torch.

Source: Shakir, Aarsen and Lee 2024, "Binary and Scalar Embedding Quantization".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bmc.errors import DataError, SettingError, UsageError

_STEPS = 255


def quantize_vectors(
    vectors: ArrayLike, precision: str = "int8", ranges: ArrayLike | None = None
) -> NDArray[Any]:
    """Return vectors in fewer bits.

    Args:
        vectors: vectors of a bundle, float (width) or (rows, width).
        precision: "int8" or "uint8": 255 steps between the least and the largest value of each
            number, a quarter of the bytes; "binary" or "ubinary": the sign of each number, eight to
            a byte, int8 or uint8 (width / 8); "float32" for none.
        ranges: least and largest value of each number, float (2, width), for "int8" and "uint8":
            the bundle's `Pipeline.ranges`. Values outside are cut to the range.

    Returns:
        int8, uint8 or float32, one row for each vector.

    Raises:
        SettingError: there is no such precision.
        UsageError: ranges are missing.
        DataError: vectors or ranges are no finite numbers of one width.

    Example:
        >>> embed = bmc.load("bmc-runs/tiny-movie-reviews-onnx")
        >>> bmc.quantize_vectors(embed(["an hour of wit and charm"]), "int8", embed.ranges)
    """
    if precision not in _PRECISIONS:
        possible = ", ".join(_PRECISIONS)
        raise SettingError(f"precision is {precision!r:.40}; possible: {possible}")
    array = np.asarray(vectors)
    if array.dtype.kind != "f" or array.ndim not in (1, 2) or not np.isfinite(array).all():
        raise DataError(
            f"vectors are {array.dtype} of shape {array.shape}; they are finite floating-point "
            "numbers of shape (width) or (rows, width)"
        )
    return _PRECISIONS[precision](array.astype(np.float32), ranges)


def _float32(vectors: NDArray[np.float32], ranges: object) -> NDArray[Any]:
    return vectors


def _positions(vectors: NDArray[np.float32], ranges: ArrayLike | None) -> NDArray[np.float64]:
    """Return where each number lies between its least and its largest value, 0 to 255.

    Raises:
        UsageError: ranges are missing.
        DataError: ranges are no finite numbers of the vectors' width.
    """
    if ranges is None:
        raise UsageError(
            "int8 and uint8 need the ranges of the vectors: pass ranges=embed.ranges of the loaded "
            'bundle, or take "binary"'
        )
    limits = np.asarray(ranges, np.float64)
    if limits.shape != (2, vectors.shape[-1]) or not np.isfinite(limits).all():
        raise DataError(
            f"ranges have shape {limits.shape}; of vectors of {vectors.shape[-1]} numbers they are "
            f"finite numbers of shape (2, {vectors.shape[-1]})"
        )
    low, high = limits
    steps = np.maximum((high - low) / _STEPS, np.finfo(np.float32).tiny)
    positions: NDArray[np.float64] = np.clip((vectors - low) / steps, 0, _STEPS)
    return positions


def _uint8(vectors: NDArray[np.float32], ranges: ArrayLike | None) -> NDArray[np.uint8]:
    return _positions(vectors, ranges).astype(np.uint8)


def _int8(vectors: NDArray[np.float32], ranges: ArrayLike | None) -> NDArray[np.int8]:
    # Fractions are cut towards 0 after the shift, as sentence-transformers does.
    return (_positions(vectors, ranges) - 128).astype(np.int8)


def _ubinary(vectors: NDArray[np.float32], ranges: object) -> NDArray[np.uint8]:
    return np.packbits(vectors > 0, axis=-1)


def _binary(vectors: NDArray[np.float32], ranges: object) -> NDArray[np.int8]:
    return (_ubinary(vectors, ranges).astype(np.int16) - 128).astype(np.int8)


_PRECISIONS: Mapping[str, Callable[[NDArray[np.float32], Any], NDArray[Any]]] = {
    "float32": _float32,
    "int8": _int8,
    "uint8": _uint8,
    "binary": _binary,
    "ubinary": _ubinary,
}

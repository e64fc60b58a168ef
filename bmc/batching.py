"""Split many rows into windows that are encoded together, within a bound on memory.

Counted are raw rows in memory, and the input and output tensors of a window at the largest size
that a row can have. What a runtime needs while it computes a batch comes on top.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from bmc.bundle import Bundle
from bmc.inputs import Aligned, TensorInfo

MAX_ROWS = 1_024
"""Rows of a window at most: they are sorted by length into batches."""


def bytes_of_tensors(bundle: Bundle) -> int:
    """Return the bytes of one row's inputs and outputs, where the row is as long as it can be."""
    sizes = bundle.encoder.longest()
    tensors = (*bundle.encoder.tensors(), *bundle.manifest.outputs)
    return sum(_bytes_of(info, sizes) for info in tensors)


def cost_of(bundle: Bundle) -> Callable[[Any], int]:
    """Return a function that gives the bytes of a raw row and its tensors."""
    of_tensors, longest = bytes_of_tensors(bundle), bundle.encoder.longest()
    # A long text whose words have an output each is read in overlapping parts.
    length = longest.get("sequence") if isinstance(bundle.encoder, Aligned) else None

    def cost(row: Any) -> int:
        size = bytes_of_row(row)
        parts = 1 + 2 * size // length if length else 1
        return size + parts * of_tensors

    return cost


def windows(
    rows: Iterable[Any], cost: Callable[[Any], int], max_bytes: float
) -> Iterator[list[Any]]:
    """Yield lists of rows that fit into memory together, at least one row each.

    Args:
        rows: raw rows, of which one window at a time is read.
        cost: function that returns the bytes of a row; see `cost_of`.
        max_bytes: bound on the bytes of a window; a single row may be larger.
    """
    window: list[Any] = []
    total = 0
    for row in rows:
        size = cost(row)
        if window and total + size > max_bytes:
            yield window
            window, total = [], 0
        window.append(row)
        total += size
        if len(window) == MAX_ROWS:
            yield window
            window, total = [], 0
    if window:
        yield window


def bytes_of_row(row: Any) -> int:
    """Return the bytes that a raw row takes in memory; a path counts as little as it is."""
    if isinstance(row, np.ndarray):
        return row.nbytes
    if isinstance(row, Mapping):
        return sum(map(bytes_of_row, row.values()))
    if isinstance(row, Sequence) and not isinstance(row, str | bytes | bytearray):
        return sum(map(bytes_of_row, row))
    width, height = getattr(row, "width", 0), getattr(row, "height", 0)  # a picture of Pillow
    pixels = 4 * width * height if type(width) is int and type(height) is int else 0
    return sys.getsizeof(row) + pixels


def _bytes_of(info: TensorInfo, sizes: Mapping[str, int]) -> int:
    """Return the bytes of one row of a tensor; `sizes` are those of dynamic axes."""
    shape = (size if isinstance(size, int) else sizes.get(size, 1) for size in info.shape)
    return math.prod(shape) * np.dtype(info.dtype).itemsize

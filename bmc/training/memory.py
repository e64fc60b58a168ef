"""Memory: return blocks that training has freed to the operating system."""

from __future__ import annotations

import ctypes
import sys
from functools import cache

_MMAP_THRESHOLD = -3  # mallopt's M_MMAP_THRESHOLD
_LARGE_BLOCK = 4 * 2**20  # bytes


def return_large_blocks() -> None:
    """Make glibc's malloc return large blocks to the operating system when they are freed.

    Batches have many lengths, so activations have many sizes. By default, malloc keeps freed blocks
    in its heap, where activations of another size do not fit them. Without glibc the function does
    nothing.
    """
    library = _libc()
    if library is not None:
        library.mallopt(_MMAP_THRESHOLD, _LARGE_BLOCK)
        library.malloc_trim(0)


@cache
def _libc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "malloc_trim") else None

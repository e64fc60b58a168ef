"""Memory: hand back what training has freed, instead of keeping it in pieces."""

from __future__ import annotations

import ctypes
import sys
from functools import cache

_MMAP_THRESHOLD = -3  # mallopt's M_MMAP_THRESHOLD
_LARGE = 4 * 2**20


def return_large_blocks() -> None:
    """Make glibc's malloc hand large blocks back to the system when they are freed.

    Batches have many lengths, so activations have many sizes: left to itself, malloc keeps freed
    blocks in its heap, where the next length does not fit them. Elsewhere nothing is done.
    """
    library = _libc()
    if library is not None:
        library.mallopt(_MMAP_THRESHOLD, _LARGE)
        library.malloc_trim(0)


@cache
def _libc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "malloc_trim") else None

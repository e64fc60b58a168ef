"""What one caller at a time may use, for many callers."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


class Pool(Generic[T]):
    """Objects that serve one caller at a time: made when all others are busy, kept for the next.

    Args:
        make: makes one.
        limit: how many there may be; a caller that finds all of them busy waits.
    """

    def __init__(self, make: Callable[[], T], limit: int) -> None:
        self._make = make
        self._making = threading.Lock()
        self._idle: deque[T] = deque()
        self._places = threading.BoundedSemaphore(limit)

    @contextmanager
    def borrowed(self) -> Iterator[T]:
        """Give the block an object that no other thread has."""
        with self._places:
            try:
                item = self._idle.pop()
            except IndexError:
                with self._making:
                    item = self._make()
            try:
                yield item
            finally:
                self._idle.append(item)

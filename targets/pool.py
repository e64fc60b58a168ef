"""A pool of objects, each of which serves one thread at a time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


class Pool(Generic[T]):
    """Lend objects to threads; create an object when all others are lent, and keep it for later.

    Args:
        create: function that creates an object.
        limit: largest number of objects; a thread waits while all of them are lent.
    """

    def __init__(self, create: Callable[[], T], limit: int) -> None:
        self._create = create
        self._create_lock = threading.Lock()
        self._idle: deque[T] = deque()
        self._permits = threading.BoundedSemaphore(limit)

    @contextmanager
    def borrowed(self) -> Iterator[T]:
        """Lend the block an object that no other thread uses."""
        with self._permits:
            try:
                item = self._idle.pop()
            except IndexError:
                with self._create_lock:
                    item = self._create()
            try:
                yield item
            finally:
                self._idle.append(item)

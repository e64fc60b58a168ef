"""Rows of concurrent requests, computed in batches by one worker thread."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from bmc.errors import RequestError
from bmc.serving.settings import ServingSettings

_TOO_LARGE, _TOO_MANY, _TOO_LATE = 413, 429, 503


@dataclass(eq=False)
class _Waiting:
    """Rows of a request, and the results of those that were computed."""

    rows: Sequence[Any]
    arrived: float
    done: asyncio.Future[list[Any]]
    taken: int = 0
    results: list[Any] = field(default_factory=list)


class Batcher:
    """Computes the rows of concurrent requests in batches, in the order of their arrival.

    While a batch is computed, requests wait, and their rows are the next batch: a lone request is
    computed at once, and many share the cost of a batch.

    Args:
        predict: computes the results of a list of rows; it is called in a thread of its own, one
            call at a time.
        settings: rows of a batch, rows that may wait, and how long.
        observe: is called with the number of rows of each batch.
    """

    def __init__(
        self,
        predict: Callable[[list[Any]], Sequence[Any]],
        settings: ServingSettings,
        observe: Callable[[int], None],
    ) -> None:
        self._predict, self._settings, self._observe = predict, settings, observe
        self._requests: deque[_Waiting] = deque()
        self._waiting = 0
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="bmc-serving")

    @property
    def waiting(self) -> int:
        """The number of rows that wait."""
        return self._waiting

    async def predict(self, rows: Sequence[Any]) -> list[Any]:
        """Return the results of a request's rows.

        Raises:
            RequestError: these are more rows than may wait, other rows wait, or it took too long.
        """
        if not rows:
            return []
        self._refuse_full(len(rows))
        loop = asyncio.get_running_loop()
        request = _Waiting(rows, loop.time(), loop.create_future())
        self._requests.append(request)
        self._waiting += len(rows)
        self._arrived.set()
        try:
            async with asyncio.timeout(self._settings.timeout):
                return await request.done
        except TimeoutError as error:
            raise RequestError(
                f"the rows were not computed within {self._settings.timeout:g} seconds; try again "
                "later, or send fewer",
                _TOO_LATE,
            ) from error
        finally:
            self._forget(request)

    async def run(self) -> None:
        """Compute batches until the task is cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                await self._arrived.wait()
                await self._until_full(loop)
                batch = self._take()
                if not self._waiting:
                    self._arrived.clear()
                if batch:
                    self._observe(sum(len(part) for _, part in batch))
                    await self._compute(batch, loop)
        finally:
            self._thread.shutdown(wait=False)

    async def _compute(
        self, batch: list[tuple[_Waiting, list[Any]]], loop: asyncio.AbstractEventLoop
    ) -> None:
        """Compute a batch; where that fails, the parts of its requests, each by itself."""
        rows = [row for _, part in batch for row in part]
        try:
            results = list(await loop.run_in_executor(self._thread, self._predict, rows))
        except Exception as error:  # noqa: BLE001  whatever a runtime raises ends one request alone
            if len(batch) == 1:
                request, _ = batch[0]
                if not request.done.done():
                    request.done.set_exception(error)
                return
            for request, part in batch:
                if not request.done.done():
                    await self._compute([(request, part)], loop)
            return
        first = 0
        for request, part in batch:
            request.results += results[first : first + len(part)]
            first += len(part)
            if len(request.results) == len(request.rows) and not request.done.done():
                request.done.set_result(request.results)

    def _take(self) -> list[tuple[_Waiting, list[Any]]]:
        """Remove the rows of the next batch from those that wait, and return them by request."""
        batch = []
        free = self._settings.max_batch
        while self._requests and free:
            request = self._requests[0]
            part = list(request.rows[request.taken : request.taken + free])
            request.taken += len(part)
            free -= len(part)
            self._waiting -= len(part)
            batch.append((request, part))
            if request.taken == len(request.rows):
                self._requests.popleft()
        return batch

    async def _until_full(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait until a batch is full, or its first row has waited for `max_delay`."""
        while self._requests and self._waiting < self._settings.max_batch:
            deadline = self._requests[0].arrived + self._settings.max_delay / 1000
            if deadline <= loop.time():
                return
            self._arrived.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._arrived.wait()
            except TimeoutError:
                self._arrived.set()  # rows still wait
                return

    def _forget(self, request: _Waiting) -> None:
        """Take the rows of a request that has ended, and were not computed, out of the queue."""
        if request in self._requests:
            self._requests.remove(request)
            self._waiting -= len(request.rows) - request.taken
            request.taken = len(request.rows)

    def _refuse_full(self, count: int) -> None:
        most = self._settings.max_waiting
        if count > most:
            raise RequestError(
                f"the request has {count:,} rows; at most {most:,} are taken at a time: send them "
                "in several requests",
                _TOO_LARGE,
            )
        if self._waiting + count > most:
            raise RequestError(
                f"{self._waiting:,} rows wait already, of {most:,} that may; try again in a second",
                _TOO_MANY,
            )

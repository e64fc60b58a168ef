"""Rows of concurrent requests: one thread prepares them, another computes them in batches.

The event loop takes requests and sends answers. The first thread takes the rows that wait, a round
of them, and turns them into jobs; the second thread runs the jobs one after the other. So the rows
of one round are prepared while those before them are computed, on another core.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Queue
from typing import Any, Protocol

from bmc.errors import RequestError
from bmc.serving.rows import too_many_rows
from bmc.serving.settings import ServingSettings

_TOO_MANY, _TOO_LATE = 429, 503
# Jobs that are ready while one is computed: they last while the next round is prepared.
# More of them would close a round earlier, with fewer rows to sort by length.
_READY = 8
_PENDING = object()

Results = Iterable[tuple[int, Any]]
"""Indices of rows in their round, each with its prediction, or with its error."""


@dataclass(frozen=True)
class Job:
    """Rows of a round that are computed at once.

    Args:
        rows: their indices in the round.
        run: computes them, and returns their results.
        is_computed: whether the model runs; False for rows that have an error already.
    """

    rows: Sequence[int]
    run: Callable[[], Results]
    is_computed: bool = True


class Preparing(Protocol):
    """A model that prepares rows in one thread, and computes them in another."""

    @property
    def round_size(self) -> int:
        """The number of rows that are prepared at once, at most."""

    def jobs(self, rows: list[Any]) -> Iterable[Job]:
        """Prepare rows, and yield the jobs that compute them; each row is in one job."""


@dataclass(eq=False)
class _Request:
    """The rows of a request, and their results.

    Args:
        rows: raw rows.
        arrived: when the request came, in seconds of a monotonic clock.
        finish: tells the event loop that all results are there; called in any thread.
        results: results of the rows; `_PENDING` until a row is computed.
        missing: number of rows without a result.
        waiting: number of rows that wait; see `Batcher.waiting`.
        taken: number of rows that were put into a round.
        error: an error that ends the request; None where every row has its own result.
        is_over: whether nobody waits for the results any more.
    """

    rows: Sequence[Any]
    arrived: float
    finish: Callable[[], None]
    results: list[Any] = field(init=False)
    missing: int = field(init=False)
    waiting: int = field(init=False)
    taken: int = 0
    error: Exception | None = None
    is_over: bool = False

    def __post_init__(self) -> None:
        self.results = [_PENDING] * len(self.rows)
        self.missing = self.waiting = len(self.rows)

    def end(self, error: Exception | None = None) -> None:
        """End the request, once."""
        if not self.is_over:
            self.is_over, self.error = True, error
            self.finish()


@dataclass(eq=False, slots=True)
class _Row:
    """A row in a round.

    Args:
        request: the request that it belongs to.
        index: its index in the request.
        has_begun: whether a batch with the row is or was computed.
    """

    request: _Request
    index: int
    has_begun: bool = False

    def keep(self, result: Any) -> None:
        """Keep the row's result; the last one of a request ends the request."""
        request = self.request
        if request.results[self.index] is not _PENDING:
            return  # the row was computed again, after another row of its round had failed
        request.results[self.index] = result
        request.missing -= 1
        if not request.missing:
            request.end()


class Batcher:
    """Computes the rows of concurrent requests in batches, in the order of their arrival.

    While a round of rows is computed, requests wait, and their rows are the next round: a lone
    request is computed at once, and many share the cost of a batch.

    Args:
        model: prepares rows, and computes them.
        settings: rows of a batch, rows that may wait, and how long.
        observe: is called with the number of rows of each batch.
    """

    def __init__(
        self, model: Preparing, settings: ServingSettings, observe: Callable[[int], None]
    ) -> None:
        self._model, self._settings, self._observe = model, settings, observe
        self._requests: deque[_Request] = deque()  # with rows that are in no round
        self._waiting = 0
        self._is_closed = False
        self._changed = threading.Condition()
        self._jobs: Queue[tuple[Sequence[_Row], Job] | None] = Queue(_READY)
        self._threads = [
            threading.Thread(target=target, name=f"bmc-{name}", daemon=True)
            for name, target in (("prepare", self._prepare_rounds), ("compute", self._run_jobs))
        ]

    @property
    def waiting(self) -> int:
        """The number of rows that wait: those of no batch that is or was computed."""
        return self._waiting

    def start(self) -> None:
        """Start the two threads."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """End the threads after the rows that are being computed."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(self._settings.timeout)

    async def predict(self, rows: Sequence[Any]) -> list[Any]:
        """Return the result of each row of a request: its prediction, or its error.

        Raises:
            RequestError: these are more rows than may wait, other rows wait, or it took too long.
            Exception: what the model raised for all of these rows.
        """
        if not rows:
            return []
        loop = asyncio.get_running_loop()
        done = asyncio.Event()

        def finish() -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(done.set)

        request = _Request(rows, time.monotonic(), finish)
        self._add(request)
        try:
            async with asyncio.timeout(self._settings.timeout):
                await done.wait()
        except TimeoutError as error:
            raise RequestError(
                f"the rows were not computed within {self._settings.timeout:g} seconds; try again "
                "later, or send fewer",
                _TOO_LATE,
            ) from error
        finally:
            self._forget(request)
        if request.error is not None:
            raise request.error
        return request.results

    def _add(self, request: _Request) -> None:
        count, most = len(request.rows), self._settings.max_waiting
        if count > most:
            raise too_many_rows(count, most)
        with self._changed:
            if self._waiting + count > most:
                raise RequestError(
                    f"{self._waiting:,} rows wait already, of {most:,} that may; try again in a "
                    "second",
                    _TOO_MANY,
                )
            self._requests.append(request)
            self._waiting += count
            self._changed.notify_all()

    def _forget(self, request: _Request) -> None:
        """Take the rows that still wait of a request that has ended out of the queue."""
        request.is_over = True
        with self._changed:
            if request.taken < len(request.rows):
                self._requests.remove(request)
            self._waiting -= request.waiting
            request.waiting = 0

    def _prepare_rounds(self) -> None:
        """Prepare round after round until the batcher is closed: the work of the first thread."""
        while rows := self._next_round():
            self._prepare(rows)
        self._jobs.put(None)

    def _next_round(self) -> list[_Row]:
        """Wait until a round is due, and take its rows; none when the batcher is closed."""
        with self._changed:
            while not self._is_closed:
                delay = self._delay()
                if delay == 0:
                    return self._take(self._model.round_size)
                self._changed.wait(delay)
        return []

    def _delay(self) -> float | None:
        """Return the seconds until a round is due; None if something must change before.

        A round that does not fill a batch is due when no job is ready: until then, the model has
        enough to do, and more rows may come.
        """
        size = sum(len(request.rows) - request.taken for request in self._requests)
        if size >= self._settings.max_batch:
            return 0.0
        if not size or not self._jobs.empty():
            return None
        oldest = self._requests[0].arrived
        return max(0.0, oldest + self._settings.max_delay / 1000 - time.monotonic())

    def _take(self, count: int) -> list[_Row]:
        """Take up to this many rows from the requests that came first."""
        rows: list[_Row] = []
        while self._requests and len(rows) < count:
            request = self._requests[0]
            stop = min(len(request.rows), request.taken + count - len(rows))
            rows += [_Row(request, index) for index in range(request.taken, stop)]
            request.taken = stop
            if stop == len(request.rows):
                self._requests.popleft()
        return rows

    def _prepare(self, rows: Sequence[_Row]) -> None:
        """Prepare a round, and pass its jobs on; where that fails, the rows of each request."""
        try:
            raw = [row.request.rows[row.index] for row in rows]
            for job in self._model.jobs(raw):
                self._jobs.put((rows, job))
        except Exception as error:  # noqa: BLE001  whatever a library raises ends one request alone
            requests = dict.fromkeys(row.request for row in rows)
            if len(requests) == 1:
                fail = Job(range(len(rows)), _raising(error), is_computed=False)
                self._jobs.put((rows, fail))
                return
            for request in requests:
                self._prepare([row for row in rows if row.request is request])

    def _run_jobs(self) -> None:
        """Run job after job until the last round: the work of the second thread."""
        while (entry := self._jobs.get()) is not None:
            self._run(*entry)

    def _run(self, rows: Sequence[_Row], job: Job) -> None:
        in_job = [rows[index] for index in job.rows]
        self._begin(in_job)
        if all(row.request.is_over for row in in_job):
            return  # their clients left, or were told that it took too long
        if job.is_computed:
            self._observe(len(in_job))
        try:
            for index, result in job.run():
                rows[index].keep(result)
        except Exception as error:  # noqa: BLE001  whatever a runtime raises ends these requests
            for request in dict.fromkeys(row.request for row in in_job):
                request.end(error)

    def _begin(self, rows: Sequence[_Row]) -> None:
        """Count rows as computed, and no longer as waiting; a job less is ready."""
        with self._changed:
            self._changed.notify_all()
            for row in rows:
                if not row.has_begun and row.request.waiting:
                    row.request.waiting -= 1
                    self._waiting -= 1
                row.has_begun = True


def _raising(error: Exception) -> Callable[[], Results]:
    def run() -> Results:
        raise error

    return run

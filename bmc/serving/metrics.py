"""What a service counts, in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_NO_ANSWER = 499
"""The status that stands for a client who left before the answer."""


class Metrics:
    """Counts requests, rows and batches; each service has its own."""

    def __init__(self) -> None:
        own = self._registry = CollectorRegistry()
        title = "Requests for predictions, by HTTP status."
        self._requests = Counter("bmc_requests", title, ["status"], registry=own)
        self._rows = Counter("bmc_rows", "Rows that were computed.", registry=own)
        title = "Seconds of a request."
        self._seconds = Histogram("bmc_request_seconds", title, buckets=_SECONDS, registry=own)
        title = "Rows of a batch."
        self._batches = Histogram("bmc_batch_rows", title, buckets=_ROWS, registry=own)
        self._waiting = Gauge("bmc_waiting_rows", "Rows that wait.", registry=own)

    def watch(self, waiting: Callable[[], int]) -> None:
        """Report how many rows wait by calling this function."""
        self._waiting.set_function(waiting)

    def batch(self, rows: int) -> None:
        """Count a batch of this many rows."""
        self._batches.observe(rows)
        self._rows.inc(rows)

    def request(self, status: int, seconds: float) -> None:
        """Count a request that has ended."""
        self._requests.labels(str(status)).inc()
        self._seconds.observe(seconds)

    def text(self) -> bytes:
        """Return all counts in the text format of Prometheus."""
        return generate_latest(self._registry)


class Counted:
    """An ASGI application whose requests to one path are counted.

    Args:
        application: the application.
        metrics: where they are counted.
        path: path of the requests.
        clock: returns seconds.
    """

    def __init__(
        self, application: ASGIApp, metrics: Metrics, path: str, clock: Callable[[], float]
    ) -> None:
        self._application, self._metrics = application, metrics
        self._path, self._clock = path, clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run a request, and count it if its path is counted."""
        if scope["type"] != "http" or scope["path"] != self._path:
            await self._application(scope, receive, send)
            return
        start, status = self._clock(), _NO_ANSWER

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._application(scope, receive, noting)
        finally:
            self._metrics.request(status, self._clock() - start)

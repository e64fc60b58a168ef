"""The HTTP interface of a bundle."""

from __future__ import annotations

import asyncio
import importlib.resources
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp

from bmc import __version__
from bmc.errors import BmcError, DataError, RequestError
from bmc.pipeline import Pipeline, renumbered
from bmc.rendering.predictions import content_of
from bmc.serving.batches import Batcher
from bmc.serving.bodies import BodyReader
from bmc.serving.metrics import Counted, Metrics
from bmc.serving.rows import rows_of
from bmc.serving.settings import ServingSettings

_PREDICT = "/predict"
_BAD_ROWS, _BROKEN, _BUSY = 422, 500, (429, 503)
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {"rows": {"type": "array", "items": {}}},
                    "required": ["rows"],
                    "additionalProperties": False,
                }
            }
        },
    }
}


def application(pipeline: Pipeline, settings: ServingSettings) -> ASGIApp:
    """Return the service of a loaded bundle, an ASGI application.

    Args:
        pipeline: the loaded bundle.
        settings: how rows are batched, and what is refused.
    """
    metrics = Metrics()
    size = settings.max_batch
    batcher = Batcher(lambda rows: _predictions(pipeline, rows, size), settings, metrics.batch)
    metrics.watch(lambda: batcher.waiting)
    service = FastAPI(
        title=f"bmc: {pipeline.bundle.path.name}",
        version=__version__,
        lifespan=_running(batcher),
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
    )
    _add_pages(service, pipeline, metrics)
    _add_predictions(service, pipeline, batcher, BodyReader(settings))
    _add_refusals(service)
    return Counted(service, metrics, _PREDICT, time.perf_counter)


def _predictions(pipeline: Pipeline, rows: list[Any], size: int) -> list[Any]:
    """Predict rows of several requests; each error calls its row "row 1".

    A number in the batch would mean nothing to the client, whose request has other numbers.
    """
    results = pipeline.batch(rows, size, errors="return")
    return [
        _of_row_1(result, number) if isinstance(result, BmcError) else result
        for number, result in enumerate(results, start=1)
    ]


def _of_row_1(error: BmcError, number: int) -> DataError:
    if isinstance(error, DataError):
        return renumbered(error, 1, number)
    # Its message names the bundle's folder, which is no client's business.
    return DataError("row 1 has no prediction: the model's outputs for it are NaN or infinite")


def _running(batcher: Batcher) -> Any:
    """Return the lifespan of a service: the batcher runs until the last request has its answer."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(batcher.run())
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    return lifespan


def _add_pages(service: FastAPI, pipeline: Pipeline, metrics: Metrics) -> None:
    page = importlib.resources.files("bmc.serving").joinpath("page.html").read_text("utf-8")
    manifest = pipeline.bundle.manifest

    @service.get("/", response_class=HTMLResponse)
    def show_page() -> HTMLResponse:
        """Show a page to try the model on."""
        return HTMLResponse(page)

    @service.get("/health")
    def tell_health() -> dict[str, str]:
        """Tell that the model is loaded, and answered its golden rows when the service started."""
        return {"status": "ok"}

    @service.get("/bundle")
    def describe_bundle() -> dict[str, Any]:
        """Describe the model: its kind of rows, task, labels and target."""
        return {
            "name": pipeline.bundle.path.name,
            "kind": pipeline.kind,
            "task": manifest.task,
            "labels": list(manifest.labels),
            "target": manifest.target,
        }

    @service.get("/metrics")
    def show_metrics() -> Response:
        """Return counts of requests, rows and batches for Prometheus."""
        return Response(metrics.text(), media_type="text/plain; version=0.0.4")


def _add_predictions(
    service: FastAPI, pipeline: Pipeline, batcher: Batcher, bodies: BodyReader
) -> None:
    @service.post(_PREDICT, openapi_extra=_BODY)
    async def predict(request: Request) -> Response:
        """Predict rows: {"rows": [...]}, or one text or file as the body."""
        async with bodies.read(request) as content:
            kind = request.headers.get("content-type", "")
            results = await batcher.predict(rows_of(content, kind, pipeline.kind))
        errors = {
            number: str(renumbered(result, number))
            for number, result in enumerate(results, start=1)
            if isinstance(result, DataError)
        }
        if results and len(errors) == len(results):
            raise DataError(errors[1])
        predictions = [
            None if isinstance(result, DataError) else content_of(result) for result in results
        ]
        notes = [{"row": number, "note": note} for number, note in errors.items()]
        return JSONResponse({"predictions": predictions, "notes": notes})


def _add_refusals(service: FastAPI) -> None:
    """Answer errors with one line of JSON, as the command line has one line on stderr."""

    @service.exception_handler(BmcError)
    def refuse(_: Request, error: BmcError) -> JSONResponse:
        if isinstance(error, RequestError):
            again = {"Retry-After": "1"} if error.status in _BUSY else None
            return JSONResponse({"error": str(error)}, error.status, again)
        status = _BAD_ROWS if isinstance(error, DataError) else _BROKEN
        return JSONResponse({"error": str(error)}, status)

    @service.exception_handler(ClientDisconnect)
    def let_go(_: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=_BAD_ROWS)  # nobody reads it

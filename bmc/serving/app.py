"""The HTTP interface of a bundle."""

from __future__ import annotations

import asyncio
import importlib.resources
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.requests import ClientDisconnect
from starlette.routing import Route
from starlette.types import ASGIApp

from bmc import __version__, console
from bmc.errors import BmcError, DataError, RequestError
from bmc.pipeline import Pipeline
from bmc.serving.answers import answer_of
from bmc.serving.batches import Batcher
from bmc.serving.bodies import BodyReader
from bmc.serving.metrics import Counted, Metrics
from bmc.serving.model import ServedModel
from bmc.serving.rows import rows_of
from bmc.serving.settings import ServingSettings

_PREDICT = "/predict"
_BAD_ROWS, _BROKEN, _BUSY = 422, 500, (429, 503)
_FAILED = "the model could not compute these rows; the service's log says why"
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
    batcher = Batcher(ServedModel(pipeline, settings), settings, metrics.batch)
    bodies = BodyReader(settings)
    metrics.watch(lambda: batcher.waiting)
    service = FastAPI(
        title=f"bmc: {pipeline.bundle.path.name}",
        version=__version__,
        lifespan=_running(batcher, bodies),
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
    )
    _add_pages(service, pipeline, metrics)
    parse = partial(rows_of, kind=pipeline.kind, max_rows=settings.max_waiting)
    _add_predictions(service, parse, batcher, bodies)
    _add_refusals(service)
    return Counted(service, metrics, _PREDICT, time.perf_counter)


def _running(batcher: Batcher, bodies: BodyReader) -> Any:
    """Return the lifespan of a service: the batcher runs until the last request has its answer."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        batcher.start()
        yield
        bodies.close()
        await asyncio.to_thread(batcher.close)

    return lifespan


def _add_pages(service: FastAPI, pipeline: Pipeline, metrics: Metrics) -> None:
    page = importlib.resources.files("bmc.serving").joinpath("page.html").read_text("utf-8")
    manifest = pipeline.bundle.manifest

    @service.get("/", response_class=HTMLResponse)
    async def show_page() -> HTMLResponse:
        """Show a page to try the model on."""
        return HTMLResponse(page)

    @service.get("/health")
    async def tell_health() -> dict[str, str]:
        """Tell that the model is loaded, and answered its golden rows when the service started."""
        return {"status": "ok"}

    @service.get("/bundle")
    async def describe_bundle() -> dict[str, Any]:
        """Describe the model: its kind of rows, task, labels and target."""
        return {
            "name": pipeline.bundle.path.name,
            "kind": pipeline.kind,
            "task": manifest.task,
            "labels": list(manifest.labels),
            "reject_below": manifest.reject_below,
            "target": manifest.target,
        }

    @service.get("/metrics")
    async def show_metrics() -> Response:
        """Return counts of requests, rows and batches for Prometheus."""
        return Response(metrics.text(), media_type="text/plain; version=0.0.4")


def _add_predictions(
    service: FastAPI, parse: Callable[..., list[Any]], batcher: Batcher, bodies: BodyReader
) -> None:
    async def predict(request: Request) -> Response:
        """Predict rows: {"rows": [...]}, or one text or file as the body."""
        content_type = request.headers.get("content-type", "")
        async with bodies.read(request, partial(parse, content_type=content_type)) as rows:
            results = await batcher.predict(rows)
        return await answer_of(results)

    # Starlette's route takes the requests; FastAPI's, which describes them, comes second: for each
    # request it would look for dependencies, and open three contexts.
    service.router.routes.append(Route(_PREDICT, predict, methods=["POST"]))
    service.post(_PREDICT, openapi_extra=_BODY)(predict)


def _add_refusals(service: FastAPI) -> None:
    """Answer errors with one line of JSON, as the command line has one line on stderr."""

    @service.exception_handler(BmcError)
    async def refuse(request: Request, error: BmcError) -> JSONResponse:
        if isinstance(error, RequestError):
            again = {"Retry-After": "1"} if error.status in _BUSY else None
            return JSONResponse({"error": str(error)}, error.status, again)
        if isinstance(error, DataError):
            return JSONResponse({"error": str(error)}, _BAD_ROWS)
        console.note(f"a request has no answer: {error}")
        return await fail(request, error)

    @service.exception_handler(Exception)
    async def fail(_: Request, error: Exception) -> JSONResponse:
        # The message may name folders of this machine, which are no client's business.
        return JSONResponse({"error": _FAILED}, _BROKEN)

    @service.exception_handler(ClientDisconnect)
    async def let_go(_: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=_BAD_ROWS)  # nobody reads it

"""Serves a bundle: finds it, checks it, loads it, and answers until a signal comes."""

from __future__ import annotations

from bmc import pipeline, workspace
from bmc.checking import check
from bmc.serving import app, server
from bmc.serving.settings import ServingSettings
from bmc.targets import RuntimeOptions


def serve(reference: str | None, settings: ServingSettings) -> str:
    """Answer requests with a bundle until SIGINT or SIGTERM, and return the address.

    Args:
        reference: a bundle's folder, or its name in the workspace; the newest when None.
        settings: where the service listens, how rows are batched, and what is refused.

    Raises:
        UnknownError: there is no such bundle.
        UsageError: the address is taken.
        ArtifactError: the bundle is damaged.
        GateError: the bundle's answers for its golden rows are not those of its export.
        MissingError: the bundle's runtime is not installed.
    """
    folder = workspace.find(reference, "bundle") if reference else workspace.newest("bundle")
    address = server.listen(settings)
    with address.listener:
        check(folder, RuntimeOptions(threads=settings.threads))
        with pipeline.load(folder, threads=settings.threads) as loaded:
            server.run(app.application(loaded, settings), address, settings)
    return address.url

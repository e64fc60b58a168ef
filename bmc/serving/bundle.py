"""Serves a bundle: finds it, checks it, loads it, and answers until a signal comes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from bmc import pipeline, workspace
from bmc.checking import check
from bmc.serving import app, server
from bmc.serving.settings import ServingSettings
from bmc.targets import RuntimeOptions

# Seconds after which a thread that waits for Python's lock gets it. The thread that runs the model
# needs the lock for a moment after each batch, and Python's 0.005 s are as long as a batch.
_TURN = 0.0005


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
    folder = workspace.find(reference, "bundle")
    address = server.listen(settings)
    with address.listener, _divided_cores(settings.threads):
        check(folder, RuntimeOptions(threads=settings.threads))
        with pipeline.load(folder, threads=settings.threads) as loaded:
            server.run(app.application(loaded, settings), address, settings)
    return address.url


@contextmanager
def _divided_cores(threads: int) -> Iterator[None]:
    """Divide the cores between the runtime, the tokenizer and the event loop, within the block.

    The tokenizer uses the cores that the others leave, or none but that of its caller. Variables
    of the environment that are set already are left as they are.

    Args:
        threads: threads of the runtime; 0 where it uses all cores.
    """
    cores = os.cpu_count() or 1
    spare = max(1, cores - (threads or cores) - 1)
    wishes = {"RAYON_NUM_THREADS": str(spare), "TOKENIZERS_PARALLELISM": str(spare > 1).lower()}
    added = {name: value for name, value in wishes.items() if name not in os.environ}
    turn = sys.getswitchinterval()
    os.environ.update(added)
    sys.setswitchinterval(_TURN)
    try:
        yield
    finally:
        sys.setswitchinterval(turn)
        for name in added:
            os.environ.pop(name, None)

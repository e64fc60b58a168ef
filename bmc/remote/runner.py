"""Check and measure the bundles of a runner's folder on this device, and write result.json."""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

from bmc import console
from bmc.console import Callback, Event
from bmc.errors import BmcError, MissingError
from bmc.measure import results
from bmc.measure.latency import Measured
from bmc.measure.results import GoldenCheck, Run
from bmc.remote import golden, request
from bmc.remote.request import BUNDLES, RESULT, Request

_SECONDS_BETWEEN_LINES = 10


def main(folder: Path, watched: bool) -> None:
    """Measure what the folder's request asks for, and write the result into the folder.

    Args:
        folder: the runner's folder.
        watched: whether `bootstrap` started this process: notes and progress are lines of JSON,
            and the process ends, and removes the folder, when stdin does.
    """
    try:
        with console.reporting(Callback(_lines(folder) if watched else _texts())):
            run = measure(folder, request.read(folder))
            results.save(run, folder / RESULT)
    except BmcError as error:
        sys.exit(f"bmc: {error}")
    if not watched:
        for name, reason in run.skipped.items():
            print(f"not measured: {name}: {reason}")
        print(f"wrote {folder / RESULT}: bmc bench --read takes this file, or the folder")


def measure(folder: Path, asked: Request) -> Run:
    """Check the golden outputs of the folder's bundles, then measure those that passed in turn.

    Args:
        folder: the runner's folder.
        asked: names of the bundles, and how they are measured.
    """
    checks: dict[str, GoldenCheck] = {}
    failed: dict[str, str] = {}
    missing: dict[str, str] = {}
    for name in asked.bundles:
        console.note(f"checking the golden outputs of {name}")
        try:
            checks[name] = golden.check(folder / BUNDLES / name)
        except MissingError as error:
            missing[name] = _without(folder, str(error))
        except BmcError as error:
            failed[name] = _without(folder, str(error))
    passed = [folder / BUNDLES / name for name in checks]
    run = results.measure_bundles(
        passed, asked.threads, asked.settings, asked.precision, skip_broken=True
    )
    skipped = {name: _without(folder, reason) for name, reason in run.skipped.items()}
    skipped |= missing | failed
    return replace(
        run,
        device=platform.node() or "device",
        checks=checks,
        # A TensorRT engine may have been built again here; the bundle is still the one that came.
        rows=tuple(replace(row, manifest_sha256=asked.bundles[row.name]) for row in run.rows),
        samples=tuple(map(_named, run.samples)),
        skipped=skipped,
        skipped_sha256={name: asked.bundles[name] for name in skipped},
        failed=(*run.failed, *failed),
    )


def _named(measured: Measured) -> Measured:
    """Replace the path of a bundle on this device by its name."""
    candidate = replace(measured.candidate, bundle=Path(measured.candidate.bundle.name))
    return replace(measured, candidate=candidate)


def _without(folder: Path, message: str) -> str:
    """Remove the runner's folder from a message."""
    return message.replace(f"{folder / BUNDLES}/", "")


def _lines(folder: Path) -> Callable[[Event], None]:
    """Return a function that writes events as lines of JSON; end this process when stdin ends."""
    stream = os.dup(1)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)  # keeps what native code prints out of the messages
    threading.Thread(target=_end_with_stdin, args=(folder,), daemon=True).start()

    def write(event: Event) -> None:
        with suppress(BrokenPipeError):  # `_end_with_stdin` ends this process then
            os.write(stream, json.dumps({"bmc": "event", **asdict(event)}).encode() + b"\n")

    return write


def _end_with_stdin(folder: Path) -> None:
    """Wait until stdin ends, which only happens when `bootstrap` was killed; leave nothing."""
    while os.read(0, 1):
        pass
    shutil.rmtree(folder, ignore_errors=True)
    os.killpg(0, signal.SIGKILL)


def _texts() -> Callable[[Event], None]:
    """Return a function that prints notes, and progress every ten seconds."""
    printed = time.monotonic()

    def write(event: Event) -> None:
        nonlocal printed
        now = time.monotonic()
        if event.done is None:
            print(event.text, flush=True)
        elif now - printed >= _SECONDS_BETWEEN_LINES:
            printed = now
            print(f"{event.text}: {event.done} of {event.total} {event.unit}", flush=True)

    return write

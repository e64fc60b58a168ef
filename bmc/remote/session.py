"""Measure bundles on a device over one ssh connection."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from bmc import console, disk
from bmc.errors import ArtifactError, BmcError, MissingError, StorageError
from bmc.measure import results
from bmc.measure.results import Run
from bmc.remote.destination import Destination
from bmc.remote.parcel import Parcel
from bmc.remote.ssh import Connection, python_command
from bmc.typed import read_as

_BOOTSTRAP = Path(__file__).with_name("bootstrap.py")
_OLDEST_PYTHON = (3, 10)
_MAX_RESULT = 1 << 30
_CHUNK = 1 << 18
Message = dict[str, Any]
# Members of each message of the device, as `bootstrap` and the runner write them.
_MEMBERS: dict[str, dict[str, Any]] = {
    "no python": {},
    "hello": {"python": list[int], "missing": list[str], "free": int},
    "received": {},
    "event": {"text": str, "done": int | None, "total": int | None, "unit": str},
    "result": {"bytes": int},
    "died": {"code": int},
    "error": {"kind": str, "text": str},
}


def measure_on(destination: Destination, parcel: Parcel, python: str) -> Run:
    """Send a parcel to a device, let it measure, and return its result.

    However this function ends, the device kills what it started for it, and removes its files.

    Args:
        destination: the device.
        parcel: bundles, runner and request.
        python: the device's Python, such as "python3" or "venv/bin/python".

    Raises:
        MissingError: the device cannot be reached, or lacks Python or a package.
        StorageError: the device's disk is full or not writable.
        ArtifactError: a bundle changed on the way, or the result is not of these bundles.
        BmcError: the runner crashed.
    """
    started = results.now()  # a board without a battery does not know the time
    program = _BOOTSTRAP.read_text(encoding="utf-8")
    command = python_command(python, program, ",".join(parcel.asked.packages))
    with Connection(destination, command) as connection:
        hello = _expect(connection, destination, "hello", "no python")
        _check(hello, destination, parcel, python)
        _send(connection, destination, parcel)
        _expect(connection, destination, "received")
        connection.keep_alive()
        size = _follow(connection, destination)
        data = connection.exactly(size)
        if len(data) < size:
            raise connection.failure()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"result of {destination.text.replace('/', '-')}"
        disk.write(path, data)
        run = replace(results.read(path), device=destination.text, started=started)
    check_bundles(run, parcel.asked.bundles, destination.text)
    return run


def check_bundles(run: Run, bundles: dict[str, str], source: str) -> None:
    """Check that a run measured certain bundles.

    Args:
        run: the run.
        bundles: sha256 of each bundle's manifest, by name.
        source: what the run was read from, for the message.

    Raises:
        ArtifactError: the run measured a bundle of another name or content.
    """
    measured = [(row.name, row.manifest_sha256) for row in run.rows]
    for name, digest in (*measured, *run.skipped_sha256.items()):
        if name not in bundles:
            raise ArtifactError(
                f"{source} has results of {name!r:.80}, which is not among the bundles "
                f"{', '.join(bundles):.200}; name that bundle, too"
            )
        if bundles[name] != digest:
            raise ArtifactError(
                f"{source} has results of another {name} (manifest {digest[:16]}..., here "
                f"{bundles[name][:16]}...): the bundle was exported again; measure it again"
            )


def _message(connection: Connection, destination: Destination) -> Message:
    """Return the next message; lines that a login shell or a library prints are passed over."""
    while line := connection.line():
        message = _read(line)
        if message is not None:
            _raise_error(message, destination)
            return message
    raise connection.failure()


def _read(line: bytes) -> Message | None:
    """Return the message in a line; None for a line that is none."""
    try:
        message = json.loads(line)
        if not isinstance(message, dict) or message.get("bmc") not in tuple(_MEMBERS):
            return None
        for name, hint in _MEMBERS[message["bmc"]].items():
            read_as(hint, message.get(name), name)
    except (ValueError, RecursionError):
        return None
    return message


def _raise_error(message: Message, destination: Destination) -> None:
    if message["bmc"] != "error":
        return
    text, name = message["text"][:300], destination.text
    if message["kind"] == "storage":
        raise StorageError(
            f"{name} cannot store what it was sent: {text}; free some space there, or let TMPDIR "
            "there name a folder on another disk"
        )
    raise ArtifactError(
        f"{text} arrived at {name} with other content than it has here: was it changed meanwhile? "
        "Run the command again"
    )


def _check(hello: Message, destination: Destination, parcel: Parcel, python: str) -> None:
    """Refuse a device that lacks Python, a package or space.

    Raises:
        MissingError: Python is missing or too old, or a package is missing.
        StorageError: the parcel is larger than the free space.
    """
    name, needed = destination.text, " ".join(parcel.asked.packages)
    if hello["bmc"] == "no python":
        raise MissingError(
            f"{name} has no {python}; install it there (sudo apt install python3 python3-venv), "
            "then python3 -m venv bench there, "
            f"bench/bin/pip install {needed}, and here --python bench/bin/python"
        )
    version = tuple(hello["python"])
    if version < _OLDEST_PYTHON:
        raise MissingError(
            f"{python} on {name} is Python {'.'.join(map(str, version))}; 3.10 or newer is needed: "
            "install one there, and name it with --python"
        )
    if hello["missing"]:
        lacking = " ".join(map(str, hello["missing"]))
        raise MissingError(
            f"{python} on {name} lacks {lacking}; run there: {python} -m pip install {lacking} "
            "(--python venv/bin/python names the Python of a virtual environment there)"
        )
    if hello["free"] < parcel.size:
        raise StorageError(
            f"{name} has {hello['free'] / 1e6:.0f} MB free for temporary files, and "
            f"{parcel.size / 1e6:.0f} MB are sent; free some space there, or let TMPDIR there name "
            "a folder on another disk"
        )


def _send(connection: Connection, destination: Destination, parcel: Parcel) -> None:
    """Send all files; stop early if the device does not read, which its message then explains."""
    listed = [[name, each.size, each.sha256] for name, each in parcel.files.items()]
    text = f"sending to {destination.text}"
    with console.progress(text, parcel.size, unit="bytes") as advance:
        if not connection.send(json.dumps({"files": listed}).encode() + b"\n"):
            return
        for content in parcel.files.values():
            for part in content.parts(_CHUNK):
                if not connection.send(part):
                    return
                advance(len(part))


def _expect(connection: Connection, destination: Destination, *kinds: str) -> Message:
    message = _message(connection, destination)
    if message["bmc"] not in kinds:
        raise BmcError(f"{destination.text} sent {message['bmc']!r} in place of {kinds[0]!r}")
    return message


def _follow(connection: Connection, destination: Destination) -> int:
    """Show the notes and the progress of the runner; return the size of its result."""
    with ExitStack() as stack:
        shown = _Progress(stack)
        while True:
            message = _message(connection, destination)
            if message["bmc"] == "event":
                shown.show(message)
            elif message["bmc"] == "result" and 0 < message["bytes"] <= _MAX_RESULT:
                return int(message["bytes"])
            elif message["bmc"] == "died":
                raise connection.death(int(message["code"]))
            else:
                raise connection.failure()


class _Progress:
    """Show the progress of one work after the other.

    Args:
        stack: what the progress that is shown ends with.
    """

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._done = 0
        self._advance: Callable[[int], None] | None = None

    def show(self, event: Message) -> None:
        """Show a note, or the progress of the present work."""
        text, done = str(event["text"]), event["done"]
        if done is None:
            console.note(text)
            return
        if self._advance is None or done < self._done:
            self._stack.close()
            work = console.progress(text, int(event["total"] or 0), str(event["unit"]))
            self._advance, self._done = self._stack.enter_context(work), 0
        self._advance(done - self._done)
        self._done = done

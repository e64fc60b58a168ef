"""Receive a runner and bundles on stdin, let the runner measure, and send its result on stdout.

This file is the text of `python -c` on a device, started over ssh: it imports the standard library
alone. Every message is one line of JSON with the key "bmc"; other lines are the device's own.

device    {"bmc": "hello", "python": [3, 11, 2], "missing": ["numpy"], "free": 1000000}
sender    {"files": [["run.py", 1200, "<sha256>"], ...]}, then the bytes of all files
device    {"bmc": "received"}, then the lines of the runner
device    {"bmc": "result", "bytes": 5000}, then the bytes

While the runner works, the sender writes a byte every few seconds. If stdin ends or stays silent,
or if this process is told to end, the runner and its processes are killed and the folder removed.
"""

import hashlib
import importlib.util
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

SILENCE_SECONDS = 60.0
_CHUNK = 1 << 16


class CutError(Exception):
    """The sender is gone."""


class ChangedError(Exception):
    """A file arrived with other content."""


class Input:
    """The bytes on stdin, which end or pause when the sender is gone."""

    def __init__(self) -> None:
        self._waiting = b""

    def line(self) -> bytes:
        """Return the next line."""
        while b"\n" not in self._waiting:
            self._waiting += self._chunk()
        line, _, self._waiting = self._waiting.partition(b"\n")
        return line

    def parts(self, size: int) -> "Iterator[bytes]":
        """Yield the next bytes, so many in all."""
        while size:
            self._waiting = self._waiting or self._chunk()
            part, self._waiting = self._waiting[:size], self._waiting[size:]
            yield part
            size -= len(part)

    def _chunk(self) -> bytes:
        ready, _, _ = select.select([0], [], [], SILENCE_SECONDS)
        data = os.read(0, _CHUNK) if ready else b""
        if not data:
            raise CutError
        return data


def main(packages: str) -> None:
    """Measure for the sender on stdin.

    Args:
        packages: packages that the runner imports, separated by commas.
    """
    for name in ("SIGTERM", "SIGHUP", "SIGINT"):
        signal.signal(getattr(signal, name), _leave)
    folder = tempfile.mkdtemp(prefix="bmc-bench-")
    try:
        send(
            bmc="hello",
            python=list(sys.version_info[:3]),
            missing=[
                name for name in packages.split(",") if importlib.util.find_spec(name) is None
            ],
            free=shutil.disk_usage(folder).free,
        )
        receive(Input(), folder)
        send(bmc="received")
        measure(folder)
    except CutError:
        pass
    except ChangedError as error:
        send(bmc="error", kind="changed", text=str(error))
    except OSError as error:
        send(bmc="error", kind="storage", text="%s (%s)" % (error.strerror, folder))  # noqa: UP031
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def receive(source: Input, folder: str) -> None:
    """Write the sent files below a folder.

    Raises:
        CutError: the sender is gone.
        ChangedError: a file has another sha256 than its sender says.
        OSError: the disk is full or not writable.
    """
    header = json.loads(source.line().decode())
    for name, size, expected in header["files"]:
        path = os.path.join(folder, *name.split("/"))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        digest = hashlib.sha256()
        with open(path, "wb") as file:
            for part in source.parts(size):
                digest.update(part)
                file.write(part)
        if digest.hexdigest() != expected:
            raise ChangedError(name)


def measure(folder: str) -> None:
    """Start the runner, pass its lines on, and send its result.

    Raises:
        CutError: the sender is gone.
    """
    process = subprocess.Popen(
        [sys.executable, "run.py", "--watched"],
        cwd=folder,
        stdin=subprocess.PIPE,  # the runner ends, and removes the folder, when this pipe does
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        relay(process)
        code = process.wait()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    try:
        with open(os.path.join(folder, "result.json"), "rb") as file:
            result = file.read()
    except FileNotFoundError:
        send(bmc="died", code=code)
        return
    send(bmc="result", bytes=len(result))
    _write(result)


def relay(process: "subprocess.Popen[bytes]") -> None:
    """Pass the lines of the runner on until the runner ends.

    Raises:
        CutError: the sender is gone.
    """
    output = process.stdout.fileno() if process.stdout else -1
    heard = time.monotonic()
    while True:
        ready, _, _ = select.select([0, output], [], [], SILENCE_SECONDS / 4)
        if output in ready:
            data = os.read(output, _CHUNK)
            if not data:
                return
            _write(data)
        if 0 in ready:
            if not os.read(0, _CHUNK):
                raise CutError
            heard = time.monotonic()
        elif time.monotonic() - heard > SILENCE_SECONDS:
            raise CutError


def send(**message: Any) -> None:
    """Write one message."""
    _write(json.dumps(message).encode() + b"\n")


def _write(data: bytes) -> None:
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except OSError as error:
        raise CutError from error


def _leave(number: int, frame: Any) -> None:
    raise CutError


if __name__ == "__main__":
    main(sys.argv[1])

"""Run a program on another machine with the OpenSSH client; keys only, and known hosts only."""

from __future__ import annotations

import base64
import shlex
import subprocess
import tempfile
import threading
import zlib
from contextlib import suppress
from types import TracebackType
from typing import IO

from bmc.errors import BmcError, MissingError
from bmc.remote.destination import Destination
from bmc.remote.failures import death_of, failure_of

HEARTBEAT_SECONDS = 5.0
_CLOSING_SECONDS = 15.0
_MAX_LINE = 1 << 20
_OPTIONS = (
    *("-T", "-a", "-x"),  # no terminal, and neither the agent nor the display is forwarded
    *("-o", "BatchMode=yes"),  # keys alone: nobody is there to type a password
    *("-o", "StrictHostKeyChecking=yes"),
    *("-o", "ClearAllForwardings=yes"),
    *("-o", "ConnectTimeout=20"),
    *("-o", "ServerAliveInterval=15"),
    *("-o", "ServerAliveCountMax=4"),
)


class Connection:
    """A program that runs on another machine, with its stdin and stdout; a context manager.

    When the block ends, stdin is closed: the program must end then.

    Args:
        destination: the machine.
        command: command line for the login shell there.

    Raises:
        MissingError: there is no OpenSSH client here.
    """

    def __init__(self, destination: Destination, command: str) -> None:
        self._destination = destination
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  closed in __exit__
        self._stop = threading.Event()
        self._is_open = False  # whether the program has sent something
        self._pulse: threading.Thread | None = None
        port = ["-p", str(destination.port)] if destination.port else []
        try:
            self._process = subprocess.Popen(
                ["ssh", *_OPTIONS, *port, "--", destination.login, command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                # Ctrl-C reaches bmc alone, which closes stdin: the program there then cleans up.
                start_new_session=True,
            )
        except FileNotFoundError as error:
            self._errors.close()
            raise MissingError(
                "a device is reached with the OpenSSH client, and there is no ssh here: install it "
                "(apt install openssh-client)"
            ) from error

    def send(self, data: bytes) -> bool:
        """Send bytes; return whether the program still reads."""
        try:
            self._stdin.write(data)
            self._stdin.flush()
        except OSError:
            return False
        return True

    def line(self) -> bytes:
        """Return the next line of the program's output; b"" at its end."""
        line = self._stdout.readline(_MAX_LINE)
        self._is_open = self._is_open or bool(line)
        return line

    def exactly(self, size: int) -> bytes:
        """Return the next bytes of the program's output; fewer at its end."""
        return self._stdout.read(size)

    def keep_alive(self) -> None:
        """Send a byte every few seconds from now on, which tells that this side is there."""
        self._pulse = threading.Thread(target=self._beat, daemon=True)
        self._pulse.start()

    def failure(self) -> BmcError:
        """Return the error for a connection that ended too early, from what ssh says."""
        code = self._wait()
        return failure_of(self._destination, code, self._said(), self._is_open)

    def death(self, code: int) -> BmcError:
        """Return the error for a program there that ended with a code, or by a signal below 0."""
        self._wait()
        return death_of(self._destination, code, self._said())

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._wait()
        self._stdout.close()
        self._errors.close()

    @property
    def _stdin(self) -> IO[bytes]:
        if self._process.stdin is None:
            raise BmcError("the ssh process has no input")
        return self._process.stdin

    @property
    def _stdout(self) -> IO[bytes]:
        if self._process.stdout is None:
            raise BmcError("the ssh process has no output")
        return self._process.stdout

    def _said(self) -> list[str]:
        """Return the lines that ssh and the program wrote to stderr."""
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").splitlines()
        return [line.strip() for line in lines if line.strip()]

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            if not self.send(b"\n"):
                return

    def _wait(self) -> int:
        """Close stdin, and wait until ssh ends; one that does not end is killed."""
        self._stop.set()
        if self._pulse is not None:
            self._pulse.join()
        with suppress(OSError):
            self._stdin.close()
        try:
            return self._process.wait(_CLOSING_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


def python_command(python: str, program: str, argument: str) -> str:
    """Return the command line that runs a Python program on a machine with a Unix shell.

    The program is encoded: login shells differ in how they read quotes and line breaks.

    Args:
        python: the Python there, such as "python3"; a path is relative to the home folder.
        program: text of the program.
        argument: its argument.
    """
    there = shlex.quote(python.removeprefix("~/"))
    absent = shlex.quote('{"bmc": "no python"}')
    encoded = base64.b64encode(zlib.compress(program.encode())).decode()
    line = f'import base64, zlib; exec(zlib.decompress(base64.b64decode("{encoded}")))'
    shell = (
        f"if command -v {there} >/dev/null 2>&1; "
        f"then exec {there} -c {shlex.quote(line)} {shlex.quote(argument)}; "
        f"else echo {absent}; fi"
    )
    return f"exec sh -c {shlex.quote(shell)}"

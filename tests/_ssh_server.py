"""A real SSH server on loopback, for tests that log in with the OpenSSH client.

`python -m tests._ssh_server FOLDER` serves until stdin ends; it prints the destination, and the
folder with the `ssh` that logs in, as a line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import asyncssh
import psutil

_SECONDS = 30


class Server:
    """An SSH server of this user on 127.0.0.1, with a folder for the temporary files of logins.

    Args:
        folder: an empty folder for keys, configuration and temporary files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self.prefix = ""  # shell text that stands before each command
        self.processes: list[int] = []  # of logins, the newest last
        self.port = 0
        self._ssh = shutil.which("ssh")
        self._loop = asyncio.new_event_loop()
        self._keys = {name: asyncssh.generate_private_key("ssh-ed25519") for name in ("host", "me")}
        self._acceptor: asyncssh.SSHAcceptor | None = None

    @property
    def destination(self) -> str:
        """The server as `--on` takes it."""
        return f"someone@127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Cut the connections that this process has opened: kill their clients."""
        for process in psutil.Process().children():
            if process.name() == "ssh":
                process.kill()

    def leftovers(self) -> list[str]:
        """Return the temporary files and the running processes of all logins."""
        files = [path.name for path in self.temporary.iterdir()]
        running = []
        for process in psutil.process_iter():
            try:
                folder = process.environ().get("TMPDIR")
                if folder == str(self.temporary) and process.status() != psutil.STATUS_ZOMBIE:
                    running.append(" ".join(process.cmdline()))
            except psutil.Error:
                continue
        return files + running

    def write_client(self, known: bool = True, key: bool = True) -> Path:
        """Write an `ssh` that logs in here with a configuration of its own; return its folder.

        Args:
            known: whether the server's host key is known.
            key: whether the server knows the client's key.
        """
        client = self.folder / f"client-{known}-{key}"
        client.mkdir(exist_ok=True)
        host = self._keys["host"].export_public_key().decode()
        line = f"[127.0.0.1]:{self.port} {host}" if known else ""
        (client / "known_hosts").write_text(line)
        mine = self._keys["me"] if key else asyncssh.generate_private_key("ssh-ed25519")
        mine.write_private_key(client / "key")
        (client / "key").chmod(0o600)
        (client / "config").write_text(
            f"IdentityFile {client / 'key'}\nIdentitiesOnly yes\nIdentityAgent none\n"
            f"UserKnownHostsFile {client / 'known_hosts'}\nGlobalKnownHostsFile none\n"
        )
        script = client / "ssh"
        script.write_text(
            f'#!/bin/sh\nPATH={os.environ["PATH"]}\nexec ssh -F {client}/config "$@"\n'
        )
        script.chmod(0o755)
        return client

    def start(self) -> None:
        """Listen on a free port."""
        ready = threading.Event()
        threading.Thread(target=self._run, args=(ready,), daemon=True).start()
        if not ready.wait(_SECONDS):
            raise RuntimeError("the SSH server did not start")

    def stop(self) -> None:
        """Kill what still runs, and end."""
        for process in self.processes:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._listen())
        ready.set()
        self._loop.run_forever()

    async def _end(self) -> None:
        if self._acceptor is not None:
            self._acceptor.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _listen(self) -> None:
        authorized = self.folder / "authorized_keys"
        authorized.write_bytes(self._keys["me"].export_public_key())
        self._acceptor = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[self._keys["host"]],
            authorized_client_keys=str(authorized),
            process_factory=self._serve,
            encoding=None,
        )
        self.port = self._acceptor.get_port()

    async def _serve(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        child = await asyncio.create_subprocess_exec(
            *("/bin/sh", "-c", f"{self.prefix}{process.command}"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.folder,
            env={**os.environ, "TMPDIR": str(self.temporary)},
            start_new_session=True,
        )
        self.processes.append(child.pid)
        incoming = asyncio.create_task(_pass_on(process.stdin, child.stdin))
        await asyncio.gather(
            _pass_on(child.stdout, process.stdout), _pass_on(child.stderr, process.stderr)
        )
        code = await child.wait()
        incoming.cancel()
        process.exit(code if code >= 0 else 128 - code)


async def _pass_on(reader: Any, writer: Any) -> None:
    """Copy bytes until the reader ends or one of both is gone; a program's stdin is closed then."""
    with suppress(asyncssh.Error, OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    if isinstance(writer, asyncio.StreamWriter):
        writer.close()


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """Run a server while the block runs."""
    server = Server(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def main() -> None:
    """Serve in the folder that the command line names until stdin ends."""
    with serving(Path(sys.argv[1])) as server:
        client = str(server.write_client())
        print(json.dumps({"destination": server.destination, "client": client}), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()

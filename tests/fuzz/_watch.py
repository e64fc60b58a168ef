"""What a fuzzed case opens: an audit hook sees Python's opens, inotify those of native code."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from typing import Any

_IN_ACCESS, _IN_OPEN = 0x1, 0x20
_IN_NONBLOCK = os.O_NONBLOCK
_NEVER = (
    *("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.bind"),
    *("subprocess.Popen", "os.exec", "os.posix_spawn", "os.spawn", "os.system", "os.fork"),
    *("ctypes.dlopen", "webbrowser.open"),
)
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_SYSTEM = ("/proc", "/sys", "/usr/lib", "/lib")
CANARIES = ("secret.txt", "secret.bin", "tokenizer.json", "model.bin")


def watch_opens(work: Path) -> list[str]:
    """Return a list that fills with what is opened outside `work`, connected to or started.

    Python's own installation and this repository may be read: code is imported late. The hook
    stays for the life of the process.
    """
    seen: list[str] = []
    repository = Path(__file__).resolve().parents[2]
    readable = tuple(
        os.path.realpath(path)
        for path in (*sys.path[1:], sys.prefix, sys.base_prefix, str(repository), *_SYSTEM)
    )
    readable += ("/dev/null", "/dev/urandom", "/etc/localtime", "/usr/share/zoneinfo")
    ours = (str(work.resolve()),)
    canaries = str(work.resolve() / "outside")

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _NEVER:
            seen.append(f"{event} {arguments!r:.100}")
        elif event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            path = os.path.realpath(os.fsdecode(arguments[0]))
            writes = isinstance(arguments[2], int) and arguments[2] & _WRITES
            inside = path.startswith(ours) and not path.startswith(canaries)
            if not inside and (writes or not path.startswith(readable)) and path != "/dev/null":
                seen.append(path)

    sys.addaudithook(hook)
    return seen


class Canaries:
    """Files that nobody may open, watched by the kernel: native code is seen too.

    Args:
        folder: where they lie; a case may link to them.
    """

    def __init__(self, folder: Path) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._file = self._libc.inotify_init1(_IN_NONBLOCK)
        self._libc.inotify_add_watch(self._file, os.fsencode(folder), _IN_OPEN | _IN_ACCESS)

    def touched(self) -> list[str]:
        """Return the names of the canaries opened since the last call."""
        try:
            data = os.read(self._file, 1 << 16)
        except BlockingIOError:
            return []
        names = []
        while data:
            size = int.from_bytes(data[12:16], sys.byteorder)
            name = data[16 : 16 + size].rstrip(b"\0").decode()
            directory = int.from_bytes(data[4:8], sys.byteorder) & 0x40000000
            names += [] if directory or not name else [f"the canary {name}"]
            data = data[16 + size :]
        return names

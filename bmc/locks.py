"""Lock outputs, so that one command writes an output at a time.

A lock is the file .NAME.bmc-lock in the folder of the output. The system locks the file for the
process that has opened it, and frees the lock when the process ends, also when it is killed. The
file is removed when the lock is released.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bmc import console, disk
from bmc.errors import UsageError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

SUFFIX = ".bmc-lock"
_BUSY = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES}
# Errors of file systems without locks; bmc then works without.
_NOT_SUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
PATIENCE = 0.5  # seconds; a command that only cleans up a folder holds a lock for less
_held: set[tuple[int, int, Path]] = set()


class BusyError(UsageError):
    """Another command is writing the same output."""


@contextmanager
def alone(path: Path, patience: float = PATIENCE) -> Iterator[bool]:
    """Hold the lock of an output while the block runs.

    The value of the block is True. A nested block of the same thread and path gets False, and the
    outer block keeps the lock.

    Args:
        path: path of the output; nothing needs to exist there.
        patience: seconds to wait for another command; may be infinite.

    Raises:
        BusyError: another command holds the lock; the message names its process.
        OSError: the folder cannot be written.
    """
    path = path.absolute()
    key = (os.getpid(), threading.get_ident(), path)
    if key in _held:
        yield False
        return
    lock = path.with_name(f".{path.name}{SUFFIX}")
    descriptor, created = _wait(lock, path, patience)
    _held.add(key)
    try:
        yield True
    finally:
        _held.discard(key)
        _release(lock, descriptor, created)


def _wait(lock: Path, path: Path, patience: float) -> tuple[int, list[Path]]:
    """Take a lock; return its descriptor, and the folders that were created for it."""
    deadline = time.monotonic() + patience
    note_time = time.monotonic() + 2
    created: list[Path] = []
    while True:
        created += disk.make_folders(lock.parent)
        with suppress(FileNotFoundError):  # the last holder removed the empty folder
            descriptor = _take(lock)
            if descriptor is not None:
                return descriptor, created
        now = time.monotonic()
        if now >= deadline:
            raise BusyError(
                f"{path} is being written by another bmc command{_holder(lock)}; "
                "wait for it, or name another place with --output"
            )
        if now >= note_time:
            note_time = float("inf")
            console.note(f"waiting for another bmc command{_holder(lock)} that writes {path}")
        time.sleep(0.05)


def _take(lock: Path) -> int | None:
    """Open and lock a file; return None where another process holds the lock."""
    descriptor = disk.open_lock(lock)
    try:
        _lock(descriptor)
        on_disk = lock.stat()
        opened = os.fstat(descriptor)
        if (on_disk.st_ino, on_disk.st_dev) != (opened.st_ino, opened.st_dev):
            raise FileNotFoundError  # the last holder has just removed the opened file
        os.truncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
    except OSError as error:
        os.close(descriptor)
        if error.errno in _BUSY:
            return None
        raise
    return descriptor


def _lock(descriptor: int) -> None:
    try:
        if sys.platform == "win32":
            # The locked byte lies behind the process id, which other processes read.
            os.lseek(descriptor, 2**30, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            os.lseek(descriptor, 0, os.SEEK_SET)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _NOT_SUPPORTED:
            raise


def _release(lock: Path, descriptor: int, created: list[Path]) -> None:
    """Remove a lock file, and the folders created for it that are empty."""
    with suppress(OSError):  # the folder is now read-only, or was removed
        disk.remove(lock)
    with suppress(OSError):
        os.close(descriptor)
    for folder in reversed(created):
        if not disk.remove_folder(folder):
            break


def _holder(lock: Path) -> str:
    """Return the process that holds a lock, in words; "" when unknown."""
    try:
        number = lock.read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""
    return f" (process {number})" if number.isdecimal() else ""

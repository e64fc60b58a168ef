"""Locks: one command writes an output at a time; a killed command's lock is free at once.

A lock is a file beside the output, .NAME.bmc-lock, that the system locks for the process that has
it open; the file is removed when the lock is given back.
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
_WITHOUT = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}  # a file system's
PATIENCE = 0.5  # seconds: who merely sweeps holds a lock for less
_held: set[tuple[int, int, Path]] = set()


class BusyError(UsageError):
    """Another command is writing the same output."""


@contextmanager
def alone(path: Path, patience: float = PATIENCE) -> Iterator[bool]:
    """Hold the lock of a file or folder, which need not exist, for as long as the block runs.

    The thread that holds it may take it again: then it gets False, and the first block keeps it.

    Args:
        path: what is going to be written.
        patience: seconds to wait for another command; infinite is possible.

    Raises:
        BusyError: another command has it; the message names its process.
        OSError: the folder cannot be written.
    """
    path = path.absolute()
    key = (os.getpid(), threading.get_ident(), path)
    if key in _held:
        yield False
        return
    lock = path.with_name(f".{path.name}{SUFFIX}")
    descriptor, made = _wait(lock, path, patience)
    _held.add(key)
    try:
        yield True
    finally:
        _held.discard(key)
        _give_back(lock, descriptor, made)


def _wait(lock: Path, path: Path, patience: float) -> tuple[int, list[Path]]:
    """Take a lock; return its descriptor, and the folders that were made for it."""
    until = time.monotonic() + patience
    said = time.monotonic() + 2
    made: list[Path] = []
    while True:
        made += disk.make_folders(lock.parent)
        with suppress(FileNotFoundError):  # who held it took the folder away, as it was empty
            descriptor = _take(lock)
            if descriptor is not None:
                return descriptor, made
        now = time.monotonic()
        if now >= until:
            raise BusyError(
                f"{path} is being written by another bmc command{_holder(lock)}; "
                "wait for it, or name another place with --output"
            )
        if now >= said:
            said = float("inf")
            console.note(f"waiting for another bmc command{_holder(lock)} that writes {path}")
        time.sleep(0.05)


def _take(lock: Path) -> int | None:
    """Open and lock a file; None where another process has it."""
    descriptor = disk.open_lock(lock)
    try:
        _lock(descriptor)
        here = lock.stat()
        own = os.fstat(descriptor)
        if (here.st_ino, here.st_dev) != (own.st_ino, own.st_dev):
            raise FileNotFoundError  # its last holder has just removed it
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
            os.lseek(descriptor, 2**30, os.SEEK_SET)  # far from the number that others read
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            os.lseek(descriptor, 0, os.SEEK_SET)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _WITHOUT:
            raise


def _give_back(lock: Path, descriptor: int, made: list[Path]) -> None:
    with suppress(OSError):  # a folder that became read-only, or is gone
        disk.remove(lock)
    with suppress(OSError):
        os.close(descriptor)
    for folder in reversed(made):
        if not disk.remove_folder(folder):
            break


def _holder(lock: Path) -> str:
    try:
        number = lock.read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""
    return f" (process {number})" if number.isdecimal() else ""

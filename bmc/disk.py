"""Every change that bmc makes on disk, one function each: what is watched here is all of them.

Libraries that write by themselves (safetensors, OpenVINO, numpy) write into a folder or file that
was made here, and what they wrote is settled and renamed here.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

Watcher = Callable[[str, Path], None]
"""Called with an operation's name and path before it is done; it may raise, or end the process."""

_AT_FDCWD = -100
_EXCHANGE = 2
_CANNOT = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM}
_watchers: list[Watcher] = []


def watch(watcher: Watcher) -> None:
    """Let a function see each operation before it is done: tests kill and fail them so."""
    _watchers.append(watcher)


def unwatch(watcher: Watcher) -> None:
    """Take a watcher away again."""
    _watchers.remove(watcher)


def _about_to(operation: str, path: Path) -> None:
    for watcher in _watchers:
        watcher(operation, path)


def write(path: Path, data: bytes) -> None:
    """Write a file, with the mode that the umask leaves."""
    _about_to("open", path)
    with path.open("wb") as file:
        file.write(data)


def create(path: Path) -> None:
    """Make an empty file that was not there."""
    _about_to("open", path)
    path.open("xb").close()


def open_lock(path: Path) -> int:
    """Open a lock file, made if it is not there; a link is not followed."""
    _about_to("open", path)
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    return os.open(path, flags, 0o666)


def make_folder(path: Path, mode: int = 0o777) -> None:
    """Make a folder, with the mode that the umask leaves of `mode`."""
    _about_to("mkdir", path)
    path.mkdir(mode)


def make_folders(path: Path) -> list[Path]:
    """Make a folder and those above it; return the new ones, the outermost first."""
    missing = [one for one in (path, *path.parents) if not one.exists()][::-1]
    for one in missing:
        _about_to("mkdir", one)
        try:
            one.mkdir(exist_ok=True)
        except FileNotFoundError:  # another command has just removed an empty one above it
            return make_folders(path)
    return missing


def sync(path: Path) -> None:
    """Have a file's content, or a folder's names, really stored."""
    _about_to("fsync", path)
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags)
    except (PermissionError, IsADirectoryError):
        if path.is_dir():  # Windows opens no folders, nor does one with the right to write alone
            return
        raise
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT:  # a file system without it
            raise
    finally:
        os.close(descriptor)


def change_mode(path: Path, mode: int) -> None:
    """Set who may read and write a file."""
    _about_to("chmod", path)
    path.chmod(mode)


def rename(old: Path, new: Path) -> None:
    """Give a file or folder another name; a file of that name is replaced."""
    _about_to("rename", new)
    old.replace(new)


def exchange(one: Path, other: Path) -> bool:
    """Swap the names of two files or folders in one step; False where the system has no such step.

    Source: renameat2(2), RENAME_EXCHANGE: Linux 3.15 and most of its file systems.
    """
    try:
        swap = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    _about_to("rename", other)
    names = os.fsencode(one), os.fsencode(other)
    if swap(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _CANNOT:
        return False
    raise OSError(number, os.strerror(number), str(other))


def remove(path: Path) -> None:
    """Remove a file, if it is there."""
    _about_to("unlink", path)
    path.unlink(missing_ok=True)


def remove_folder(path: Path) -> bool:
    """Remove a folder if it is empty; tell whether it was."""
    _about_to("unlink", path)
    try:
        path.rmdir()
    except OSError:
        return False
    return True


def remove_tree(path: Path) -> None:
    """Remove a folder with all that it holds, or a file; what resists stays."""
    _about_to("unlink", path)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)

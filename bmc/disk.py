"""All changes that bmc makes on the disk, one function for each, so that tests can watch them.

Libraries that write files themselves (safetensors, OpenVINO, numpy) write into a file or folder
that these functions created, and these functions sync and rename the result.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

Watcher = Callable[[str, Path], None]
"""A function that is called with the name and path of each operation before the operation; it may
raise an exception or end the process."""

_AT_FDCWD = -100
_EXCHANGE = 2
_NOT_SUPPORTED = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM}
_watchers: list[Watcher] = []


def watch(watcher: Watcher) -> None:
    """Call a function before each operation; tests use it to make operations fail."""
    _watchers.append(watcher)


def unwatch(watcher: Watcher) -> None:
    """Remove a watcher."""
    _watchers.remove(watcher)


def _about_to(operation: str, path: Path) -> None:
    for watcher in _watchers:
        watcher(operation, path)


def write(path: Path, data: bytes) -> None:
    """Write a file; its mode is set by the umask."""
    _about_to("open", path)
    with path.open("wb") as file:
        file.write(data)


def opened(path: Path) -> BinaryIO:
    """Open a file for writing, and empty it; its mode is set by the umask."""
    _about_to("open", path)
    return path.open("wb")


def copy(path: Path, new: Path) -> None:
    """Copy a file's content to a new file; its mode is set by the umask."""
    _about_to("open", new)
    shutil.copyfile(path, new)


def link(path: Path, new: Path) -> None:
    """Give a file a second name, or copy it where the file system has no hard links."""
    _about_to("open", new)
    try:
        os.link(path, new)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.ENOENT):
            raise
        shutil.copyfile(path, new)


def create(path: Path) -> None:
    """Create an empty file; a file that exists is an error."""
    _about_to("open", path)
    path.open("xb").close()


def open_lock(path: Path) -> int:
    """Open a lock file, and create it if it does not exist; a link is not followed."""
    _about_to("open", path)
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    return os.open(path, flags, 0o666)


def make_folder(path: Path, mode: int = 0o777) -> None:
    """Create a folder with a mode, from which the umask is subtracted."""
    _about_to("mkdir", path)
    path.mkdir(mode)


def make_folders(path: Path) -> list[Path]:
    """Create a folder and its missing parents; return the created folders, the outermost first."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()][::-1]
    for folder in missing:
        _about_to("mkdir", folder)
        try:
            folder.mkdir(exist_ok=True)
        except FileNotFoundError:  # another command has just removed an empty parent
            return make_folders(path)
    return missing


def sync(path: Path) -> None:
    """Write a file's content, or a folder's list of names, from the system's cache to the disk."""
    _about_to("fsync", path)
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags)
    except (PermissionError, IsADirectoryError):
        if path.is_dir():  # on Windows, and for a folder that may be written but not read
            return
        raise
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NOT_SUPPORTED:
            raise
    finally:
        os.close(descriptor)


def change_mode(path: Path, mode: int) -> None:
    """Set the mode of a file: who may read and write it."""
    _about_to("chmod", path)
    path.chmod(mode)


def rename(old: Path, new: Path) -> None:
    """Rename a file or folder; an existing file of the new name is replaced."""
    _about_to("rename", new)
    old.replace(new)


def exchange(first: Path, second: Path) -> bool:
    """Swap the names of two files or folders in one step; return False if that is not supported.

    Source: renameat2(2), RENAME_EXCHANGE: Linux 3.15 and most of its file systems.
    """
    try:
        swap = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    _about_to("rename", second)
    names = os.fsencode(first), os.fsencode(second)
    if swap(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _NOT_SUPPORTED:
        return False
    raise OSError(number, os.strerror(number), str(second))


def remove(path: Path) -> None:
    """Remove a file, if it exists."""
    _about_to("unlink", path)
    path.unlink(missing_ok=True)


def remove_folder(path: Path) -> bool:
    """Remove a folder if it is empty; return whether it was removed."""
    _about_to("unlink", path)
    try:
        path.rmdir()
    except OSError:
        return False
    return True


def remove_tree(path: Path) -> None:
    """Remove a file, or a folder with its content; files that cannot be removed stay."""
    _about_to("unlink", path)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)

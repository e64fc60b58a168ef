"""A user's own files, opened so that whatever is wrong with one is said with its name and line."""

from __future__ import annotations

import codecs
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from bmc.errors import DataError, UnknownError

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
UNPACKED = 2**30  # bytes that are unpacked whatever the file's size
_RATIO = 200  # beyond: texts, pictures and series shrink to a twentieth, hardly to less
_WIDE = {
    codecs.BOM_UTF32_LE: "UTF-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


def check_file(path: Path, what: str = "data file") -> None:
    """Check that a path leads to a regular file: a pipe or device would never end.

    Raises:
        UnknownError: there is nothing.
        DataError: it cannot be looked at, or is something else.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise UnknownError(f"no {what} {str(path)!r}") from error
    except OSError as error:
        raise unreadable(path, error) from error
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "something else")
        raise DataError(f"{path} cannot be read: it is {kind}, not a file")


def unreadable(path: Path | str, error: OSError) -> DataError:
    """Return the error of a file or folder that cannot be read, with the system's reason."""
    return DataError(
        f"{path} cannot be read ({error.strerror or error}); mend it, or name another with --data"
    )


@contextmanager
def reading(path: Path | str) -> Iterator[None]:
    """Say of an error of the file system that it came while this was read.

    Raises:
        DataError: the system refused.
    """
    try:
        yield
    except OSError as error:
        raise unreadable(path, error) from error


@contextmanager
def opened(path: Path) -> Iterator[TextIO]:
    """Open a text file in UTF-8, with or without a byte order mark; line ends stay as they are.

    Raises:
        DataError: it cannot be read, or is not UTF-8; the message names the line and the byte.
    """
    check_file(path)
    with reading(path):
        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                yield file
        except UnicodeDecodeError as error:
            raise DataError(_not_utf8(path)) from error


def _not_utf8(path: Path) -> str:
    """Say what a file is instead of UTF-8, or where it stops being that."""
    with path.open("rb") as file:
        start = file.read(4)
        wide = next((name for mark, name in _WIDE.items() if start.startswith(mark)), None)
        if wide:
            return f"{path} is {wide}; save it as UTF-8: iconv -f {wide} -t UTF-8"
        file.seek(0)
        before = 0
        for number, line in enumerate(file, start=1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                return (
                    f"{path}: line {number} is not UTF-8 (byte 0x{line[error.start]:02x} at "
                    f"{before + error.start}); save it as UTF-8, such as from Latin-1: "
                    "iconv -f LATIN1 -t UTF-8"
                )
            before += len(line)
    return f"{path} is not UTF-8; save it as UTF-8"


def check_unpacked(path: Path, unpacked: int, way_out: str) -> None:
    """Refuse a packed file that holds more than its size explains, before memory is full of it.

    Args:
        path: the file.
        unpacked: bytes that it holds, as far as is known.
        way_out: how honest data of that kind can be saved.

    Raises:
        DataError: it is more than 1 GiB, and more than 200 times the file.
    """
    packed = size_of(path)
    if unpacked > max(UNPACKED, _RATIO * packed):
        raise DataError(
            f"{path} has {packed / 1e6:.3g} MB and unpacks to {unpacked / 1e9:.3g} GB, which looks "
            f"like an attack; {way_out}"
        )


def size_of(path: Path) -> int:
    """Return a file's size in bytes."""
    with reading(path):
        return os.stat(path).st_size

"""Open the user's data files; errors name the file and, where possible, the line."""

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
UNPACKED = 2**30  # bytes that a packed file of any size may hold
# Largest ratio of the unpacked to the packed size; texts, images and series reach about 20.
_RATIO = 200
_WIDE_ENCODINGS = {
    codecs.BOM_UTF32_LE: "UTF-32",  # before UTF-16: its mark begins with UTF-16's mark
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


def check_file(path: Path, what: str = "data file") -> None:
    """Check that a path names a regular file; reading a pipe or a device may never end.

    Args:
        path: the path.
        what: kind of the file, for the message.

    Raises:
        UnknownError: there is no such file.
        DataError: the path is not a regular file, or cannot be accessed.
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
    """Return the error for a file or folder that the system cannot read."""
    return DataError(
        f"{path} cannot be read ({error.strerror or error}); repair it, or name another with --data"
    )


@contextmanager
def reading(path: Path | str) -> Iterator[None]:
    """Turn errors of the file system, while the block reads a file, into a DataError.

    Raises:
        DataError: the block raised an OSError.
    """
    try:
        yield
    except OSError as error:
        raise unreadable(path, error) from error


@contextmanager
def opened(path: Path) -> Iterator[TextIO]:
    """Open a text file in UTF-8, with or without a byte order mark; line ends are not changed.

    Raises:
        UnknownError: there is no such file.
        DataError: the file cannot be read, or is not UTF-8; the message names the line and byte.
    """
    check_file(path)
    with reading(path):
        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                yield file
        except UnicodeDecodeError as error:
            raise DataError(_not_utf8(path)) from error


def _not_utf8(path: Path) -> str:
    """Return a message that names a file's encoding, or the first byte that is not UTF-8."""
    with path.open("rb") as file:
        start = file.read(4)
        encoding = next(
            (name for mark, name in _WIDE_ENCODINGS.items() if start.startswith(mark)), None
        )
        if encoding:
            return f"{path} is {encoding}; save it as UTF-8: iconv -f {encoding} -t UTF-8"
        file.seek(0)
        offset = 0
        for number, line in enumerate(file, start=1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                return (
                    f"{path}: line {number} is not UTF-8 (byte 0x{line[error.start]:02x} at "
                    f"{offset + error.start}); save it as UTF-8, such as from Latin-1: "
                    "iconv -f LATIN1 -t UTF-8"
                )
            offset += len(line)
    return f"{path} is not UTF-8; save it as UTF-8"


def check_unpacked(path: Path, unpacked: int, way_out: str) -> None:
    """Refuse a packed file whose content is far larger than the file, before it fills the memory.

    Args:
        path: the packed file.
        unpacked: bytes of the content, as far as they are known.
        way_out: advice on how to save large data of this kind, for the message.

    Raises:
        DataError: the content has more than 1 GiB and more than 200 times the bytes of the file.
    """
    packed = size_of(path)
    if unpacked > max(UNPACKED, _RATIO * packed):
        raise DataError(
            f"{path} has {packed / 1e6:.3g} MB and unpacks to {unpacked / 1e9:.3g} GB, which looks "
            f"like an attack; {way_out}"
        )


def size_of(path: Path) -> int:
    """Return the size of a file in bytes."""
    with reading(path):
        return os.stat(path).st_size

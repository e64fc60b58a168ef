"""Reading files that a stranger wrote: regular ones of a known size, and JSON within bounds.

A path may be a pipe that never ends, a link out of the folder, or a file that claims a terabyte.
What is read here was looked at first: its kind, its size, and how much memory it will take.
"""

from __future__ import annotations

import errno
import json
import math
import os
import stat
from collections import Counter
from pathlib import Path
from typing import Any, BinaryIO

from bmc.errors import ArtifactError

MAX_JSON = 16 << 20
"""Bytes of a JSON file; a manifest of 100,000 labels has 2 MB."""
_MOST_DEPTH = 64
_MOST_DIGITS = 40
_SPARSE = 64 << 20  # bytes from which on a file must have most of its blocks on the disk
_LEAST_STORED = 16
_FLAGS = os.O_RDONLY | sum(
    getattr(os, f"O_{name}", 0) for name in ("NONBLOCK", "CLOEXEC", "BINARY")
)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)


def open_regular(path: Path, what: str, most: int | None = None, links: bool = False) -> BinaryIO:
    """Open a regular file for reading; never a pipe, a device or a socket.

    Args:
        path: the file.
        what: what it belongs to, for messages.
        most: bytes that it may have.
        links: whether it may be a link to such a file.

    Raises:
        ArtifactError: it is missing, cannot be read, is something else than a file, is larger than
            `most`, or is sparse: its size promises far more than lies on the disk.
    """
    try:
        _refuse_odd(path.stat() if links else path.lstat(), path, what)
        number = os.open(path, _FLAGS if links else _FLAGS | _NO_LINK)
    except OSError as error:
        raise unreadable(path, what, error) from error
    file = os.fdopen(number, "rb")
    try:
        status = os.fstat(number)
        _refuse_odd(status, path, what)
        if most is not None and status.st_size > most:
            raise ArtifactError(
                f"{what}: {path} has {status.st_size:,} bytes; at most {most:,} are read"
            )
    except ArtifactError:
        file.close()
        raise
    return file


def read_bytes(path: Path, what: str, most: int, links: bool = False) -> bytes:
    """Return a regular file's content.

    Raises:
        ArtifactError: as `open_regular` does.
    """
    with open_regular(path, what, most, links) as file:
        try:
            size = os.fstat(file.fileno()).st_size
            data = file.read(min(size, most) + 1)
        except OSError as error:
            raise unreadable(path, what, error) from error
    if len(data) > size:
        raise ArtifactError(f"{what}: {path} grows while it is read; wait until it is whole")
    return data


def read_json(path: Path, what: str, links: bool = False, most: int = MAX_JSON) -> dict[str, Any]:
    """Read a JSON object within bounds; see `parse_json`.

    Args:
        path: the file.
        what: what it belongs to, for messages.
        links: whether it may be a link, as in the Hugging Face hub's cache.
        most: bytes that it may have.

    Raises:
        ArtifactError: the file is missing, no regular file, no JSON, or holds no object.
    """
    if not os.path.lexists(path):
        raise ArtifactError(f"{path.parent} is no {what}: it has no {path.name}")
    return parse_json(read_bytes(path, what, most, links), path)


def parse_json(data: bytes, path: Path) -> dict[str, Any]:
    """Return a JSON object.

    Keys that stand twice, NaN and infinity, numbers beyond a float, half surrogates and more than
    64 levels are refused: readers differ in what they make of them.

    Args:
        data: the content.
        path: where it was read, for messages.

    Raises:
        ArtifactError: it is no such JSON.
    """
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=unique_keys,
            parse_constant=_constant,
            parse_float=_float,
            parse_int=_int,
        )
        _check_values(value)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path} is not readable JSON ({error}); make it again") from error
    if not isinstance(value, dict):
        raise ArtifactError(f"{path} holds no JSON object; make it again")
    return value


def unreadable(path: Path, what: str, error: OSError) -> ArtifactError:
    """Say which file could not be read, and why."""
    if error.errno == errno.ELOOP:
        return ArtifactError(f"{what}: {path} is a link, and links are not followed; refused")
    if error.errno == errno.ENOENT:
        return ArtifactError(f"{what} lacks its file {path.name!r}; make it again")
    reason = error.strerror or type(error).__name__
    return ArtifactError(f"{what}: {path} cannot be read ({reason})")


def _refuse_odd(status: os.stat_result, path: Path, what: str) -> None:
    """Refuse what is no regular file, and a file most of which is a hole."""
    if stat.S_ISLNK(status.st_mode):
        raise ArtifactError(f"{what}: {path} is a link, and links are not followed; refused")
    if not stat.S_ISREG(status.st_mode):
        raise ArtifactError(f"{what}: {path} is no regular file; refused")
    stored = getattr(status, "st_blocks", None)  # of 512 bytes, on POSIX
    if stored is None or status.st_size < _SPARSE:
        return
    if stored * 512 * _LEAST_STORED < status.st_size:
        raise ArtifactError(
            f"{what}: {path} claims {status.st_size:,} bytes and stores {stored * 512:,}; refused"
        )


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object (an object_pairs_hook); readers differ in which of two values they take.

    Raises:
        ValueError: a key stands there twice.
    """
    value = dict(pairs)
    if len(value) < len(pairs):
        twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {twice!r:.60} stands there twice")
    return value


def _constant(text: str) -> float:
    raise ValueError(f"{text} is no number of JSON's")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text:.40} is beyond every float")
    return value


def _int(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def _check_values(value: Any) -> None:
    """Refuse JSON that is too deep, or whose texts are not Unicode."""
    level = [value]
    for _ in range(_MOST_DEPTH):
        below: list[Any] = []
        for item in level:
            if isinstance(item, str):
                item.encode()
            elif isinstance(item, dict):
                below += [*item, *item.values()]
            elif isinstance(item, list):
                below += item
        if not below:
            return
        level = below
    raise ValueError(f"more than {_MOST_DEPTH} levels")

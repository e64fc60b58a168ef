"""Read untrusted files: only regular files, only up to a size, and JSON only of limited depth.

An untrusted path may be a pipe that never ends, a link out of the folder, or a sparse file of a
terabyte. bmc checks the type and the size of a file before it reads the content.
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
_MAX_DEPTH = 64
_MAX_DIGITS = 40
# A file of 64 MiB or more is refused as sparse if its size is more than 16 times its space on the
# disk. The factor leaves room for file systems that compress.
_SPARSE_CHECK_BYTES = 64 << 20
_MAX_COMPRESSION = 16
_FLAGS = os.O_RDONLY | sum(
    getattr(os, f"O_{name}", 0) for name in ("NONBLOCK", "CLOEXEC", "BINARY")
)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)


def open_regular(
    path: Path, what: str, max_bytes: int | None = None, links: bool = False
) -> BinaryIO:
    """Open a regular file for reading; pipes, devices and sockets are refused.

    Args:
        path: path of the file.
        what: the bundle or model directory that the file belongs to, for messages.
        max_bytes: largest size of the file; None for any size.
        links: accept a link to a regular file.

    Raises:
        ArtifactError: the file is missing, cannot be read, is not a regular file, is larger than
            `max_bytes`, or is sparse: its size is far larger than its space on the disk.
    """
    try:
        _check_regular(path.stat() if links else path.lstat(), path, what)
        descriptor = os.open(path, _FLAGS if links else _FLAGS | _NO_LINK)
    except OSError as error:
        raise unreadable(path, what, error) from error
    file = os.fdopen(descriptor, "rb")
    try:
        status = os.fstat(descriptor)
        _check_regular(status, path, what)
        if max_bytes is not None and status.st_size > max_bytes:
            raise ArtifactError(
                f"{what}: {path} has {status.st_size:,} bytes; at most {max_bytes:,} are read"
            )
    except ArtifactError:
        file.close()
        raise
    return file


def read_bytes(path: Path, what: str, max_bytes: int, links: bool = False) -> bytes:
    """Return the content of a regular file.

    Raises:
        ArtifactError: `open_regular` refuses the file, or the file grows while it is read.
    """
    with open_regular(path, what, max_bytes, links) as file:
        try:
            size = os.fstat(file.fileno()).st_size
            data = file.read(min(size, max_bytes) + 1)
        except OSError as error:
            raise unreadable(path, what, error) from error
    if len(data) > size:
        raise ArtifactError(f"{what}: {path} grows while it is read; wait until it is whole")
    return data


def read_json(
    path: Path, what: str, links: bool = False, max_bytes: int = MAX_JSON
) -> dict[str, Any]:
    """Read a JSON object from an untrusted file; `parse_json` lists the errors.

    Args:
        path: path of the file.
        what: the kind of folder that holds the file, such as "bundle", for messages.
        links: accept a link, as in the cache of the Hugging Face hub.
        max_bytes: largest size of the file.

    Raises:
        ArtifactError: the file is missing, is not a regular file, is not JSON, or does not hold an
            object.
    """
    if not os.path.lexists(path):
        raise ArtifactError(f"{path.parent} is not a {what}: it has no {path.name}")
    return parse_json(read_bytes(path, what, max_bytes, links), path)


def parse_json(data: bytes, path: Path) -> dict[str, Any]:
    """Parse a JSON object from untrusted bytes.

    Repeated keys, NaN and infinity, numbers outside the range of a float, lone surrogates and more
    than 64 levels of nesting are refused, because JSON readers disagree on their meaning.

    Args:
        data: content of the file.
        path: path of the file, for messages.

    Raises:
        ArtifactError: the content is not a JSON object, or is refused.
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
        raise ArtifactError(f"{path} does not hold a JSON object; make it again")
    return value


def unreadable(path: Path, what: str, error: OSError) -> ArtifactError:
    """Return the error for a file that the system cannot read.

    Args:
        path: path of the file.
        what: the bundle or model directory that the file belongs to, for the message.
        error: the error of the system.
    """
    if error.errno == errno.ELOOP:
        return ArtifactError(f"{what}: {path} is a link, and links are not followed; refused")
    if error.errno == errno.ENOENT:
        return ArtifactError(f"{what} lacks its file {path.name!r}; make it again")
    reason = error.strerror or type(error).__name__
    return ArtifactError(f"{what}: {path} cannot be read ({reason})")


def _check_regular(status: os.stat_result, path: Path, what: str) -> None:
    """Check that a file is regular, and that it is not sparse."""
    if stat.S_ISLNK(status.st_mode):
        raise ArtifactError(f"{what}: {path} is a link, and links are not followed; refused")
    if not stat.S_ISREG(status.st_mode):
        raise ArtifactError(f"{what}: {path} is not a regular file; refused")
    blocks = getattr(status, "st_blocks", None)  # blocks of 512 bytes; only on POSIX
    if blocks is None or status.st_size < _SPARSE_CHECK_BYTES:
        return
    stored = blocks * 512
    if stored * _MAX_COMPRESSION < status.st_size:
        raise ArtifactError(
            f"{what}: {path} claims {status.st_size:,} bytes and stores {stored:,}; refused"
        )


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object without repeated keys (an `object_pairs_hook` of `json.loads`).

    Raises:
        ValueError: a key is repeated; JSON readers disagree on which of its values counts.
    """
    value = dict(pairs)
    if len(value) < len(pairs):
        repeated_key, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {repeated_key!r:.60} is repeated")
    return value


def _constant(text: str) -> float:
    raise ValueError(f"{text} is not a JSON number")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text:.40} is too large for a float")
    return value


def _int(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def _check_values(value: Any) -> None:
    """Refuse JSON with too many levels of nesting, or with texts that are not Unicode."""
    level = [value]
    for _ in range(_MAX_DEPTH):
        next_level: list[Any] = []
        for item in level:
            if isinstance(item, str):
                item.encode()  # a lone surrogate raises a ValueError
            elif isinstance(item, dict):
                next_level += [*item, *item.values()]
            elif isinstance(item, list):
                next_level += item
        if not next_level:
            return
        level = next_level
    raise ValueError(f"more than {_MAX_DEPTH} levels")

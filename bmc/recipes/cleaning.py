"""Remove results of steps that no run has used for some time, and what killed runs left."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bmc import locks
from bmc.errors import UsageError
from bmc.recipes.options import Cleaning
from bmc.recipes.store import SEAL, StepStore

_SECONDS = 86_400  # of a day


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
    """Remove results of steps that no run has used for some days; those of running steps stay.

    Models and bundles of the workspace stay, too: a later run makes the others again.

    Args:
        options: the folder of the results, and the number of days.

    Raises:
        UsageError: the location is a URL.
    """
    if "://" in (options.store or ""):
        raise UsageError(
            f"{options.store} is a URL, whose results other machines may use; bmc recipe clean "
            "cleans folders, and rules of the storage remove old files"
        )
    store = StepStore(options.store or "")
    removed = kept = size = 0
    for folder in sorted(path for path in store.root.glob("*") if _is_result(path)):
        if time.time() - _last_use(folder) < options.days * _SECONDS:
            kept += 1
            continue
        freed = _bytes_of(folder)
        try:
            with locks.alone(folder, 0):
                store.remove(folder.name)
        except locks.BusyError:  # its step is running
            kept += 1
            continue
        removed, size = removed + 1, size + freed
    return Cleaned(store.root, removed, kept, size)


def _is_result(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".")


def _last_use(folder: Path) -> float:
    """Return when a run last used a result; of an unfinished one, when it was last written."""
    seal = folder / SEAL
    paths = [seal] if seal.is_file() else [folder, *folder.rglob("*")]
    times = [0.0]
    for path in paths:
        with suppress(FileNotFoundError):  # a running step removes files of its own
            times.append(path.stat().st_mtime)
    return max(times)


def _bytes_of(folder: Path) -> int:
    """Return the size of the files that have no other name."""
    size = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            status = path.lstat()
            size += status.st_size if path.is_file() and status.st_nlink == 1 else 0
    return size

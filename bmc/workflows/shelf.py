"""Rename and remove what the workspace holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bmc import disk, workspace, writing
from bmc.errors import UnknownError, UsageError, unknown
from bmc.files import size_of, storage_error


@dataclass(frozen=True)
class Entry:
    """A model directory or a bundle of the workspace.

    Args:
        path: its folder.
        kind: "model" or "bundle".
        bytes: of all its files.
    """

    path: Path
    kind: str
    bytes: int


def find(name: str) -> Entry:
    """Return the entry of a name; one that failed a gate has .failed behind its name.

    Args:
        name: in the workspace; never a path, so that nothing outside is touched.

    Raises:
        UnknownError: the workspace has no such entry; the message has the nearest.
    """
    names = [path.name for path in _all()]
    if name not in names:
        if not names:
            raise UnknownError(f"no model or bundle named {name!r}: {workspace.root()} is empty")
        raise unknown("model or bundle", name, names, "bmc models lists all")
    path = workspace.root() / name
    return Entry(path, str(workspace.kind_of(path)), size_of(path))


def rename(name: str, new: str) -> Entry:
    """Give an entry another name; what was made from it still finds it, by its weights.

    Args:
        name: of the entry.
        new: a name, no path.

    Raises:
        UnknownError: the workspace has no such entry.
        UsageError: the new name is taken, or cannot be one.
        StorageError: the disk refuses.
    """
    entry = find(name)
    if new != workspace.slug(new):
        raise UsageError(f"{new!r} cannot be a name: {workspace.slug(new)!r} can")
    target = workspace.root() / new
    if target.exists():
        raise UsageError(f"{target} exists; bmc remove {new} removes it")
    writing.refuse_existing(target, force=False)
    for path in (entry.path, target):
        writing.hold(path)
    try:
        disk.rename(entry.path, target)
    except OSError as error:
        raise storage_error(error, target) or error from error
    return Entry(target, entry.kind, entry.bytes)


def remove(entries: Sequence[Entry]) -> None:
    """Remove entries, each whole or not at all.

    Raises:
        UsageError: another command is writing one.
        StorageError: the disk refuses.
    """
    for entry in entries:
        writing.hold(entry.path)
    for entry in entries:
        try:
            writing.remove(entry.path)
        except OSError as error:
            raise storage_error(error, entry.path) or error from error


def _all() -> list[Path]:
    return [
        path
        for kind in ("model", "bundle")
        for failed in (False, True)
        for path in workspace.entries(kind, failed)
    ]

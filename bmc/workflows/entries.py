"""Rename and remove the models and bundles of the workspace."""

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
        path: the folder of the model or bundle.
        kind: "model" or "bundle".
        bytes: size of all files in the folder.
    """

    path: Path
    kind: str
    bytes: int


def find(name: str) -> Entry:
    """Find a model or a bundle of the workspace by its name.

    The name of a bundle that failed its parity, accuracy or speed check ends with .failed.

    Args:
        name: name in the workspace; never a path, because files outside the workspace must not be
            renamed or removed.

    Raises:
        UnknownError: the workspace has no entry of this name; the message names the most similar.
    """
    names = [path.name for path in _all()]
    if name not in names:
        if not names:
            raise UnknownError(f"no model or bundle named {name!r}: {workspace.root()} is empty")
        raise unknown("model or bundle", name, names, "bmc models lists all")
    path = workspace.root() / name
    return Entry(path, str(workspace.kind_of(path)), size_of(path))


def rename(name: str, new: str) -> Entry:
    """Rename a model or a bundle.

    Models and bundles that were made from a renamed model still find it by the hash of its weights.

    Args:
        name: present name of the entry.
        new: new name; not a path.

    Raises:
        UnknownError: the workspace has no such entry.
        UsageError: the new name is taken, or it is not valid.
        StorageError: the folder cannot be renamed.
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
    """Remove models and bundles from the workspace.

    An entry that cannot be removed keeps all its files.

    Raises:
        UsageError: another command is writing one of the entries.
        StorageError: a folder cannot be removed.
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

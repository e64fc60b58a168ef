"""List the built-in models, the students, and the models and bundles of the workspace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bmc import console, workspace
from bmc.contracts import families
from bmc.contracts.families import Family
from bmc.files import size_of
from bmc.untrusted import read_json


@dataclass(frozen=True)
class ListedEntry:
    """A model directory or a bundle of the workspace.

    Args:
        name: name of the folder.
        kind: "model", "bundle" or "failed bundle".
        made_by: command that wrote the model or bundle.
        bytes: size of all files in the folder.
    """

    name: str
    kind: str
    made_by: str
    bytes: int


@dataclass(frozen=True)
class Listed:
    """The models that can be trained, and the entries of the workspace.

    Args:
        families: families of built-in models, by name.
        students: settings of each student, by name.
        root: folder of the workspace.
        entries: models, then bundles, then bundles that failed a check, each group newest last.
    """

    families: Mapping[str, Family]
    students: Mapping[str, Any]
    root: Path
    entries: tuple[ListedEntry, ...]


def list_models() -> Listed:
    """List built-in models, students and workspace entries; report plug-ins that fail."""
    for error in families.FAMILIES.refused().values():
        console.note(f"left out: {error}")
    entries = [_entry(path, "model") for path in workspace.entries("model")]
    entries += [_entry(path, "bundle") for path in workspace.entries("bundle")]
    entries += [_entry(path, "failed bundle") for path in workspace.entries("bundle", failed=True)]
    return Listed(families.families(), families.students(), workspace.root(), tuple(entries))


def _entry(path: Path, kind: str) -> ListedEntry:
    if kind == "model":
        manifest = read_json(path / workspace.MODEL_MANIFEST, "model directory")
        command = manifest.get("origin", {}).get("command", "?")
    else:
        manifest = read_json(path / workspace.BUNDLE_MANIFEST, "bundle")
        command = f"export --target {manifest.get('target', '?')}"
    return ListedEntry(path.name, kind, command, size_of(path))

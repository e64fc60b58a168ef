"""List the built-in models, the students, and the models and bundles of the workspace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bmc import console, workspace
from bmc.contracts import families
from bmc.contracts.families import Family
from bmc.errors import ArtifactError
from bmc.files import size_of
from bmc.untrusted import read_json


@dataclass(frozen=True)
class ListedEntry:
    """A model directory or a bundle of the workspace.

    Args:
        name: name of the folder.
        kind: "model", "failed model", "bundle" or "failed bundle".
        made_by: command that wrote the model or bundle; "damaged" where its manifest does not say.
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
        entries: models, then bundles, each with those that failed a check behind; newest last.
    """

    families: Mapping[str, Family]
    students: Mapping[str, Any]
    root: Path
    entries: tuple[ListedEntry, ...]


def list_models() -> Listed:
    """List built-in models, students and workspace entries; report plug-ins that fail."""
    for error in families.FAMILIES.refused().values():
        console.note(f"left out: {error}")
    entries = [
        _entry(path, kind, failed)
        for kind in ("model", "bundle")
        for failed in (False, True)
        for path in workspace.entries(kind, failed)
    ]
    return Listed(families.families(), families.students(), workspace.root(), tuple(entries))


def _entry(path: Path, kind: str, failed: bool) -> ListedEntry:
    try:
        command = _command_of(path, kind)
    except ArtifactError as error:
        console.note(str(error))
        command = "damaged"
    return ListedEntry(path.name, f"failed {kind}" if failed else kind, command, size_of(path))


def _command_of(path: Path, kind: str) -> str:
    """Return the command that wrote a model directory or a bundle.

    Raises:
        ArtifactError: its manifest is damaged.
    """
    if kind == "bundle":
        manifest = read_json(path / workspace.BUNDLE_MANIFEST, "bundle")
        return f"export --target {manifest.get('target', '?')}"
    origin = read_json(path / workspace.MODEL_MANIFEST, "model directory").get("origin", {})
    if not isinstance(origin, dict):
        raise ArtifactError(f"{path}: origin is {origin!r:.40}; it must be an object")
    return str(origin.get("command", "?"))

"""List what can be trained, and what the workspace holds."""

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
class Kept:
    """A model directory or a bundle of the workspace.

    Args:
        name: of its folder.
        kind: "model", "bundle" or "failed bundle".
        made_by: the command.
        bytes: of all its files.
    """

    name: str
    kind: str
    made_by: str
    bytes: int


@dataclass(frozen=True)
class Listed:
    """What can be trained, and what the workspace holds.

    Args:
        families: of baselines, by name.
        students: settings of each, by name.
        root: the workspace.
        kept: what it holds: models, bundles, and bundles that failed a gate, each newest last.
    """

    families: Mapping[str, Family]
    students: Mapping[str, Any]
    root: Path
    kept: tuple[Kept, ...]


def list_models() -> Listed:
    """List baselines, students, and what the workspace holds; plug-ins that fail are noted."""
    for error in families.FAMILIES.refused().values():
        console.note(f"left out: {error}")
    kept = [_kept(path, "model") for path in workspace.entries("model")]
    kept += [_kept(path, "bundle") for path in workspace.entries("bundle")]
    kept += [_kept(path, "failed bundle") for path in workspace.entries("bundle", failed=True)]
    return Listed(families.families(), families.students(), workspace.root(), tuple(kept))


def _kept(path: Path, kind: str) -> Kept:
    if kind == "model":
        manifest = read_json(path / workspace.MODEL_MANIFEST, "model directory")
        made = manifest.get("origin", {}).get("command", "?")
    else:
        manifest = read_json(path / workspace.BUNDLE_MANIFEST, "bundle")
        made = f"export --target {manifest.get('target', '?')}"
    return Kept(path.name, kind, made, size_of(path))

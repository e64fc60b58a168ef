"""How much each layer of a model matters, kept in the workspace with what it was measured on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bmc import artifact, console, disk, locks, workspace
from bmc.errors import ArtifactError
from bmc.files import sha256
from bmc.inspect.sensitivity import CHANGES, Sensitivity
from bmc.typed import read_as
from bmc.untrusted import read_json
from bmc.writing import write_atomically

SCHEMA = 2
_WHAT = "sensitivity"


def path_of(folder: Path) -> Path:
    """Return the workspace's file for what was measured of a model directory."""
    return workspace.root() / ".inspect" / f"{workspace.slug(folder.name)}.json"


def write(folder: Path, found: Sensitivity, fingerprint: str) -> Path:
    """Keep what was measured of a model directory.

    Args:
        folder: the model directory.
        found: what was measured.
        fingerprint: of the data that it was measured on.
    """
    path = path_of(folder)
    disk.make_folders(path.parent)
    with locks.alone(path, patience=float("inf")):  # else what another command adds would be lost
        known = _entries(path)
        content = asdict(found)
        key = _key(folder, fingerprint, found.rows)
        known[key] = {"measured": content, "sha256": digest_of(content)}
        text = json.dumps({"schema": SCHEMA, "entries": known}, indent=2, allow_nan=False)
        write_atomically(path, text.encode() + b"\n")
    return path


def read(folder: Path, fingerprint: str, rows: int) -> Sensitivity | None:
    """Return what was measured of a model directory, on these rows; None where nothing was.

    A damaged entry is said and not used, so that it is measured again.

    Args:
        folder: the model directory.
        fingerprint: of the data.
        rows: how many of its validation rows.
    """
    path = path_of(folder)
    entry = _entries(path).get(_key(folder, fingerprint, rows))
    if entry is None:
        return None
    try:
        if not isinstance(entry, dict) or entry.get("sha256") != digest_of(entry.get("measured")):
            raise ValueError("it was changed after it was written")
        return read_as(Sensitivity, entry.get("measured"))
    except ValueError as error:
        console.note(f"{path} is damaged ({error}): its layers are measured again")
        return None


def _key(folder: Path, fingerprint: str, rows: int) -> str:
    """Return a hash of all that a measurement depends on: model, data, rows and changes."""
    manifest = artifact.describe(folder)
    model = [sha256(folder / "model.safetensors"), sha256(folder / "config.json")]
    made = [manifest[name] for name in ("family", "labels", "task", "inputs", "steps")]
    others = {name: value for name, value in manifest["files"].items() if "token" in name}
    return digest_of([*model, *made, others, fingerprint, rows, list(CHANGES)])


def digest_of(content: Any) -> str:
    """Return the sha256 of a value as JSON."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _entries(path: Path) -> dict[str, Any]:
    """Return what a file holds; nothing where it is damaged or of another version."""
    if not path.is_file():
        return {}
    try:
        content = read_json(path, _WHAT)
    except ArtifactError as error:
        console.note(f"{error}: not used")
        return {}
    entries = content.get("entries")
    if content.get("schema") != SCHEMA or not isinstance(entries, dict):
        console.note(f"{path} was not written by this version of bmc: not used")
        return {}
    return entries

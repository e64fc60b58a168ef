"""Stored sensitivities of layers: files in the workspace, with the data they were measured on."""

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
_FILE_KIND = "sensitivity"


def path_of(folder: Path) -> Path:
    """Return the path of the file of a model directory's sensitivities."""
    return workspace.root() / ".inspect" / f"{workspace.slug(folder.name)}.json"


def write(folder: Path, sensitivity: Sensitivity, fingerprint: str) -> Path:
    """Store the sensitivities of a model directory, and return the path of the file.

    Args:
        folder: the model directory.
        sensitivity: the measured sensitivities.
        fingerprint: fingerprint of the data of the measurement.
    """
    path = path_of(folder)
    disk.make_folders(path.parent)
    with locks.alone(path, patience=float("inf")):  # another command may add an entry
        entries = _entries(path)
        content = asdict(sensitivity)
        key = _key(folder, fingerprint, sensitivity.rows)
        entries[key] = {"measured": content, "sha256": digest_of(content)}
        text = json.dumps({"schema": SCHEMA, "entries": entries}, indent=2, allow_nan=False)
        write_atomically(path, text.encode() + b"\n")
    return path


def read(folder: Path, fingerprint: str, rows: int) -> Sensitivity | None:
    """Return the stored sensitivities of a model directory; None if there are none for the data.

    A damaged entry is not used; a note says so, and the layers are measured again.

    Args:
        folder: the model directory.
        fingerprint: fingerprint of the data.
        rows: number of validation rows of the measurement.
    """
    path = path_of(folder)
    entry = _entries(path).get(_key(folder, fingerprint, rows))
    if entry is None:
        return None
    try:
        if not isinstance(entry, dict) or entry.get("sha256") != digest_of(entry.get("measured")):
            raise ValueError("an entry was changed after it was written")
        return read_as(Sensitivity, entry.get("measured"))
    except ValueError as error:
        console.note(f"{path} is damaged ({error}): the layers are measured again")
        return None


def _key(folder: Path, fingerprint: str, rows: int) -> str:
    """Return a hash of everything that a measurement depends on: model, data, rows and changes."""
    manifest = artifact.describe(folder)
    model = [sha256(folder / "model.safetensors"), sha256(folder / "config.json")]
    properties = [manifest[name] for name in ("family", "labels", "task", "inputs", "steps")]
    tokenizer = {name: value for name, value in manifest["files"].items() if "token" in name}
    return digest_of([*model, *properties, tokenizer, fingerprint, rows, list(CHANGES)])


def digest_of(content: Any) -> str:
    """Return the sha256 of a value as JSON."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _entries(path: Path) -> dict[str, Any]:
    """Return the entries of a file; no entries if it is damaged or of another version of bmc."""
    if not path.is_file():
        return {}
    try:
        content = read_json(path, _FILE_KIND)
    except ArtifactError as error:
        console.note(f"{error}: the file is not used")
        return {}
    entries = content.get("entries")
    if content.get("schema") != SCHEMA or not isinstance(entries, dict):
        console.note(f"{path} was written by another version of bmc: the file is not used")
        return {}
    return entries

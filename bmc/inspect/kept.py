"""Stored sensitivities of layers: files in the workspace, with the data they were measured on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from bmc import artifact, console, disk, locks, workspace
from bmc.errors import ArtifactError
from bmc.files import sha256
from bmc.inputs import Many
from bmc.inspect.sensitivity import CHANGES, Sensitivity
from bmc.split import identity_of
from bmc.typed import read_as
from bmc.untrusted import read_json
from bmc.writing import write_atomically

SCHEMA = 2
_FILE_KIND = "sensitivity"


def path_of(folder: Path) -> Path:
    """Return the path of the file of a model directory's sensitivities."""
    return workspace.root() / ".inspect" / f"{workspace.slug(folder.name)}.json"


def drawn(rows: int, most: int) -> list[int]:
    """Return the places of rows, drawn at random and always alike, on which layers are measured.

    Args:
        rows: number of rows that there are.
        most: number of rows to draw, at most.
    """
    places: list[int] = np.sort(np.random.default_rng(0).permutation(rows)[:most]).tolist()
    return places


def key_of(fingerprint: str, rows: Many) -> str:
    """Return what identifies the rows of a measurement.

    Args:
        fingerprint: fingerprint of their data.
        rows: the rows, as they were drawn.
    """
    digest = hashlib.sha256(fingerprint.encode())
    for row in rows:
        digest.update(identity_of(row) + b"\x1e")
    return digest.hexdigest()


def write(folder: Path, sensitivity: Sensitivity, measured_on: str) -> Path:
    """Store the sensitivities of a model directory, and return the path of the file.

    Args:
        folder: the model directory.
        sensitivity: the measured sensitivities.
        measured_on: the rows of the measurement; see `key_of`.
    """
    path = path_of(folder)
    disk.make_folders(path.parent)
    with locks.alone(path, patience=float("inf")):  # another command may add an entry
        entries = _entries(path)
        content = asdict(sensitivity)
        key = _key(folder, measured_on)
        entries[key] = {"measured": content, "sha256": digest_of(content)}
        text = json.dumps({"schema": SCHEMA, "entries": entries}, indent=2, allow_nan=False)
        write_atomically(path, text.encode() + b"\n")
    return path


def read(folder: Path, measured_on: str) -> Sensitivity | None:
    """Return the stored sensitivities of a model directory; None if there are none for the rows.

    A damaged entry is not used; a note says so, and the layers are measured again.

    Args:
        folder: the model directory.
        measured_on: the rows of the measurement; see `key_of`.
    """
    path = path_of(folder)
    entry = _entries(path).get(_key(folder, measured_on))
    if entry is None:
        return None
    try:
        if not isinstance(entry, dict) or entry.get("sha256") != digest_of(entry.get("measured")):
            raise ValueError("an entry was changed after it was written")
        return read_as(Sensitivity, entry.get("measured"))
    except ValueError as error:
        console.note(f"{path} is damaged ({error}): the layers are measured again")
        return None


def _key(folder: Path, measured_on: str) -> str:
    """Return a hash of everything that a measurement depends on: model, rows and changes."""
    manifest = artifact.describe(folder)
    model = [sha256(folder / "model.safetensors"), sha256(folder / "config.json")]
    properties = [manifest[name] for name in ("family", "labels", "task", "inputs", "steps")]
    tokenizer = {name: value for name, value in manifest["files"].items() if "token" in name}
    return digest_of([*model, *properties, tokenizer, measured_on, list(CHANGES)])


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

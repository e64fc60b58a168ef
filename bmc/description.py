"""Read and check bmc.json, the manifest of a model directory, without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bmc.contracts.tasks import model_tasks, task
from bmc.errors import ArtifactError
from bmc.files import MODEL_MANIFEST
from bmc.untrusted import read_json

SCHEMA = 1
MANIFEST = MODEL_MANIFEST
KIND = "model directory"
_MAX_ENTRIES = {"labels": 2**20, "steps": 1000, "files": 4096, "scores": 1000}


def is_model_directory(path: Path) -> bool:
    """Tell whether a folder looks like a model directory."""
    return (path / MANIFEST).is_file()


def describe(folder: Path) -> dict[str, Any]:
    """Read and check bmc.json without building the model.

    Raises:
        ArtifactError: the folder is not a model directory, has a newer schema, or names code that
            bmc would have to run.
    """
    manifest = read_json(folder / MANIFEST, KIND)
    schema = manifest.get("schema")
    if type(schema) is not int or schema < 1:
        raise ArtifactError(f"{folder}/{MANIFEST} has no schema number; it was not written by bmc")
    if schema > SCHEMA:
        raise ArtifactError(
            f"{folder} has schema {schema}, this bmc reads up to {SCHEMA}: "
            "pip install --upgrade bmc-toolkit"
        )
    kinds = {
        "family": str,
        "task": str,
        "labels": list,
        "inputs": dict,
        "data": dict,
        "steps": list,
    }
    kinds |= {"scores": dict, "origin": dict, "files": dict}
    for key, kind in kinds.items():
        if not isinstance(manifest.get(key), kind):
            raise ArtifactError(
                f"{folder}/{MANIFEST} lacks {key!r}, or its value is not a {kind.__name__}"
            )
    if manifest["task"] not in model_tasks():
        raise ArtifactError(
            f"{folder}/{MANIFEST}: the task is {manifest['task']!r:.60}; "
            f"possible: {', '.join(model_tasks())}"
        )
    if not all(isinstance(label, str) for label in manifest["labels"]):
        raise ArtifactError(f"{folder}/{MANIFEST}: labels must be strings")
    _check_thresholds(folder, manifest)
    for key, limit in _MAX_ENTRIES.items():
        if len(manifest[key]) > limit:
            raise ArtifactError(
                f"{folder}/{MANIFEST}: {len(manifest[key])} {key}; at most {limit} are read"
            )
    if not manifest["family"].replace("-", "").isalnum():
        raise ArtifactError(
            f"{folder}/{MANIFEST} names code to run ({manifest['family']!r}); "
            "bmc runs none from a file: name it on the command line"
        )
    return manifest


def _check_thresholds(folder: Path, manifest: dict[str, Any]) -> None:
    """Check that there is a threshold for each label, or none where the task has none.

    Raises:
        ArtifactError: there is not.
    """
    thresholds = manifest.get("thresholds", [])
    count = len(manifest["labels"]) if task(manifest["task"]).thresholds else 0
    is_right = isinstance(thresholds, list) and len(thresholds) == count
    if not is_right or not all(type(value) is float and 0 < value < 1 for value in thresholds):
        raise ArtifactError(
            f"{folder}/{MANIFEST}: thresholds is {thresholds!r:.60}; it must hold a number between "
            f"0 and 1 for each of {count} labels"
        )

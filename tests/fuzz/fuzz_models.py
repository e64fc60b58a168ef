"""Mutated model directories: each is built and loaded, or refused in one line."""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from bmc import artifact, console, plugins
from tests.fuzz import _edits

_edits.import_plugins("bmc.families", "bmc.models", "bmc.inputs")
_edits.import_plugins(*(f"bmc.compress.{kind}" for kind in plugins.folders("bmc.compress")))
console.set_mode(quiet=True, json=False)


def prepare(folder: Path) -> None:
    """Unpack the model directories that cases change."""
    _edits.unpack(folder)


def cases() -> SearchStrategy[dict[str, Any]]:
    """Draw a model directory, what is done to it, and whether hashes fit then."""
    return st.integers(0, 2**63).map(_case)


def _case(seed: int) -> dict[str, Any]:
    source = Random(seed)
    name = source.choice(_edits.seeds(artifact.MANIFEST))
    edits = _edits.drawn(seed, _edits.names_of(name))
    return {"seed": name, "edits": edits, "fixed": source.random() < 0.8}


def check(case: dict[str, Any], folder: Path) -> None:
    """Change a copy of a model directory, and load it."""
    target_folder = folder / "model"
    shutil.copytree(folder.parent / "prepared" / case["seed"], target_folder)
    for edit in case["edits"]:
        _edits.apply(edit, target_folder, folder.parent / "outside")
    if case["fixed"]:
        _edits.fix(target_folder, artifact.MANIFEST)
    artifact.load(target_folder)

"""Mutated bundles, with and without fitting hashes: each answers, or is refused in one line."""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

import bmc
from bmc import bundle as bundles
from bmc import checking, console, plugins
from bmc.targets import RuntimeOptions
from tests.fuzz import _edits

_edits.import_plugins("bmc.bundle_formats", "bmc.families", "bmc.inputs", "bmc.models")
_edits.import_plugins("bmc.targets", but="openvino")
console.set_mode(quiet=True, json=False)
_VERBS = ("read", "load", "check", "check")


def prepare(folder: Path) -> None:
    """Unpack the bundles that cases change."""
    _edits.unpack(folder)


def start() -> None:
    """Import OpenVINO, which does not survive a fork, in the child that uses it."""
    plugins.load("bmc.targets", "openvino", "target")


def cases() -> SearchStrategy[dict[str, Any]]:
    """Draw a bundle, what is done to it, whether hashes fit then, and what opens it."""
    return st.integers(0, 2**63).map(_case)


def _case(seed: int) -> dict[str, Any]:
    source = Random(seed)
    name = source.choice(_edits.seeds(bundles.MANIFEST))
    return {
        "seed": name,
        "edits": _edits.drawn(seed, _edits.names_of(name)),
        "fixed": source.random() < 0.75,
        "verb": source.choice(_VERBS),
    }


def check(case: dict[str, Any], folder: Path) -> None:
    """Change a copy of a bundle, and open it."""
    target_folder = folder / "bundle"
    shutil.copytree(folder.parent / "prepared" / case["seed"], target_folder)
    for edit in case["edits"]:
        _edits.apply(edit, target_folder, folder.parent / "outside")
    if case["fixed"]:
        if (target_folder / "model").is_dir():
            _edits.fix(target_folder / "model", "bmc.json")
        _edits.fix(target_folder, bundles.MANIFEST)
    if case["verb"] == "check":
        checking.check(target_folder, RuntimeOptions(threads=1))
    elif case["verb"] == "load":
        with bmc.load(target_folder, threads=1) as pipeline:
            row = pipeline.bundle.encoder.example()
            pipeline(row)
            pipeline([row, row])
    else:
        bundle = bundles.read(target_folder)
        bundle.golden()
        bundle.golden_rows()
        bundle.model_size()
        if (target_folder / bundles.EVALUATION).exists():
            bundles.read_arrays(target_folder / bundles.EVALUATION)

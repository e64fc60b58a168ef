"""Records that a stranger wrote: refused in one line, quickly, whatever they ask for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bmc import artifact
from bmc import data as datasets
from bmc.errors import ArtifactError, UsageError
from bmc.model import Model
from bmc.models import mlp
from tests._records import with_steps


def saved(folder: Path) -> Path:
    data = datasets.load("digits")
    model: Model = mlp.baseline("mlp", data, mlp.Settings(width=16, depth=3))
    return artifact.save(model, folder / "model")


def test_shared_layers_that_double_with_every_step_end_the_load(tmp_path: Path) -> None:
    steps: list[tuple[str, dict[str, Any]]] = [
        ("share/lowrank", {"hidden.0": 1}),
        ("share/lowrank", {"hidden.0.0": 1}),
    ]
    path = "hidden.0.0.1"
    for _ in range(40):
        steps.append(("share/lowrank", {path: 1}))
        steps.append(("share/layers", {"what": "all", "groups": [[f"{path}.0", f"{path}.1"]]}))
        path += ".0"
    with pytest.raises(ArtifactError, match=r"of more than|does not fit"):
        artifact.load(with_steps(saved(tmp_path), *steps))


@pytest.mark.parametrize(
    ("method", "record"),
    [
        ("prune/structured", {"hidden.3": {"type": "Linear", "in": 32768, "out": 16384}}),
        ("prune/structured", {"hidden.3": {"type": "Linear", "in": 16, "out": 17}}),
        ("prune/structured", {"hidden.3": {"type": "Linear", "in": True, "out": 8}}),
        ("prune/depth", {"hidden": [0, 1, 2, 3]}),
        ("prune/depth", {"": [0]}),
        ("prune/unstructured", {"parameters": {"x" * 5000: 0.5}}),
        ("prune/vocabulary", {"embedding": "hidden.0", "rows": 3, "padding": None}),
        ("share/layers", {"what": "all", "groups": [["hidden.3", "hidden.3"]]}),
        ("share/layers", {"what": "all", "groups": [["hidden.3"]]}),
        ("share/cluster", {"hidden.1": {"values": 2, "groups": 1, "zero": False}}),
        ("share/cluster", {"hidden.0": {"values": 10**12, "groups": 1, "zero": False}}),
        ("share/tie", {"tied": {"hidden.0.weight": "hidden.3.weight"}}),
        ("share/embedding", {"embedding": "hidden.0", "rank": 2}),
        ("share/lowrank", {"hidden.0": 10**12}),
        ("share/lowrank", {"__class__": 1}),
    ],
)
def test_a_record_that_asks_for_what_no_step_makes_is_refused(
    method: str, record: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises((ArtifactError, UsageError)) as caught:
        artifact.load(with_steps(saved(tmp_path), (method, record)))
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value).strip()


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_manifest_that_leaves_a_file_unhashed_is_refused(name: str, tmp_path: Path) -> None:
    folder = saved(tmp_path)
    manifest = json.loads((folder / "bmc.json").read_text())
    del manifest["files"][name]
    (folder / "bmc.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match=f"no sha256 of {name}"):
        artifact.load(folder)

"""Steps that are run in this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from bmc import artifact, bundle
from bmc.errors import GateError
from bmc.provenance import commands_of
from bmc.recipes.plan import Step
from bmc.recipes.running import run_step

BASE = Step("base", "train", {}, {"model": "mlp", "data": "digits", "epochs": 2, "width": 32})


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_step(BASE, {}, tmp_path_factory.mktemp("running") / "base")


def test_each_verb_writes_its_result_where_it_is_told(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BMC_HOME", str(tmp_path / "home"))
    pruning = {"method": "unstructured", "ratio": 0.2, "epochs": 0}
    pruned = run_step(
        Step("p", "prune", {"model": "base"}, pruning), {"model": base}, tmp_path / "p"
    )
    assert artifact.load(pruned).steps[-1].method == "prune/unstructured"
    clusters = {"method": "cluster", "values": 16, "epochs": 0}
    shared = run_step(
        Step("s", "share", {"model": "base"}, clusters), {"model": pruned}, tmp_path / "s"
    )
    quantizing = Step("q", "quantize", {"model": "base"}, {"method": "dynamic"})
    quantized = run_step(quantizing, {"model": shared}, tmp_path / "q")
    methods = [step.method for step in artifact.load(quantized).steps]
    assert methods == ["prune/unstructured", "share/cluster", "quantize/dynamic"]
    teaching = {"student": "mlp", "width": 4, "data": "digits", "epochs": 1}
    taught = Step("t", "distill", {"teacher": "base"}, teaching)
    student = run_step(taught, {"teacher": base}, tmp_path / "t")
    assert artifact.load(student).origin["teacher"]["name"] == "base"
    exporting = Step("e", "export", {"model": "t"}, {"target": "onnx"})
    written = bundle.read(run_step(exporting, {"model": student}, tmp_path / "e"))
    assert written.manifest.target == "onnx"
    lines = commands_of(artifact.load(pruned).origin)
    assert lines[-1] == "bmc prune base --method unstructured --ratio 0.2 --epochs 0"


def test_a_step_that_misses_its_gate_keeps_what_it_made(base: Path, tmp_path: Path) -> None:
    lossy = {"method": "unstructured", "ratio": 0.99, "epochs": 0, "max_drop": 0}
    with pytest.raises(GateError, match="points"):
        run_step(Step("p", "prune", {"model": "base"}, lossy), {"model": base}, tmp_path / "p")
    assert artifact.is_model_directory(tmp_path / "p.failed")
    assert not (tmp_path / "p").exists()

"""A failed check is exit code 1, and `--json` prints the document of the result with its name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bmc import artifact
from bmc.errors import DivergedError, GateError
from bmc.rendering.rendered import Rendered, render_result
from tests.cli._refusals import edit
from tests.fuzz import _edits

Run = Callable[..., tuple[int, str, str]]
QUICK = ("--precision", "fp32", "--device", "cpu")


def failed(result: tuple[int, str, str], *checks: str) -> dict[str, Any]:
    """Check that a command failed these checks, and return its document."""
    code, out, err = result
    assert code == 1, err
    document: dict[str, Any] = json.loads(out, parse_constant=pytest.fail)  # NaN is not JSON
    assert [failure["check"] for failure in document["failed"]] == list(checks)
    message = err.splitlines()[-1]
    assert message == "bmc: " + "; ".join(failure["message"] for failure in document["failed"])
    return document


@pytest.mark.parametrize(
    ("command", "check"),
    [
        ("prune mlp --ratio 0.9 --max-drop 0.5 --epochs 0 --device cpu", "accuracy"),
        ("prune mlp --target-size 64B --epochs 0 --device cpu", "budget"),
        ("share mlp --set energy=0.05 --max-drop 0.5 --epochs 0 --device cpu", "accuracy"),
        ("quantize mlp --calibrator percentile --set percentile=50 --max-drop 0.1", "accuracy"),
    ],
)
def test_a_model_that_lost_too_much_is_described_by_its_document(
    bmc: Run, known: Path, command: str, check: str
) -> None:
    document = failed(bmc(*command.split(), "--json"), check)
    kept = Path(document["output"])
    assert kept.name.endswith(".failed")
    model = artifact.load(kept)
    assert document["scores"] == model.scores
    assert document["after"]["parameters"] <= document["before"]["parameters"]
    assert {"applied", "seconds"} <= document.keys()


@pytest.fixture
def broken(known: Path, workspace: Path) -> Path:
    """Return a model whose weights have a NaN; the workspace knows it as `broken`."""
    model = artifact.load(known)
    with torch.no_grad():
        next(model.module.parameters())[0] = torch.nan
    return artifact.save(model, workspace / "broken")


def test_every_bundle_that_an_export_refused_is_in_its_document(bmc: Run, broken: Path) -> None:
    targets = "onnx,pytorch"
    document = failed(bmc("export", "broken", "--target", targets, "--json"), "parity", "parity")
    bundles = document["bundles"]
    assert [bundle["target"] for bundle in bundles] == targets.split(",")
    assert all(Path(bundle["output"]).name.endswith(".failed") for bundle in bundles)


@pytest.mark.parametrize("isolated", [(), ("--isolated", "--time-limit", 120)], ids=len)
def test_a_bundle_that_fails_its_check_is_described_by_its_document(
    bmc: Run, made_bundle: Path, isolated: tuple[object, ...]
) -> None:
    manifest = made_bundle / "manifest.json"
    edit(manifest, labels=list(reversed(json.loads(manifest.read_text())["labels"])))
    _edits.fix(made_bundle, manifest.name)
    document = failed(bmc("check", made_bundle, *isolated, "--json"), "parity")
    assert document["bundle"] == str(made_bundle)
    assert document["max_error"] <= document["allowed"]
    assert document["rows"] > 0
    assert "golden row" in document["failed"][0]["message"]


def test_a_bundle_that_failed_at_its_export_is_named_without_figures(
    bmc: Run, broken: Path
) -> None:
    assert bmc("export", "broken", "--target", "onnx")[0] == 1
    bundle = broken.with_name("broken-onnx.failed")
    document = failed(bmc("check", bundle, "--json"), "export")
    assert document.keys() == {"bundle", "failed"}


def test_a_failed_check_prints_no_result_without_json(bmc: Run, known: Path) -> None:
    options = ("--ratio", 0.9, "--max-drop", 0.5, "--epochs", 0)
    code, out, err = bmc("prune", known, *options, *QUICK)
    assert (code, out) == (1, "")
    assert "--max-drop allows 0.5" in err


def test_a_training_that_diverged_is_a_failed_check() -> None:
    def diverge() -> None:
        raise DivergedError("the loss became NaN in epoch 2")

    prediction = render_result(lambda result: Rendered({"never": result}), diverge)
    assert prediction.exit_code == DivergedError.exit_code
    assert prediction.data == {
        "failed": [{"check": "training", "message": "the loss became NaN in epoch 2"}]
    }


def test_a_python_caller_gets_the_result_with_the_error(known: Path) -> None:
    import bmc

    with pytest.raises(GateError) as caught:
        bmc.prune(known, ratio=0.9, max_drop=0.5, epochs=0, tuning={"device": "cpu"})
    assert caught.value.check == "accuracy"
    assert caught.value.result.path.name.endswith(".failed")  # type: ignore[attr-defined]

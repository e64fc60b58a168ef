"""`bmc quantize`, and what other commands make of its models and bundles."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bmc import artifact, processor
from tests import _timing
from tests._vnni import WEIGHT_BITS

Run = Callable[..., tuple[int, str, str]]
QUICK = ("--precision", "fp32", "--device", "cpu")


def test_a_quantized_model_is_exported_inspected_and_checked(
    known: Path, workspace: Path, bmc: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of its bundles is timed in processes, as users' are."""
    assert bmc("quantize", "mlp", "--samples", 64, "--set", f"weight_bits={WEIGHT_BITS}")[0] == 0
    code, _, err = bmc("export", "mlp-static", "--target", "openvino", "--allow-slower")
    assert code == 0, err
    _timing.in_processes(monkeypatch)
    code, _, err = bmc("export", "mlp-static", "--target", "onnx", "--allow-slower")
    assert code == 0, err
    created = json.loads((workspace / "mlp-static-onnx" / "manifest.json").read_text())
    assert created["precision"] == "int8"
    assert created["build"]["over_fp32"]["low"] > 0
    plain = json.loads((known / "bmc.json").read_text())["scores"]["validation_accuracy"]
    assert abs(created["scores"]["accuracy"]["value"] - plain) < 0.1
    code, out, _ = bmc("inspect", "mlp-static-onnx", "--json")
    assert code == 0
    executed = json.loads(out)["executed"]
    assert [item["precision"] for item in executed] == ["int8", "int8"]
    for name in ("mlp-static-onnx", "mlp-static-openvino"):
        code, out, _ = bmc("check", name, "--json")
        assert code == 0
        assert json.loads(out)["execution"]["precision"].startswith("int8")
    assert bmc("inspect", "mlp-static", "--rows", 8)[0] == 0
    assert bmc("predict", "mlp-static-onnx", "--help")[0] == 0


@pytest.mark.parametrize(
    ("options", "saturates", "noted"),
    [((), True, True), (("--set", "weight_bits=7"), True, False), ((), False, False)],
)
def test_a_processor_whose_accumulators_saturate_is_named(
    options: tuple[str, ...],
    saturates: bool,
    noted: bool,
    known: Path,
    bmc: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(processor, "saturates_int8", lambda: saturates)
    code, _, err = bmc("quantize", known, "--samples", 8, *options)
    assert code == 0, err
    assert ("this processor has no VNNI" in err) is noted


def test_training_after_quantization_learns_from_the_model_as_it_was(
    known: Path, workspace: Path, bmc: Run
) -> None:
    code, _, err = bmc("quantize", "mlp", "--method", "qat", "--samples", 64, *QUICK)
    assert code == 0, err
    copied = artifact.load(workspace / "mlp-qat")
    assert copied.origin["teacher"]["name"] == "mlp"
    assert {entry["inputs"] for entry in copied.steps[-1].record.values()} == {"learned"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--method", "statik"), "Did you mean 'static'?"),
        (("--epochs", 2), "takes no --epochs; --method qat does"),
        (("--distill",), "takes no --distill; --method qat does"),
        (("--method", "weights", "--learning-rate", 0.1), "takes no --learning-rate"),
        (("--method", "bf16", "--samples", 5), "bf16 has no --samples"),
        (("--bits", 4), "static has no --bits; --method weights has"),
        (
            ("--set", "outlier_treshold=2"),
            "Did you mean 'outlier_threshold'? There are",
        ),
        (("--method", "weights", "--bits", 2), "bits is 2"),
        (("--calibrator", "entropy"), "no calibrator named 'entropy'"),
        (("--in-float", "hiden.0"), "hidden.0"),
        (("--in-float", "hidden.0,outputt"), "no layer that can be quantized named 'outputt'"),
        (("--samples", 1), "1 calibration sample(s)"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    arguments: tuple[object, ...], message: str, known: Path, bmc: Run
) -> None:
    code, _, error = bmc("quantize", "mlp", *arguments)
    assert code == 2
    assert message in error


def test_a_target_that_cannot_execute_the_model_is_refused_before_another_is_made(
    known: Path, workspace: Path, bmc: Run
) -> None:
    assert bmc("quantize", "mlp", "--method", "bf16")[0] == 0
    code, _, error = bmc("export", "mlp-bf16", "--target", "openvino,onnx")
    assert code == 2
    assert "bf16, which onnx cannot execute; openvino" in error
    assert not (workspace / "mlp-bf16-openvino").exists()


def test_more_lost_than_may_be_is_kept_as_failed(
    known: Path, workspace: Path, bmc: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, error = bmc(
        "quantize", "mlp", "--calibrator", "percentile", "--set", "percentile=50", "--max-drop", 0.1
    )
    assert code == 1
    assert "points of the validation score were lost" in error
    assert "--method mixed" in error
    assert (workspace / "mlp-static.failed").is_dir()

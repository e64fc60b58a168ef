"""TensorRT engines are built without a GPU, and say that they were not run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bmc import bundle, targets
from bmc.bundle import Bundle

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="session")
def engine(lively_bundle: Callable[[str], Bundle]) -> Bundle:
    """Return a TensorRT bundle that was built on a machine without a GPU."""
    pytest.importorskip("tensorrt_rtx")
    if targets.load("tensorrt").available().devices:
        pytest.skip("there is a GPU: engines run here")
    return lively_bundle("tensorrt")


def test_an_engine_is_built_without_a_gpu(engine: Bundle) -> None:
    result = {file.name for file in engine.path.iterdir()}
    assert result == {
        "README.md",
        "model.onnx",
        "model.engine",
        "manifest.json",
        "tokenizer.json",
        "golden.npz",
        "golden.json",
        "evaluation.npz",
    }
    assert engine.model_path.stat().st_size > 1e6
    assert engine.manifest.stand_in is not None
    assert engine.manifest.build["max_batch"] == 16


def test_an_engine_that_was_not_run_has_no_score_but_its_onnx_file_has(
    engine: Bundle, lively_bundle: Callable[[str], Bundle]
) -> None:
    assert engine.manifest.scores == {}
    stand_in = engine.manifest.stand_in
    assert stand_in is not None
    assert stand_in.target == "onnx"
    stand_in_scores, scores = dict(stand_in.scores), dict(lively_bundle("onnx").manifest.scores)
    calibration_error = stand_in_scores.pop("calibration_error")  # of probabilities: not bit-equal
    assert calibration_error == pytest.approx(scores.pop("calibration_error"), rel=1e-4)
    assert stand_in_scores == scores


def test_check_of_an_engine_without_a_gpu_exits_3(engine: Bundle, bmc: Run) -> None:
    code, out, err = bmc("check", engine.path)
    assert code == 3
    assert out == ""
    assert "not run" in err
    assert "checksums are right" in err


def test_predict_with_an_engine_without_a_gpu_exits_3(engine: Bundle, bmc: Run) -> None:
    code, _, err = bmc("predict", engine.path, "a fine film")
    assert code == 3
    assert "NVIDIA" in err


def test_golden_rows_fit_an_engine_for_single_rows(
    engine: Bundle, lively_folder: Path, bmc: Run, tmp_path: Path
) -> None:
    output = tmp_path / "single"
    options = ["--target", "tensorrt", "--max-batch", 1, "-o", output]
    code, out, err = bmc("export", lively_folder, *options)
    assert code == 0, err
    assert "its ONNX file; the engine was built, not run here" in out
    inputs, outputs = bundle.read(output).golden()
    assert {array.shape[0] for array in (inputs | outputs).values()} == {1}
    assert engine.path != output

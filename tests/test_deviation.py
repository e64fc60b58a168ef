"""A bundle whose outputs differ on this device says so when it is loaded."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bmc import bundle, deviation, golden, load, processor
from bmc.errors import OutputsWarning


def with_other_outputs(folder: Path, made: Path, precision: str = "fp32") -> Path:
    """Copy a bundle, and record other golden outputs than its model has here."""
    copy = Path(shutil.copytree(folder, made))
    opened = bundle.read(copy)
    inputs, outputs = opened.golden()
    moved = {name: array + np.float32(10) for name, array in outputs.items()}
    golden.write_golden(copy / golden.ARRAYS, inputs, moved, opened.golden_rows())
    bundle.write(copy, replace(opened.manifest, precision=precision))
    return copy


@pytest.mark.parametrize("target", ["onnx", "openvino", "pytorch"])
def test_a_bundle_with_other_outputs_here_warns_when_it_is_loaded(
    target: str, bundle_of: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = with_other_outputs(bundle_of(target), tmp_path / "moved")
    with pytest.warns(OutputsWarning, match="moved has other outputs on this device") as caught:
        load(folder).close()
    assert caught[0].filename == __file__


@pytest.mark.parametrize("target", ["onnx", "openvino", "pytorch"])
def test_a_bundle_with_its_own_outputs_does_not_warn(
    target: str, bundle_of: Callable[[str], Path]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", OutputsWarning)
        load(bundle_of(target)).close()


@pytest.mark.parametrize(
    ("precision", "saturates", "said"),
    [("int8", True, True), ("int8", False, False), ("fp32", True, False)],
)
def test_the_warning_names_saturation_where_the_processor_has_no_vnni(
    precision: str,
    saturates: bool,
    said: bool,
    bundle_of: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(processor, "saturates_int8", lambda: saturates)
    folder = with_other_outputs(bundle_of("onnx"), tmp_path / "moved", precision)
    with load(folder, warm=False) as classify:
        difference = classify.difference()
    assert ("--set weight_bits=7" in difference) is said


def test_predict_notes_other_outputs_and_still_predicts(
    bundle_of: Callable[[str], Path], tmp_path: Path, bmc: Callable[..., tuple[int, str, str]]
) -> None:
    folder = with_other_outputs(bundle_of("onnx"), tmp_path / "moved")
    code, output, notes = bmc("predict", folder, "a warm and witty film")
    assert code == 0
    assert "tive" in output
    assert "has other outputs on this device" in notes


def test_a_masked_golden_value_does_not_allow_any_change(bundle_of: Callable[[str], Path]) -> None:
    opened = bundle.read(bundle_of("onnx"))
    opened = replace(opened, manifest=replace(opened.manifest, parity={}))
    masked = {"scores": np.array([2.0, -np.inf], np.float32)}
    allowed = deviation.allowed_change(opened, masked)
    assert allowed == deviation.allowed_change(opened, {"scores": np.array([2.0, 0.0])})

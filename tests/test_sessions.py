"""`bmc.load`: the runtime that is asked for, and a first call that is as fast as later ones."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import bmc as package
from bmc import bundle as bundles
from bmc.errors import SettingError, UnknownError, UsageError
from bmc.pipeline import Pipeline
from bmc.sessions import for_target
from bmc.targets.onnx import OnnxSession

BundleOf = Callable[[str], Path]
TEXT = "a warm and witty film"


def test_an_engine_also_runs_from_the_onnx_file_in_its_bundle(
    bundle_of: BundleOf, tmp_path: Path
) -> None:
    """A copy of the ONNX bundle stands in for an engine, which takes long to build."""
    folder = tmp_path / "engine"
    shutil.copytree(bundle_of("onnx"), folder)
    shutil.copy(folder / "model.onnx", folder / "model.engine")
    manifest = bundles.read(bundle_of("onnx")).manifest
    bundles.write(folder, replace(manifest, target="tensorrt", model="model.engine"))
    with package.load(bundle_of("onnx")) as classify:
        expected = classify(TEXT)
    packed = package.pack(folder)
    runs = [(path, target) for path in (folder, packed) for target in ("onnx", "openvino")]
    for path, target in runs:
        with package.load(path, target, threads=1) as classify:
            assert classify(TEXT).label == expected.label
            assert classify(TEXT).score == pytest.approx(expected.score, abs=1e-4)


def test_a_bundle_of_another_target_says_how_to_export_one(bundle_of: BundleOf) -> None:
    bundle = bundles.read(bundle_of("onnx"))
    assert for_target(bundle, None) is bundle
    assert for_target(bundle, "onnx") is bundle
    with pytest.raises(UsageError, match=r"is for onnx, .* bmc export small --target openvino"):
        package.load(bundle.path, target="openvino")
    with pytest.raises(UnknownError, match="Did you mean 'onnx'"):
        package.load(bundle.path, target="onx")
    with pytest.raises(SettingError, match=r"target is 2; .* threads= sets"):
        package.load(bundle.path, 2)  # type: ignore[arg-type]


@pytest.mark.parametrize("warm", [True, False])
def test_golden_rows_are_predicted_and_compared_at_once_if_asked(
    bundle_of: BundleOf, monkeypatch: pytest.MonkeyPatch, warm: bool
) -> None:
    calls: list[Any] = []
    run = OnnxSession.run

    def counted(self: OnnxSession, inputs: Any) -> Any:
        calls.append(inputs)
        return run(self, inputs)

    monkeypatch.setattr(OnnxSession, "run", counted)
    with package.load(bundle_of("onnx"), warm=warm) as classify:
        assert len(calls) == (2 if warm else 0)
        classify(TEXT)
        assert len(calls) == (3 if warm else 1)


def test_an_error_of_the_first_prediction_is_left_to_the_call_that_has_it(
    bundle_of: BundleOf, tmp_path: Path
) -> None:
    folder = tmp_path / "pairs"
    shutil.copytree(bundle_of("onnx"), folder)
    manifest = bundles.read(folder).manifest
    bundles.write(folder, replace(manifest, preprocessing={**manifest.preprocessing, "columns": 2}))
    with package.load(folder) as pipeline, pytest.raises(package.BmcError, match="cannot compute"):
        pipeline(("what a film", "indeed"))


def test_a_bundle_without_raw_golden_rows_is_warmed_with_its_tensors() -> None:
    older = Path(__file__).parent / "older" / "0.1" / "quantized-onnx"
    with package.load(older) as pipeline:
        assert isinstance(pipeline, Pipeline)

"""The model for ONNX Runtime Mobile: written, listed, checked against golden rows, and refused."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from jsonschema import Draft202012Validator

import bmc as package
from bmc import bundle as bundles
from bmc import checking
from bmc.data import Dataset
from bmc.errors import ArtifactError
from bmc.export import ExportOptions, flow
from bmc.export.source import source_of
from bmc.targets import RuntimeOptions
from tests._onnx import cnn
from tests._pages import ROOT
from tests.cli._refusals import refused

Run = Callable[..., tuple[int, str, str]]
ONE = RuntimeOptions(threads=1)


@pytest.fixture(scope="module")
def folder(lively_folder: Path, reviews: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bundle with a model for mobile devices."""
    output = tmp_path_factory.mktemp("mobile") / "lively-onnx"
    with source_of(lively_folder, reviews, ExportOptions(mobile=True)) as source:
        return flow.export(source, "onnx", output, force=False).path


def test_it_is_in_the_bundle_with_the_operators_that_it_needs(folder: Path) -> None:
    read = bundles.read(folder)
    assert read.manifest.build["mobile"] == {
        "model": "model.ort",
        "operators": "required_operators.config",
    }
    assert {"model.ort", "required_operators.config"} <= read.files.keys()
    lines = (folder / "required_operators.config").read_text().splitlines()
    assert lines[0] == "# operators of model.ort"
    assert all(re.fullmatch(r"[\w.]+;\d+;\w+(,\w+)*", line) for line in lines[1:])
    assert any("LayerNormalization" in line for line in lines)
    schema = json.loads((ROOT / "docs" / "schemas" / "bundle.json").read_text())
    Draft202012Validator(schema).validate(json.loads((folder / "manifest.json").read_text()))


def test_the_minimal_api_loads_it_and_its_outputs_are_the_golden_ones(folder: Path) -> None:
    inputs, expected = bundles.read(folder).golden()
    settings = onnxruntime.SessionOptions()
    settings.add_session_config_entry("session.load_model_format", "ORT")
    session = onnxruntime.InferenceSession(
        (folder / "model.ort").read_bytes(), settings, providers=["CPUExecutionProvider"]
    )
    (logits,) = session.run(["logits"], inputs)
    np.testing.assert_allclose(logits, expected["logits"], atol=1e-4)


def test_the_check_runs_it_as_well(folder: Path, tmp_path: Path) -> None:
    assert checking.check(folder, ONE).rows == 4
    damaged = tmp_path / "damaged"
    shutil.copytree(folder, damaged)
    (damaged / "model.ort").write_bytes(b"")
    bundles.write(damaged, bundles.read(folder).manifest)
    with pytest.raises(ArtifactError, match=r"cannot load .*model\.ort"):
        checking.check(damaged, ONE)


def test_an_onnx_file_in_its_place_is_refused_since_it_may_name_other_files(
    folder: Path, tmp_path: Path
) -> None:
    content = bundles.read(folder).manifest
    named = Path(shutil.copytree(folder, tmp_path / "named"))
    mobile = {**content.build["mobile"], "model": "model.onnx"}
    bundles.write(named, replace(content, build={**content.build, "mobile": mobile}))
    with pytest.raises(ArtifactError, match=r"'model\.onnx', is not a \.ort file"):
        checking.check(named, ONE)
    disguised = Path(shutil.copytree(folder, tmp_path / "disguised"))
    shutil.copyfile(disguised / "model.onnx", disguised / "model.ort")
    bundles.write(disguised, content)
    for bundle in (disguised, package.pack(disguised, tmp_path / "disguised.bmc")):
        with pytest.raises(ArtifactError, match=r"cannot load .*model\.ort"):
            checking.check(bundle, ONE)


def test_an_onnx_file_of_another_tool_gets_one_too(tmp_path: Path, bmc: Run) -> None:
    file = cnn(tmp_path / "net.onnx")
    code, _, err = bmc(
        *("export", file, "--target", "onnx", "--mobile", "--random-samples"),
        *("-o", tmp_path / "net"),
    )
    assert code == 0, err
    assert bundles.read(tmp_path / "net").in_mobile_format() is not None
    assert checking.check(tmp_path / "net", ONE).rows >= 1


@pytest.mark.parametrize("target", ["openvino", "tensorrt", "pytorch", "onnx,openvino"])
def test_other_targets_are_refused_by_name(target: str, lively_folder: Path, bmc: Run) -> None:
    other = target.rpartition(",")[2]
    refused(
        bmc("export", lively_folder, "--target", target, "--mobile"),
        f"--mobile writes a format of onnx, and {other} has none: --target onnx",
    )

"""The JSON Schemas of docs/schemas fit the model directories and bundles that bmc writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

import bmc
from tests._pages import ROOT
from tests._vnni import WEIGHT_BITS

SCHEMAS = ROOT / "docs" / "schemas"


def validator(name: str) -> Draft202012Validator:
    """Return a checker of the schema of that name."""
    schema = json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def content(path: Path) -> dict[str, Any]:
    """Return what a JSON file holds."""
    read: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return read


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> bmc.ModelHandle:
    """Return a pruned and quantized network of images."""
    folder = tmp_path_factory.mktemp("network")
    trained = bmc.train("mlp", data="digits", width=16, epochs=1, output=folder / "trained")
    pruned = bmc.prune(trained, ratio=0.5, epochs=0, output=folder / "pruned")
    return bmc.quantize(pruned, samples=16, weight_bits=WEIGHT_BITS, output=folder / "quantized")


def test_a_text_models_directory_fits_its_schema(model_folder: Path) -> None:
    validator("model-directory").validate(content(model_folder / "bmc.json"))


def test_a_compressed_models_directory_fits_its_schema(network: bmc.ModelHandle) -> None:
    manifest = content(network.path / "bmc.json")
    assert [step["method"] for step in manifest["steps"]] == [
        "prune/structured",
        "quantize/static",
    ]
    validator("model-directory").validate(manifest)


@pytest.mark.parametrize("target", ["onnx", "openvino", "tensorrt", "pytorch"])
def test_a_bundle_of_each_target_fits_its_schema(
    bundle_of: Callable[[str], Path], target: str
) -> None:
    validator("bundle").validate(content(bundle_of(target) / "manifest.json"))


def test_a_quantized_networks_bundle_fits_its_schema(
    network: bmc.ModelHandle, tmp_path: Path
) -> None:
    bundle = network.to("onnx", allow_slower=True, output=tmp_path / "bundle")
    validator("bundle").validate(content(bundle.path / "manifest.json"))


@pytest.mark.parametrize("key", ["schema", "inputs", "digest", "files"])
def test_a_manifest_that_lacks_a_field_does_not_fit(
    bundle_of: Callable[[str], Path], key: str
) -> None:
    manifest = content(bundle_of("onnx") / "manifest.json")
    del manifest[key]
    with pytest.raises(ValidationError, match=key):
        validator("bundle").validate(manifest)

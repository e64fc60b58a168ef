"""A bundle of every kind of input: its manifest, its README.md, packed, and asked in batches."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from starlette.testclient import TestClient
from torch import nn

import bmc
from bmc import artifact, checking
from bmc import bundle as bundles
from bmc import data as datasets
from bmc.contracts import families
from bmc.data import Dataset
from bmc.export import ExportOptions, flow
from bmc.export.source import source_of
from bmc.model import Model
from bmc.rendering.predictions import content_of
from bmc.serving.app import application
from bmc.serving.settings import ServingSettings
from bmc.targets import RuntimeOptions
from tests import _onnx
from tests._pages import ROOT
from tests.fuzz import _edits

ONE = RuntimeOptions(threads=1)
SEEDS = ("image", "series")  # of these, the seeds of fuzzing have bundles
KINDS = ("words", "ngram", "audio", "features", "latent", "array", "tensors", *SEEDS)


@pytest.fixture(scope="module")
def bundle_of_kind(
    clips: Dataset, reviews: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """Return a function that makes a small ONNX bundle of a kind of input, once."""
    folder = tmp_path_factory.mktemp("kinds")
    _edits.unpack(folder / "seeds")

    def make(kind: str) -> Path:
        output = folder / f"{kind}-onnx"
        if output.exists():
            return output
        if kind in SEEDS:
            seed = folder / "seeds" / f"{kind}-onnx"
            bundles.write(seed, bundles.read(seed).manifest)
            return seed
        if kind == "array":
            return _of_arrays(folder, output)
        if kind == "tensors":
            samples = {"image": _onnx.images(8)}
            file = _onnx.cnn(folder / "cnn.onnx")
            return bmc.OnnxHandle(file).to("onnx", samples=samples, output=output).path
        data, family, settings = _source(kind, folder, reviews, clips)
        model = _untrained(family, data, settings)
        with source_of(artifact.save(model, folder / kind), data, ExportOptions()) as source:
            flow.export(source, "onnx", output, force=False)
        return output

    return make


def _source(
    kind: str, folder: Path, reviews: Dataset, clips: Dataset
) -> tuple[Dataset, str, dict[str, Any]]:
    """Return small data of a kind, a family of networks that takes it, and its settings."""
    if kind == "ngram":
        return reviews, "ngram", {"buckets": 64, "width": 2}
    if kind == "audio":
        return clips, "ds-cnn", {"width": 4, "blocks": 1}
    if kind == "latent":
        return datasets.load("digits"), "gan", {"width": 8, "latent": 10}
    if kind == "features":
        return datasets.load("breast-cancer"), "mlp", {"width": 8, "depth": 1}
    lines = [f"word{number % 7} {'B-A' if number % 3 else 'O'}\nother O\n" for number in range(60)]
    (folder / "people.conll").write_text("\n".join(lines))
    data = datasets.load(str(folder / "people.conll"), task="tokens")
    return data, "recurrent", {"hidden": 4, "embedding": 4, "vocabulary": 300}


def _untrained(family: str, data: Dataset, settings: dict[str, Any]) -> Model:
    """Return an untrained network for some data."""
    described = families.family(family)
    name = "gru" if family == "recurrent" else family
    model: Model = families.network(family).baseline(name, data, described.settings(**settings))
    model.data = {**model.data, "reference": data.name, "fingerprint": data.fingerprint}
    return model


def _of_arrays(folder: Path, output: Path) -> Path:
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(60, 4)).astype(np.float32)
    labels = (rows[:, 0] > 0).astype(np.int64)
    wrapped = bmc.wrap(nn.Linear(4, 2), (rows, labels), output=folder / "array")
    return wrapped.to("onnx", output=output).path


def schema() -> Draft202012Validator:
    content = json.loads((ROOT / "docs" / "schemas" / "bundle.json").read_text(encoding="utf-8"))
    return Draft202012Validator(content)


@pytest.mark.parametrize("kind", KINDS)
def test_a_bundle_of_each_kind_fits_the_schema_and_has_a_card(
    bundle_of_kind: Callable[[str], Path], kind: str
) -> None:
    bundle = bundles.read(bundle_of_kind(kind))
    content = json.loads((bundle.path / bundles.MANIFEST).read_text(encoding="utf-8"))
    assert content["preprocessing"]["kind"] == kind
    schema().validate(content)
    assert bundles.CARD in content["files"]
    assert f"preprocessing: `{kind}`" in (bundle.path / bundles.CARD).read_text(encoding="utf-8")
    del content["preprocessing"][next(key for key in content["preprocessing"] if key != "kind")]
    assert not schema().is_valid(content), "a setting that is missing is noticed"


@pytest.mark.parametrize("kind", KINDS)
def test_a_packed_bundle_of_each_kind_is_checked_and_predicts_in_batches(
    bundle_of_kind: Callable[[str], Path], tmp_path: Path, kind: str
) -> None:
    path = bmc.pack(bundle_of_kind(kind), tmp_path / "x.bmc")
    assert checking.check(path, ONE).rows >= 1
    golden = bundles.read(path).golden_rows()
    assert golden is not None
    rows = golden.rows * 3
    with bmc.load(path, threads=1) as packed, bmc.load(bundle_of_kind(kind), threads=1) as folder:
        assert packed.bundle.runs_from_memory
        expected = folder(rows)
        same = packed.batch(iter(rows), size=2, memory_mb=0.01)
        for prediction, other in zip(same, expected, strict=True):
            assert _close(prediction, other)


@pytest.mark.parametrize(
    "kind", ["words", "ngram", "features", "latent", "array", "tensors", "series"]
)
def test_a_service_answers_rows_of_a_kind_in_json(
    bundle_of_kind: Callable[[str], Path], kind: str
) -> None:
    with bmc.load(bundle_of_kind(kind), threads=1) as pipeline:
        golden = pipeline.bundle.golden_rows()
        assert golden is not None
        row = golden.rows[0]
        (expected,) = pipeline([row])
        names = [info.name for info in pipeline.bundle.encoder.tensors()]
        with TestClient(application(pipeline, ServingSettings())) as client:
            answer = client.post("/predict", json={"rows": [_as_json(row, kind, names)]})
    assert answer.status_code == 200, answer.text
    (content,) = answer.json()["predictions"]
    assert json.dumps(content)[:1] == json.dumps(content_of(expected))[:1]
    if kind == "tensors":
        assert content.keys() == expected.keys()
        assert all(np.allclose(content[name], expected[name], atol=1e-5) for name in expected)


def _as_json(row: Any, kind: str, names: list[str]) -> Any:
    """Return a golden row as a request sends it."""
    if kind == "tensors":
        arrays = row.values() if isinstance(row, dict) else row if type(row) is tuple else [row]
        return {name: array.tolist() for name, array in zip(names, arrays, strict=True)}
    return row.tolist() if isinstance(row, np.ndarray) else row


def test_outputs_that_are_not_finite_are_null_in_json() -> None:
    outputs = {"scores": np.array([[1.5, np.nan], [-np.inf, 0]], np.float16), "ids": np.array([7])}
    content = {"scores": [[1.5, None], [None, 0.0]], "ids": [7]}
    assert json.loads(json.dumps(content_of(outputs), allow_nan=False)) == content


def _close(first: Any, second: Any) -> bool:
    """Tell whether two predictions are the same but for rounding."""
    if isinstance(first, tuple):
        return len(first) == len(second) and all(map(_close, first, second))
    if isinstance(first, dict):
        return all(np.allclose(first[name], second[name], atol=1e-5) for name in second)
    if hasattr(first, "label"):
        return bool(first.label == second.label and abs(first.score - second.score) < 1e-4)
    return bool(np.allclose(np.asarray(first, float), np.asarray(second, float), atol=1))  # pixels

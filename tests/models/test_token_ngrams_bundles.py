"""Bundles of transformers with n-grams of tokens: every target answers as the module."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from bmc import artifact, load
from bmc.compress.quantize.static import Static
from bmc.data import Dataset
from bmc.export import ExportOptions, flow
from bmc.export.source import source_of
from bmc.model import AppliedStep, Model
from bmc.models import bert
from bmc.training.settings import TrainingSettings
from bmc.training.work import work_for
from tests._vnni import WEIGHT_BITS
from tests.models import _bundles

SMALL = {"hidden": "16", "heads": "2", "feed_forward": "24", "vocabulary": "200", "ngrams": "64"}


def student_of(teacher: Model, data: Dataset) -> Model:
    """Return a BERT of one layer whose n-grams decide as much as the layer does."""
    size = bert.Size(layers=1, hidden=32, intermediate=64, start="teacher", ngrams=64)
    student = bert.student(teacher, size, data)
    torch.manual_seed(1)
    with torch.no_grad():
        student.module.get_parameter("ngrams.table.weight").normal_(std=0.5)
    student.data = {"reference": data.name, "fingerprint": data.fingerprint}
    return student


@pytest.fixture(scope="module", params=["bert", "transformer"])
def small(
    request: pytest.FixtureRequest,
    make_lively: Callable[..., Model],
    reviews: Dataset,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[_bundles.Exported]:
    """Return a small network with n-grams, and its bundles."""
    folder = tmp_path_factory.mktemp("small")
    if request.param == "transformer":
        with _bundles.exports_of("transformer", reviews, folder, **SMALL) as exported:
            yield exported
        return
    model = _bundles.saved(student_of(make_lively(), reviews), folder / "model")
    with _bundles.exporting(folder / "model", reviews) as export:
        yield _bundles.Exported(model, export)


def test_bundles_answer_like_the_module(small: _bundles.Exported) -> None:
    inputs = [_bundles.texts(small.model, rows, length) for rows, length in _bundles.SHAPES]
    for target in ("onnx", "openvino", "pytorch"):
        outputs = _bundles.answers_of(small.bundle(target), inputs)
        for arrays, output in zip(inputs, outputs, strict=True):
            np.testing.assert_allclose(
                output, _bundles.module_answers(small.model, arrays), atol=2e-5, err_msg=target
            )
    graph = onnx.load(small.bundle("onnx").model_path).graph
    assert [node.op_type for node in graph.node].count("Mod") == 1
    assert len(graph.input) == 2


def test_tensorrt_builds_an_engine(small: _bundles.Exported) -> None:
    pytest.importorskip("tensorrt_rtx")
    assert small.bundle("tensorrt").model_path.stat().st_size > 0


def test_a_text_longer_than_the_model_is_cut_as_in_training(small: _bundles.Exported) -> None:
    texts = [("an hour of wit and charm " * 300,), ("fine",)]
    encoder = small.model.encoder
    arrays = encoder.batch(encoder.encode(texts), range(2))
    assert arrays["input_ids"].shape[1] == encoder.longest()["sequence"]
    with load(small.bundle("onnx").path) as pipeline:
        outputs = pipeline.outputs(texts)
    expected = _bundles.module_answers(small.model, arrays)
    np.testing.assert_allclose(outputs, expected, atol=2e-5)


def test_a_student_of_8_bits_answers_in_its_bundle_as_in_pytorch(
    make_lively: Callable[..., Model], reviews: Dataset, tmp_path: Path
) -> None:
    model = student_of(make_lively(), reviews)
    settings = TrainingSettings(precision="fp32", device="cpu")
    work = work_for(reviews, (), settings, tmp_path, tmp_path, lambda name: model, run="")
    step = Static(samples=16, weight_bits=WEIGHT_BITS)
    model.steps.append(AppliedStep("quantize/static", {}, step.apply(model, work), 0, 0.0))
    inputs: Any = [_bundles.texts(model, 3, 7)]
    expected = _bundles.module_answers(model, inputs[0])
    folder = artifact.save(model, tmp_path / "model")
    with source_of(folder, reviews, ExportOptions(allow_slower=True)) as source:
        bundle = flow.export(source, "onnx", tmp_path / "onnx", force=False)
    assert bundle.manifest.precision == "int8"
    (output,) = _bundles.answers_of(bundle, inputs)
    np.testing.assert_allclose(output, expected, atol=0.03 * np.abs(expected).max())

"""The convolutional network over words: what it computes, and its bundles."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import conv1d, pad

from bmc.compress.quantize.static import Static
from bmc.data import Dataset
from bmc.errors import ArtifactError, SettingError
from bmc.export import ExportOptions, flow
from bmc.export.source import source_of
from bmc.model import AppliedStep
from bmc.models import textcnn
from bmc.models.textcnn import Settings
from bmc.training.settings import TrainingSettings
from bmc.training.work import work_for
from tests._vnni import WEIGHT_BITS
from tests.models import _bundles

SMALL = {"filters": "8", "embedding": "8", "vocabulary": "200"}
SPEC: dict[str, Any] = {
    "vocabulary": 50,
    "embedding": 6,
    "columns": 1,
    "widths": [2, 3, 4],
    "filters": 5,
    "outputs": 3,
    "dropout": 0.0,
}


def test_its_layers_are_convolutions_with_a_maximum_over_time() -> None:
    torch.manual_seed(0)
    module: Any = textcnn.build(SPEC)
    ids = torch.randint(50, (2, 9))
    vectors = module.embedding.words(ids).transpose(1, 2)
    maxima = []
    for width, layer in zip(SPEC["widths"], module.convolutions, strict=True):
        kernel = layer.weight.view(5, width, 6).transpose(1, 2)
        padded = pad(vectors, (width // 2, width - 1 - width // 2))
        maxima.append(conv1d(padded, kernel, layer.bias).relu().amax(dim=2))
    with torch.inference_mode():
        expected = module.classifier(torch.cat(maxima, dim=1))
        torch.testing.assert_close(module(ids, torch.ones_like(ids)), expected)


@pytest.mark.parametrize("columns", [1, 2])
def test_padding_changes_no_answer_and_order_does(columns: int) -> None:
    torch.manual_seed(0)
    module = textcnn.build({**SPEC, "columns": columns})
    ids, types = torch.randint(4, 50, (1, 6)), torch.tensor([[0, 0, 0, 1, 1, 1]])

    def logits(ids: torch.Tensor, mask: torch.Tensor, types: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            outputs: torch.Tensor = module(ids, mask, types if columns == 2 else None)
        return outputs

    alone = logits(ids, torch.ones_like(ids), types)
    more = torch.cat([ids, torch.full((1, 5), 9)], dim=1)
    mask = (torch.arange(11) < 6).long()[None]
    padded = logits(more, mask, torch.cat([types, torch.zeros(1, 5, dtype=torch.int64)], dim=1))
    torch.testing.assert_close(padded, alone, atol=1e-6, rtol=0)
    assert (logits(ids.flip(1), torch.ones_like(ids), types) - alone).abs().max() > 1e-3


@pytest.fixture(scope="module")
def small(
    reviews: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[_bundles.Exported]:
    """Return a small network after one epoch, and its bundles."""
    folder = tmp_path_factory.mktemp("small")
    with _bundles.exports_of("textcnn", reviews, folder, **SMALL) as exported:
        yield exported


def test_bundles_answer_like_the_module(small: _bundles.Exported) -> None:
    inputs = [_bundles.texts(small.model, rows, length) for rows, length in _bundles.SHAPES]
    for target in ("onnx", "openvino", "pytorch"):
        outputs = _bundles.answers_of(small.bundle(target), inputs)
        for arrays, output in zip(inputs, outputs, strict=True):
            np.testing.assert_allclose(
                output, _bundles.module_answers(small.model, arrays), atol=2e-5, err_msg=target
            )


def test_openvino_answers_in_8_bits_like_the_module(reviews: Dataset, tmp_path: Path) -> None:
    model = _bundles.trained("textcnn", reviews, tmp_path / "checkpoints", **SMALL)
    with torch.no_grad():
        model.module.get_parameter("classifier.weight").mul_(20)
    settings = TrainingSettings(epochs=1, precision="fp32", device="cpu")
    work = work_for(reviews, (), settings, tmp_path, tmp_path, lambda _: model, run="")
    step = Static(samples=16, weight_bits=WEIGHT_BITS)
    model.steps = [AppliedStep("quantize/static", {}, step.apply(model, work), 0, 0.0)]
    loaded = _bundles.saved(model, tmp_path / "textcnn")
    with source_of(tmp_path / "textcnn", reviews, ExportOptions(allow_slower=True)) as source:
        bundle = flow.export(source, "openvino", tmp_path / "openvino", force=False)
    inputs = [_bundles.texts(loaded, rows, length) for rows, length in _bundles.SHAPES]
    for arrays, output in zip(inputs, _bundles.answers_of(bundle, inputs), strict=True):
        expected = _bundles.module_answers(loaded, arrays)
        assert expected.std() > 0.1
        np.testing.assert_allclose(output, expected, atol=0.05)


def test_tensorrt_builds_an_engine(small: _bundles.Exported) -> None:
    pytest.importorskip("tensorrt_rtx")
    assert small.bundle("tensorrt").model_path.stat().st_size > 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"filters": 0}, "filters is 0"),
        ({"widths": ()}, "widths is ''"),
        ({"widths": ("3", "x")}, "widths is '3,x'"),
        ({"widths": ("17",)}, "1 to 16"),
        ({"dropout": 1.0}, r"dropout is 1\.0"),
        ({"embedding": -1}, "embedding is -1"),
        ({"vocabulary": 5}, "vocabulary is 5"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        Settings(**wrong)


@pytest.mark.parametrize(
    "wrong", [{"widths": [0]}, {"widths": 3}, {"filters": 2**40}, {"dropout": None}]
)
def test_a_config_that_does_not_fit_together_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ArtifactError, match=r"config\.json"):
        textcnn.build({**SPEC, **wrong})

"""Outlying input channels are scaled down before they are quantized, and their weights up."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from safetensors.torch import load_model, save_model
from torch import Tensor, nn

from bmc import data as datasets
from bmc import inputs
from bmc.compress.quantize.dynamic import Dynamic
from bmc.compress.quantize.mixed import Mixed
from bmc.compress.quantize.qat import Qat
from bmc.compress.quantize.static import Static
from bmc.contracts import families
from bmc.data import Dataset
from bmc.errors import ArtifactError, SettingError
from bmc.export.onnx_graph import write_onnx
from bmc.inference.form import become_inference_form
from bmc.inference.layers import quantizable_layers
from bmc.inference.quantized_form import quantize_layers
from bmc.inference.quantized_layers import QuantizedLinear
from bmc.model import Model, Work, output_of
from bmc.models import mlp
from bmc.quantization.equalization import channel_divisors
from tests._vnni import WEIGHT_BITS

FARTHER = 50.0


@pytest.fixture
def model(digits: Dataset) -> Model:
    """Build a perceptron of which one hidden unit is far larger than it needs to be."""
    torch.manual_seed(0)
    copied: Model = mlp.baseline("mlp", digits, mlp.Settings(width=32, depth=2))
    layers: list[Any] = [copied.module.get_submodule(name) for name in ("hidden.0", "hidden.3")]
    first, last = layers
    with torch.no_grad():
        largest = rows_of(copied)[0]
        unit = int(nn.functional.linear(largest.flatten(1), first.weight).amax(0).argmax())
        first.weight[unit] *= FARTHER
        first.bias[unit] *= FARTHER
        last.weight[:, unit] /= FARTHER
    return copied


def rows_of(model: Model) -> list[Tensor]:
    encoded = model.encoder.encode(datasets.load("digits").validation.rows)
    batches = inputs.ordered_batches(model.encoder, encoded, 64)
    return [torch.from_numpy(arrays["pixels"]) for _, arrays in batches]


def outputs_of(model: Model) -> Tensor:
    with torch.inference_mode():
        module = model.module.eval()
        return torch.cat([output_of(module, {"pixels": row}) for row in rows_of(model)])


EITHER = pytest.mark.parametrize(
    "step",
    [Static(samples=64, weight_bits=WEIGHT_BITS), Dynamic(samples=64, weight_bits=WEIGHT_BITS)],
)


def quantized(model: Model, step: Static | Dynamic, work: Work) -> tuple[Model, dict[str, Any]]:
    copied = replace(model, module=copy.deepcopy(model.module), steps=[])
    return copied, step.apply(copied, work)


@EITHER
def test_a_layer_with_an_outlying_channel_is_equalized_and_no_other(
    step: Static | Dynamic, model: Model, work: Work
) -> None:
    _, record = quantized(model, step, work)
    assert [path for path, entry in record.items() if "divided" in entry] == ["hidden.3"]
    _, record = quantized(model, replace(step, outlier_threshold=0), work)
    assert not any("divided" in layer_record for layer_record in record.values())


@pytest.mark.parametrize(
    "step", [Static(samples=64, calibrator="minmax"), Dynamic(samples=64, weight_bits=WEIGHT_BITS)]
)
def test_an_equalized_model_answers_nearer_to_float(
    step: Static | Dynamic, model: Model, work: Work
) -> None:
    expected = outputs_of(model)
    errors = []
    for threshold in (0.0, 2.0):
        copied, _ = quantized(model, replace(step, outlier_threshold=threshold), work)
        errors.append(float((outputs_of(copied) - expected).abs().mean()))
    assert 0 < 2 * errors[1] < errors[0]


@EITHER
def test_equalization_alone_changes_no_answer(
    step: Static | Dynamic, model: Model, work: Work
) -> None:
    expected = outputs_of(model)
    copied, _ = quantized(model, step, work)
    for layer in copied.module.modules():
        if isinstance(layer, QuantizedLinear):
            layer.enabled = False
    torch.testing.assert_close(outputs_of(copied), expected)


@EITHER
def test_a_record_rebuilds_equalized_layers(
    step: Static | Dynamic, model: Model, work: Work, tmp_path: Path
) -> None:
    copied, record = quantized(model, step, work)
    save_model(copied.module, str(tmp_path / "weights.safetensors"))
    again = replace(model, module=mlp.build(model.spec), steps=[])
    Static.rebuild(again, json.loads(json.dumps(record)))
    load_model(again.module, str(tmp_path / "weights.safetensors"))
    assert torch.equal(outputs_of(again), outputs_of(copied))


@EITHER
def test_the_exported_graph_scales_its_channels_and_answers_the_same(
    step: Static | Dynamic, model: Model, work: Work, tmp_path: Path
) -> None:
    copied, _ = quantized(model, step, work)
    expected = outputs_of(copied)
    write_onnx(copied, tmp_path / "model.onnx", opset=18)
    graph = onnx.load(tmp_path / "model.onnx").graph
    initializers = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    names = [node.input[1] for node in graph.node if node.op_type == "Mul"]
    by = [
        initializers[name]
        for name in names
        if name in initializers and initializers[name].max() == 1
    ]
    assert [item.shape for item in by] == [(32,)]
    assert by[0].min() == pytest.approx(2 / FARTHER, rel=0.9)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    outputs = [session.run(None, {"pixels": row.numpy()})[0] for row in rows_of(model)]
    torch.testing.assert_close(
        torch.cat([torch.from_numpy(output) for output in outputs]), expected, atol=0.02, rtol=0.02
    )


def test_a_layer_taken_back_into_float_has_the_weights_that_it_had(
    model: Model, work: Work
) -> None:
    expected = outputs_of(model)
    scores = iter([1.0, *[0.0] * 10])  # never good enough: every layer is taken back
    copied, record = quantized(
        model, Mixed(samples=64), replace(work, score=lambda _: next(scores))
    )
    assert record == {}
    torch.testing.assert_close(outputs_of(copied), expected)


def test_what_is_divided_can_be_trained_on_and_the_divisors_stay(model: Model, work: Work) -> None:
    copied, record = quantized(model, Qat(samples=64, weight_bits=WEIGHT_BITS), work)
    layer: Any = copied.module.get_submodule("hidden.3")
    assert record["hidden.3"]["divided"]
    before = layer.input_factors.clone()
    loss: Any = output_of(copied.module.train(), {"pixels": rows_of(model)[0]}).square().mean()
    loss.backward()
    assert all(value.grad is not None for value in layer.parameters())
    assert torch.equal(layer.input_factors, before)


def test_a_weight_that_others_use_is_left_alone(model: Model, work: Work) -> None:
    rows = list(work.data.train.rows[:64])
    alone = channel_divisors(
        model.module, quantizable_layers(model.module), model.encoder, rows, 2.0
    )
    assert set(alone) == {"hidden.3"}
    tied: Any = nn.Linear(32, 32)
    tied.weight = model.module.get_parameter("hidden.3.weight")
    model.module.add_module("tied", tied)
    layers = quantizable_layers(model.module)
    assert channel_divisors(model.module, layers, model.encoder, rows, 2.0) == {}


def test_channels_that_are_always_zero_do_not_count(model: Model, work: Work) -> None:
    first: Any = model.module.get_submodule("hidden.0")
    with torch.no_grad():
        first.weight[:20] = 0
        first.bias[:20] = -1
    rows = list(work.data.train.rows[:64])
    divisors = channel_divisors(
        model.module, quantizable_layers(model.module), model.encoder, rows, 2.0
    )
    assert all(torch.isfinite(by).all() and (by >= 1).all() for by in divisors.values())


@pytest.mark.parametrize("kind", [Static, Dynamic])
@pytest.mark.parametrize("threshold", [-1.0, 0.5, float("inf"), float("nan")])
def test_an_outlier_threshold_that_means_nothing_is_refused(kind: Any, threshold: float) -> None:
    with pytest.raises(SettingError, match="outlier_threshold"):
        kind(outlier_threshold=threshold)


@pytest.mark.parametrize(
    ("family", "entry"),
    [
        ("mlp", {"divided": False}),
        ("mlp", {"divided": 1}),
        ("cnn", {"divided": True}),
    ],
)
def test_a_record_that_divides_what_it_cannot_is_refused(
    family: str, entry: dict[str, Any], digits: Dataset
) -> None:
    module = families.network(family)
    copied = module.baseline(family, digits, families.family(family).settings())
    become_inference_form(copied)
    first = next(iter(quantizable_layers(copied.module)))
    record = {first: {"bits": 8, "group": 0, "inputs": "static", **entry}}
    with pytest.raises(ArtifactError):
        quantize_layers(copied.module, record)

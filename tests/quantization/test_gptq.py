"""GPTQ: weights of 4 bits are rounded so that a layer's outputs change least."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
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
from bmc.compress.quantize.weights import Weights
from bmc.data import Dataset
from bmc.errors import ArtifactError, DataError, SettingError, UsageError
from bmc.export.onnx_graph import write_onnx
from bmc.inference.form import become_inference_form, inference_form
from bmc.inference.quantized_form import quantize_layers
from bmc.inference.quantizers import FittedWeightQuantizer, WeightQuantizer
from bmc.model import Model, Work, output_of
from bmc.models import mlp
from bmc.quantization.gptq import fit_scales, refit_scales, round_and_fit, round_in_turn
from bmc.quantization.hessian import hessians

FEW = Weights(bits=4, samples=64)


@pytest.fixture
def model(digits: Dataset) -> Model:
    torch.manual_seed(0)
    copied: Model = mlp.baseline("mlp", digits, mlp.Settings(width=64, depth=2))
    return copied


def rows_of(model: Model) -> list[Tensor]:
    encoded = model.encoder.encode(datasets.load("digits").validation.rows)
    batches = inputs.ordered_batches(model.encoder, encoded, 64)
    return [torch.from_numpy(arrays["pixels"]) for _, arrays in batches]


@torch.inference_mode()
def outputs_of(model: Model) -> Tensor:
    module = model.module.eval()
    return torch.cat([output_of(module, {"pixels": row}) for row in rows_of(model)])


def quantized(model: Model, step: Weights, work: Work) -> tuple[Model, dict[str, Any]]:
    copied = replace(model, module=copy.deepcopy(model.module), steps=[])
    return copied, step.apply(copied, work)


def test_fitted_weights_answer_nearer_to_float_than_the_nearest_ones(
    model: Model, work: Work
) -> None:
    expected = outputs_of(model)
    copied, record = quantized(model, FEW, work)
    nearest = replace(model, module=copy.deepcopy(model.module), steps=[])
    become_inference_form(nearest)
    plain = {
        path: {key: value for key, value in entry.items() if key != "fitted"}
        for path, entry in record.items()
    }
    quantize_layers(nearest.module, plain)
    errors = [float((outputs_of(item) - expected).square().mean()) for item in (copied, nearest)]
    assert 0 < errors[0] < 0.5 * errors[1]


def test_each_weight_is_an_integer_times_its_stored_scale(model: Model, work: Work) -> None:
    copied, record = quantized(model, FEW, work)
    assert {path for path, entry in record.items() if "fitted" in entry} == set(record)
    for path in record:
        layer: Any = copied.module.get_submodule(path)
        torch.testing.assert_close(layer.weight_quantizer(layer.weight), layer.weight)
        integers, scales = layer.weight_quantizer.quantize(layer.weight)
        assert -8 <= integers.min() < integers.max() <= 7
        assert scales.shape == (len(layer.weight), layer.weight.shape[1] // 32)


def test_fitted_scales_err_less_than_those_of_the_largest_weights() -> None:
    torch.manual_seed(0)
    weight, quantizer = torch.randn(16, 64) ** 3, WeightQuantizer(4, 32)
    fitted = FittedWeightQuantizer(4, 32, 32)
    fitted.scales.copy_(fit_scales(quantizer, weight))
    errors = [float((item(weight) - weight).square().mean()) for item in (fitted, quantizer)]
    assert 0 < errors[0] < 0.97 * errors[1]


def test_rounding_in_turn_keeps_the_outputs_on_the_calibration_samples() -> None:
    torch.manual_seed(0)
    values = torch.randn(500, 8) @ torch.randn(8, 64)  # channels that go together
    weight, quantizer = torch.randn(32, 64), WeightQuantizer(4, 0)
    scales = quantizer.scales_of(weight)[:, None]
    rounded_weight = round_in_turn(weight, scales, values.t() @ values / 500)
    errors = [
        float((values @ (item - weight).t()).square().mean())
        for item in (rounded_weight, quantizer(weight))
    ]
    assert errors[0] < 0.2 * errors[1]
    integers = rounded_weight / scales
    torch.testing.assert_close(integers, integers.round(), atol=1e-4, rtol=0)


def test_scales_fitted_to_integers_err_less_and_the_integers_stay() -> None:
    torch.manual_seed(0)
    values = torch.randn(500, 8) @ torch.randn(8, 64)
    hessian, weight, quantizer = (
        values.t() @ values / 500,
        torch.randn(32, 64),
        WeightQuantizer(4, 32),
    )
    scales = fit_scales(quantizer, weight).view(32, 2)
    first = round_in_turn(weight, scales, hessian)
    integers = (first / scales.repeat_interleave(32, dim=1)).round()
    again = refit_scales(weight, integers, scales, hessian)
    second = integers * again.repeat_interleave(32, dim=1)
    errors = [float((values @ (item - weight).t()).square().mean()) for item in (second, first)]
    assert 0 < errors[0] < 0.9 * errors[1]
    both, kept = round_and_fit(weight, scales, hessian)
    integers = both / kept.repeat_interleave(32, dim=1)
    torch.testing.assert_close(integers, integers.round().clamp(-8, 7), atol=1e-4, rtol=0)
    assert float((values @ (both - weight).t()).square().mean()) < errors[0]


def test_a_row_of_zeros_keeps_its_scales() -> None:
    zeros, scales = torch.zeros(2, 32), torch.full((2, 1), 0.1)
    weight, kept = round_and_fit(zeros, scales, torch.eye(32))
    assert torch.equal(weight, zeros)
    assert torch.equal(kept, scales)


def test_channels_that_are_always_zero_are_rounded_to_the_nearest_step() -> None:
    weight = torch.randn(8, 32)
    quantizer = WeightQuantizer(4, 0)
    scales = quantizer.scales_of(weight)[:, None]
    torch.testing.assert_close(
        round_in_turn(weight, scales, torch.zeros(32, 32)), quantizer(weight)
    )


def test_a_record_and_weights_rebuild_the_same_answers(
    model: Model, work: Work, tmp_path: Path
) -> None:
    copied, record = quantized(model, FEW, work)
    save_model(copied.module, str(tmp_path / "weights.safetensors"))
    again = replace(model, module=mlp.build(model.spec), steps=[])
    Weights.rebuild(again, json.loads(json.dumps(record)))
    load_model(again.module, str(tmp_path / "weights.safetensors"))
    assert torch.equal(outputs_of(again), outputs_of(copied))


def test_the_exported_graph_has_the_fitted_scales(model: Model, work: Work, tmp_path: Path) -> None:
    copied, _ = quantized(model, FEW, work)
    write_onnx(copied, tmp_path / "model.onnx", opset=21)
    graph = onnx.load(tmp_path / "model.onnx").graph
    initializers = {tensor.name: tensor for tensor in graph.initializer}
    layers: list[Any] = [part for part in copied.module.modules() if isinstance(part, nn.Linear)]
    scales = [
        numpy_helper.to_array(initializers[node.input[1]])
        for node in graph.node
        if node.op_type == "DequantizeLinear"
    ]
    for layer, stored in zip(layers, scales, strict=True):
        assert stored.ravel() == pytest.approx(
            layer.weight_quantizer.scales.view(len(layer.weight), -1).t().ravel().numpy()
        )
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    got = [
        torch.from_numpy(session.run(None, {"pixels": row.numpy()})[0]) for row in rows_of(model)
    ]
    torch.testing.assert_close(torch.cat(got), outputs_of(copied), atol=0.005, rtol=0)


def test_a_weight_that_others_use_keeps_its_values(model: Model, work: Work) -> None:
    tied: Any = nn.Linear(64, 64)
    tied.weight = model.module.get_parameter("hidden.3.weight")
    model.module.add_module("tied", tied)
    before = tied.weight.detach().clone()
    copied, record = quantized(model, FEW, work)
    assert record["hidden.3"]["fitted"]
    assert torch.equal(copied.module.get_parameter("hidden.3.weight"), before)


def test_one_row_is_refused(model: Model, work: Work) -> None:
    with pytest.raises(UsageError, match=r"1 calibration sample.*at least 2"):
        quantized(model, Weights(bits=4, samples=1), work)


def test_a_layer_that_reads_nan_is_named(model: Model, work: Work) -> None:
    first: Any = model.module.get_submodule("hidden.0")
    with torch.no_grad():
        first.bias[0] = float("nan")
    with pytest.raises(DataError, match=r"hidden\.3.*NaN"):
        quantized(model, FEW, work)


def test_no_rows_is_refused() -> None:
    with pytest.raises(SettingError, match="samples is 0"):
        Weights(bits=4, samples=0)


@pytest.mark.parametrize("entry", [{"bits": 8, "fitted": True}, {"bits": 4, "fitted": 1}])
def test_a_record_that_fits_what_it_cannot_is_refused(entry: dict[str, Any], model: Model) -> None:
    become_inference_form(model)
    with pytest.raises(ArtifactError, match="hidden"):
        quantize_layers(model.module, {"hidden.3": {"group": 0, "inputs": "float", **entry}})


def test_an_embedding_rounded_in_turn_changes_the_outputs_less_than_to_the_nearest_step(
    make_lively: Callable[..., Model], reviews: Dataset
) -> None:
    copied = make_lively()
    form = inference_form(copied)
    path = next(path for path, layer in form.named_modules() if isinstance(layer, nn.Embedding))
    table: Any = form.get_submodule(path)
    rows = list(reviews.validation.rows)
    [hessian] = hessians(
        form, {path: table}, copied.encoder, list(reviews.train.rows[:100])
    ).values()
    scales = fit_scales(WeightQuantizer(4, 32), table.weight)[:, None]
    kept, expected = table.weight.data, text_answers(copied, form, rows)
    errors = []
    for weight in (
        (kept / scales).round().clamp(-8, 7) * scales,
        round_in_turn(kept, scales, hessian),
    ):
        table.weight.data = weight
        errors.append(float((text_answers(copied, form, rows) - expected).square().mean()))
    assert 0 < errors[1] < 0.7 * errors[0]


@torch.inference_mode()
def text_answers(model: Model, form: nn.Module, rows: Sequence[Any]) -> Tensor:
    arrays = model.encoder.batch(model.encoder.encode(rows), range(len(rows)))
    return output_of(form, {name: torch.from_numpy(array) for name, array in arrays.items()})

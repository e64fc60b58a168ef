"""Quantized forms whose activations have zero point 0 answer as the first form did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from bmc.export.onnx_graph import write_onnx
from bmc.inference.quantized_form import with_zero_point_0
from bmc.inference.quantized_layers import QuantizedLayer
from bmc.inference.quantizers import ActivationQuantizer
from bmc.model import Model, Work, output_of
from tests.compress.quantized import applied, inputs_of


@pytest.mark.parametrize("method", ["static", "qat"])
def test_without_zero_points_linear_layers_multiply_the_same_numbers(
    method: str,
    build_model: Callable[..., Model],
    work_of: Callable[[Model], Work],
    tmp_path: Path,
) -> None:
    model = build_model("bert", layers=1)
    applied(model, method, work_of(model))
    assert any(
        p.zero_point > 0 for p in model.module.modules() if isinstance(p, ActivationQuantizer)
    )
    moved = replace(model, module=with_zero_point_0(model.module, keep_unsigned=False))
    results = []
    for item, name in ((model, "own.onnx"), (moved, "moved.onnx")):
        write_onnx(item, tmp_path / name, opset=18)
        graph = onnx.load(tmp_path / name).graph
        initializers = {value.name: numpy_helper.to_array(value) for value in graph.initializer}
        zero_points = [
            initializers[n.input[2]] for n in graph.node if n.op_type == "QuantizeLinear"
        ]
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(tmp_path / name, options)
        inputs = {key: value.numpy() for key, value in inputs_of(model)[0].items()}
        results.append((session.run(None, inputs)[0], zero_points))
    (outputs, zero_points), (shifted, all_zero) = results
    assert any(zero_points)
    assert not any(zero or zero.dtype != np.int8 for zero in all_zero)
    np.testing.assert_allclose(outputs, shifted, atol=1e-3 * np.abs(outputs).max())


@pytest.mark.parametrize("method", ["static", "qat"])
def test_a_form_for_a_target_without_zero_points_has_none_and_answers_nearly_alike(
    method: str, build_model: Callable[..., Model], work_of: Callable[[Model], Work]
) -> None:
    model = build_model("cnn")
    work = work_of(model)
    applied(model, method, work)
    form = with_zero_point_0(model.module, keep_unsigned=False)
    quantizers, before = (
        [
            quantizer
            for layer in item.modules()
            if isinstance(layer, QuantizedLayer) and not isinstance(layer, nn.Linear)
            for quantizer in layer.input_quantizers
        ]
        for item in (form, model.module)
    )
    assert any(quantizer.unsigned for quantizer in before)
    assert not any(quantizer.unsigned or quantizer.zero_point for quantizer in quantizers)
    encoded = model.encoder.encode(work.data.train.rows[:64])
    arrays = model.encoder.batch(encoded, range(64))
    inputs = {name: torch.from_numpy(array) for name, array in arrays.items()}
    with torch.inference_mode():
        first, other = output_of(model.module.eval(), inputs), output_of(form.eval(), inputs)
    assert not torch.equal(first, other)
    assert (first - other).abs().mean() < 0.15 * first.abs().mean() + 1e-3


def test_a_form_whose_zero_points_are_0_already_is_itself(
    build_model: Callable[..., Model], work_of: Callable[[Model], Work]
) -> None:
    model = build_model("bert")
    applied(model, "weights", work_of(model))
    assert with_zero_point_0(model.module, keep_unsigned=False) is model.module


def test_unsigned_activations_with_zero_point_0_stay_where_a_target_takes_them(
    build_model: Callable[..., Model], work_of: Callable[[Model], Work]
) -> None:
    model = build_model("cnn")  # what a rectifier gives is never below 0
    applied(model, "static", work_of(model))
    kept, moved = (with_zero_point_0(model.module, keep_unsigned=item) for item in (True, False))
    before, after = (
        [part for part in form.modules() if isinstance(part, ActivationQuantizer)]
        for form in (model.module, kept)
    )
    from_zero = [index for index, one in enumerate(before) if one.unsigned and not one.zero_point]
    assert from_zero
    assert all(after[position].unsigned and not after[position].shifted for position in from_zero)
    for layer in [part for part in moved.modules() if isinstance(part, QuantizedLayer)]:
        for quantizer in layer.input_quantizers:
            assert bool(quantizer.unsigned) == quantizer.shifted
            assert not quantizer.shifted or isinstance(layer, nn.Linear)

"""The costs of an ONNX file's layers: weights, multiply-accumulates, sharing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper

from bmc.onnx_models.costs import costs_of
from bmc.onnx_models.precision import precision_of
from bmc.onnx_models.reading import read
from tests._onnx import INT64, cnn, save

DOMAINS = ("com.microsoft",)


def test_multiply_accumulates_follow_from_the_shapes(tmp_path: Path) -> None:
    costs = costs_of(read(cnn(tmp_path / "cnn.onnx")))
    assert [(layer.name, layer.parameters, layer.macs) for layer in costs.layers] == [
        ("block/conv:0", 448, 16 * 16 * 16 * 27),
        ("conv2", 592, 16 * 16 * 16 * 36),
        ("head", 85, 80),
    ]
    assert costs.macs == 258128
    assert costs.inputs == {"image": (1, 3, 16, 16)}
    assert costs.milliseconds


def test_a_shared_weight_counts_once(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"], "first"),
        helper.make_node("MatMul", ["m", "w"], ["y"], "second"),
    ]
    weights = {"w": np.ones((2, 2), np.float32)}
    path = save(tmp_path / "x.onnx", nodes, {"x": ("N", 2)}, {"y": ("N", 2)}, weights)
    assert [(layer.parameters, layer.shared_with) for layer in costs_of(read(path)).layers] == [
        (4, ""),
        (0, "first"),
    ]


def test_weights_of_a_recurrent_layer_are_multiplied_at_each_step(tmp_path: Path) -> None:
    node = helper.make_node("LSTM", ["x", "w", "r"], ["y"], "lstm", hidden_size=4)
    weights = {"w": np.ones((1, 16, 3), np.float32), "r": np.ones((1, 16, 4), np.float32)}
    path = save(tmp_path / "x.onnx", [node], {"x": (5, 1, 3)}, {"y": (5, 1, 1, 4)}, weights)
    assert [layer.macs for layer in costs_of(read(path)).layers] == [5 * 16 * 7]


def test_a_file_that_generated_inputs_do_not_suit_has_its_parameters(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["y"]),
        helper.make_node("MatMul", ["y", "w"], ["z"], "linear"),
    ]
    weights = {"w": np.ones((2, 2), np.float32)}
    inputs, kinds = {"x": (1, 4), "shape": (2,)}, {"shape": INT64}
    path = save(tmp_path / "x.onnx", nodes, inputs, {"z": (2, 2)}, weights, types=kinds)
    costs = costs_of(read(path))
    assert "does not run on these samples" in costs.note
    assert [(layer.parameters, layer.macs) for layer in costs.layers] == [(4, None)]


def test_fused_products_of_matrices_count_and_an_unknown_operator_with_a_matrix_is_not_zero(
    tmp_path: Path,
) -> None:
    nodes = [
        helper.make_node("FusedMatMul", ["x", "w"], ["m"], "fused", domain="com.microsoft"),
        helper.make_node("BiasGelu", ["m", "b"], ["y"], "gelu", domain="com.microsoft"),
    ]
    weights = {"w": np.ones((8, 4), np.float32), "b": np.ones(4, np.float32)}
    path = save(tmp_path / "x.onnx", nodes, {"x": (2, 8)}, {"y": (2, 4)}, weights, domains=DOMAINS)
    assert [layer.macs for layer in costs_of(read(path)).layers] == [2 * 4 * 8, 0]


@pytest.mark.parametrize(("bits", "precision"), [(4, "int4-weights"), (8, "int8-weights")])
def test_the_bits_of_blocked_weights_are_read(bits: int, precision: str, tmp_path: Path) -> None:
    sizes: dict[str, Any] = {"K": 32, "N": 4, "bits": bits, "block_size": 32}
    inputs = ["x", "w", "scales"]
    node = helper.make_node("MatMulNBits", inputs, ["y"], "linear", domain=DOMAINS[0], **sizes)
    packed = np.zeros((4, 1, 32 * bits // 8), np.uint8)
    weights: dict[str, NDArray[Any]] = {"w": packed, "scales": np.ones(4, np.float32)}
    path = save(
        tmp_path / "x.onnx", [node], {"x": (2, 32)}, {"y": (2, 4)}, weights, domains=DOMAINS
    )
    assert precision_of(read(path).model) == precision
    assert [layer.macs for layer in costs_of(read(path)).layers] == [2 * 4 * 32]


def test_layers_of_functions_have_their_time_and_costs(tmp_path: Path) -> None:
    imports = [helper.make_opsetid("", 17)]
    body = [helper.make_node("MatMul", ["a", "b"], ["c"], "product")]
    function = helper.make_function("mine", "Dense", ["a", "b"], ["c"], body, imports)
    call = helper.make_node("Dense", ["x", "w"], ["y"], "dense", domain="mine")
    weights = {"w": np.ones((4, 3), np.float32)}
    path = save(
        tmp_path / "x.onnx", [call], {"x": (2, 4)}, {"y": (2, 3)}, weights, domains=("mine",)
    )
    model = onnx.load(str(path))
    model.functions.append(function)
    onnx.save_model(model, str(path))
    (layer,) = costs_of(read(path)).layers
    assert layer.macs == 24
    assert layer.milliseconds is not None

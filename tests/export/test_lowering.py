"""Lowering: one canonical graph, the same numbers in each dialect."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from bmc.contracts import Dialect
from bmc.export.dialects.onnx import DIALECT as ONNX
from bmc.export.dialects.openvino import DIALECT as OPENVINO
from bmc.export.lowering import lower

SCALE, WEIGHT_SCALE = 0.05, 0.01


def canonical(zero: NDArray[Any]) -> onnx.ModelProto:
    """Return a quantized matmul: inputs with this zero point, an int8 weight."""
    weight = np.random.default_rng(0).integers(-127, 128, (6, 3)).astype(np.int8)
    initializers = {
        "scale": np.array(SCALE, np.float32),
        "zero": zero,
        "weight": weight,
        "weight_scale": np.array(WEIGHT_SCALE, np.float32),
        "weight_zero": np.array(0, np.int8),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["integers"]),
        helper.make_node("DequantizeLinear", ["integers", "scale", "zero"], ["read"]),
        helper.make_node(
            "DequantizeLinear", ["weight", "weight_scale", "weight_zero"], ["multiplied"]
        ),
        helper.make_node("MatMul", ["read", "multiplied"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "canonical",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 3])],
        [numpy_helper.from_array(array, name) for name, array in initializers.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def lowered(zero: NDArray[Any], dialect: Dialect) -> onnx.ModelProto:
    model = onnx_ir.from_proto(canonical(zero))
    lower(model, dialect, max_opset=21)
    created = onnx_ir.to_proto(model)
    onnx.checker.check_model(created)
    return created


def input_params(model: onnx.ModelProto) -> tuple[NDArray[Any], float]:
    """Return zero point and scale that inputs are quantized with."""
    initializers = {
        tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer
    }
    node = next(item for item in model.graph.node if item.op_type == "QuantizeLinear")
    return initializers[node.input[2]], float(initializers[node.input[1]])


def answer(model: onnx.ModelProto, x: NDArray[np.float32]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    result: NDArray[np.float32] = session.run(None, {"x": x})[0]
    return result


@pytest.mark.parametrize("zero", [np.array(0, np.int8), np.array(0, np.uint8), np.uint8(40)])
@pytest.mark.parametrize("dialect", [ONNX, OPENVINO], ids=["onnx", "openvino"])
def test_where_a_type_can_hold_them_the_numbers_are_the_same(
    zero: NDArray[Any], dialect: Dialect
) -> None:
    zero = np.asarray(zero)
    x = np.random.default_rng(1).normal(0, 4, (50, 6)).astype(np.float32)
    np.testing.assert_allclose(
        answer(lowered(zero, dialect), x), answer(canonical(zero), x), atol=1e-4
    )


def test_onnx_runtime_gets_uint8_alone() -> None:
    for inputs, expected in ((np.array(0, np.int8), 128), (np.array(40, np.uint8), 40)):
        zero, scale = input_params(lowered(inputs, ONNX))
        assert (zero.dtype.name, int(zero)) == ("uint8", expected)
        assert scale == pytest.approx(SCALE)

"""Graphs are rearranged for OpenVINO's kernels, and the numbers stay the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import openvino
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from bmc.export.openvino import optimize

WIDTH = 32


@pytest.fixture(params=["added later on", "read once", "scaled and added later on"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Write relu(x), shifted and quantized, times int8 weights; relu(x) may be added to that.

    Its channels may be scaled first.
    """
    weight = np.random.default_rng(0).integers(-127, 128, (WIDTH, WIDTH)).astype(np.int8)
    initializers: dict[str, NDArray[Any]] = {
        "shift": np.array(1.5, np.float32),
        "scale": np.array(0.02, np.float32),
        "zero": np.array(0, np.int8),
        "factors": np.linspace(0.5, 1, WIDTH, dtype=np.float32),
        "weight": weight,
        "weight_scale": np.array(0.01, np.float32),
    }
    scales, later = (word in request.param for word in ("scaled", "later"))
    nodes = [
        helper.make_node("Relu", ["x"], ["hidden"]),
        *([helper.make_node("Mul", ["hidden", "factors"], ["less"])] if scales else []),
        helper.make_node("Sub", ["less" if scales else "hidden", "shift"], ["shifted"]),
        helper.make_node("QuantizeLinear", ["shifted", "scale", "zero"], ["integers"]),
        helper.make_node("DequantizeLinear", ["integers", "scale", "zero"], ["read"]),
        helper.make_node("DequantizeLinear", ["weight", "weight_scale"], ["multiplied"]),
        helper.make_node("MatMul", ["read", "multiplied"], ["product"]),
        helper.make_node("Add", ["product", "hidden" if later else "shift"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "shifted",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", WIDTH])],
        [numpy_helper.from_array(array, name) for name, array in initializers.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.save(model, tmp_path / f"{request.param.replace(' ', '-')}.onnx")
    return tmp_path / f"{request.param.replace(' ', '-')}.onnx"


def answer(graph: openvino.Model, x: NDArray[np.float32]) -> NDArray[np.float32]:
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(graph, "CPU", settings)
    return np.asarray(compiled([x])[0])


def quantizer(graph: openvino.Model) -> Any:
    quantizers = [op for op in graph.get_ordered_ops() if op.get_type_name() == "FakeQuantize"]
    assert len(quantizers) == 1
    return quantizers[0]


def test_an_eased_graph_answers_the_same(path: Path) -> None:
    core = openvino.Core()
    before, after = core.read_model(path), core.read_model(path)
    optimize(after)
    for rows in (1, 7, 64):
        x = np.random.default_rng(rows).normal(size=(rows, WIDTH)).astype(np.float32)
        np.testing.assert_allclose(answer(before, x), answer(after, x), atol=1e-5)


def test_what_moves_a_quantizers_input_becomes_its_range(path: Path) -> None:
    graph = openvino.Core().read_model(path)
    low, high = (float(quantizer(graph).input_value(n).get_node().data) for n in (1, 2))
    optimize(graph)
    eased = quantizer(graph)
    assert float(eased.input_value(1).get_node().data) == pytest.approx(low + 1.5)
    assert float(eased.input_value(2).get_node().data) == pytest.approx(high + 1.5)
    read = eased.input_value(0).get_node().get_type_name()
    assert read == ("Unsqueeze" if "later" in path.name else "Relu")


def test_only_a_matrix_with_another_reader_is_quantized_as_one_of_several(path: Path) -> None:
    graph = openvino.Core().read_model(path)
    optimize(graph)
    rank = quantizer(graph).input_value(0).get_partial_shape().rank.get_length()
    assert rank == (3 if "later" in path.name else 2)


def test_the_matmul_still_runs_in_int8(path: Path) -> None:
    graph = openvino.Core().read_model(path)
    optimize(graph)
    compiled = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    kinds = {
        item.get_rt_info()["layerType"].value: item.get_rt_info()["runtimePrecision"].value
        for item in compiled.get_runtime_model().get_ordered_ops()
    }
    assert kinds["FullyConnected"] in ("i8", "u8")


def test_products_with_one_and_differences_from_zero_are_left_out(tmp_path: Path) -> None:
    initializers: dict[str, NDArray[Any]] = {
        "weight": np.random.default_rng(0).normal(size=(WIDTH, 3)).astype(np.float32),
        "bias": np.ones(3, np.float32),
        "one": np.array(1, np.float32),
        "two": np.array(2, np.float32),
        "none": np.array(0, np.float32),
    }
    nodes = [
        helper.make_node("Gemm", ["x", "weight", "bias"], ["a"]),
        helper.make_node("Sub", ["a", "none"], ["b"]),
        helper.make_node("Sub", ["none", "b"], ["c"]),
        helper.make_node("Mul", ["c", "two"], ["d"]),
        helper.make_node("Mul", ["d", "one"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "neutral",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 3])],
        [numpy_helper.from_array(array, name) for name, array in initializers.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.save(model, tmp_path / "neutral.onnx")
    core = openvino.Core()
    before, after = (core.read_model(tmp_path / "neutral.onnx") for _ in range(2))
    optimize(after)
    x = np.random.default_rng(1).normal(size=(5, WIDTH)).astype(np.float32)
    np.testing.assert_allclose(answer(before, x), answer(after, x), rtol=1e-6)
    kinds = [item.get_type_name() for item in after.get_ordered_ops()]
    assert kinds.count("Subtract") == 1  # 0 - b is another thing
    assert kinds.count("Multiply") == 2  # by 2; and by 1, which is the output and has its name

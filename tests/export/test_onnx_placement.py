"""Where quantizers of an ONNX file stand: at inputs of layers, where they prevent no fusion."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import NodeProto, helper

from bmc.contracts.targets import dialect_of
from bmc.export import ExportOptions, onnx_qdq
from bmc.export.onnx_source import onnx_source, quantized_source
from bmc.onnx_models.reading import read
from bmc.onnx_models.running import Reference
from bmc.onnx_models.samples import samples_of
from tests._onnx import INT64, Arrays, cnn, images, save

RANDOM = np.random.default_rng(0)
Written = Callable[[str], onnx.GraphProto]


def floats(*shape: int) -> np.ndarray:
    """Return random floats of a shape."""
    return RANDOM.normal(size=shape).astype(np.float32)


def written(path: Path, arrays: Arrays, target: str) -> onnx.GraphProto:
    """Quantize a file, and return the graph in a target's dialect."""
    file = read(path)
    with onnx_source("x", file, samples_of(file, arrays, "samples"), ExportOptions()) as fp32:
        source = quantized_source(fp32, "minmax", ())
        return onnx.load(str(source.onnx(target)[0])).graph


def producer(graph: onnx.GraphProto, name: str) -> NodeProto:
    """Return the node that computes a tensor."""
    nodes: list[NodeProto] = [node for node in graph.node if name in node.output]
    return nodes[0]


@pytest.fixture(scope="module")
def residual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with a residual connection around a linear layer."""
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["a"], "first"),
        helper.make_node("Tanh", ["a"], ["t"], "tanh"),
        helper.make_node("MatMul", ["t", "w2"], ["m"], "second"),
        helper.make_node("Add", ["m", "t"], ["sum"], "sum"),
        helper.make_node("MatMul", ["sum", "w2"], ["y"], "last"),
    ]
    weights = {"w1": floats(4, 8), "w2": floats(8, 8)}
    path = tmp_path_factory.mktemp("residual") / "x.onnx"
    return save(path, nodes, {"x": ("N", 4)}, {"y": ("N", 8), "m": ("N", 8)}, weights)


@pytest.mark.parametrize("target", ["onnx", "openvino", "tensorrt"])
def test_operators_and_outputs_in_float_read_float_tensors(residual: Path, target: str) -> None:
    graph = written(residual, {"x": floats(8, 4)}, target)
    (sum_node,) = (node for node in graph.node if node.name == "sum")
    assert [producer(graph, name).op_type for name in sum_node.input] == ["MatMul", "Tanh"]
    for output in ("y", "m"):
        assert producer(graph, output).op_type == "MatMul"
    quantized = [node for node in graph.node if node.op_type == "QuantizeLinear"]
    assert len(quantized) == 3  # the inputs of the three layers


@pytest.mark.parametrize(("target", "is_fused"), [("onnx", False), ("openvino", True)])
def test_an_activation_follows_its_convolution_where_the_runtime_fuses_it(
    tmp_path: Path, target: str, is_fused: bool
) -> None:
    graph = written(cnn(tmp_path / "cnn.onnx"), {"image": images(8)}, target)
    relus = [node for node in graph.node if node.op_type == "Relu"]
    assert bool(relus) == is_fused  # ONNX Runtime's unsigned integers end at 0 without a Relu
    assert all(producer(graph, relu.input[0]).op_type == "Conv" for relu in relus)
    readers = {name for node in graph.node for name in node.input}
    convolution = next(node for node in graph.node if node.op_type == "Conv")
    assert convolution.output[0] in readers


def embedding(path: Path, tied: bool = False, rows: int = 600) -> Path:
    """Write a file that gathers rows of a table of 32 columns, for a linear layer."""
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"], "words"),
        helper.make_node("ReduceMean", ["rows"], ["mean"], axes=[1], keepdims=0),
        helper.make_node("MatMul", ["mean", "w"], ["y"], "head"),
    ]
    weights = {"table": floats(rows, 32), "w": floats(32, 3)}
    outputs = {"y": ("N", 3)}
    if tied:
        nodes.append(helper.make_node("Gemm", ["mean", "table"], ["z"], "tied", transB=1))
        outputs["z"] = ("N", rows)
    return save(path, nodes, {"ids": ("N", 5)}, outputs, weights, types={"ids": INT64})


IDS = {"ids": RANDOM.integers(0, 100, (16, 5))}


@pytest.mark.parametrize("target", ["onnx", "openvino", "tensorrt"])
def test_an_embedding_has_8_bits_and_its_rows_are_gathered_as_the_target_wants(
    tmp_path: Path, target: str
) -> None:
    path = embedding(tmp_path / "x.onnx")
    graph = written(path, IDS, target)
    (table,) = (each for each in graph.initializer if list(each.dims) == [600, 32])
    assert table.data_type == onnx.TensorProto.INT8
    first = next(node for node in graph.node if table.name in node.input)
    assert first.op_type == ("Gather" if target == "onnx" else "DequantizeLinear")


def test_an_embedding_in_8_bits_answers_as_its_file(tmp_path: Path) -> None:
    file = read(embedding(tmp_path / "x.onnx"))
    samples = samples_of(file, IDS, "samples")
    dialect = dialect_of("onnx")
    assert dialect is not None
    with onnx_source("x", file, samples, ExportOptions()) as fp32:
        source = quantized_source(fp32, "minmax", ("head",))
        assert set(source.quantized.layers) == {"words", "head"}
        output = tmp_path / "small.onnx"
        onnx_qdq.write(source.quantized, ("head",), dialect, output)
        expected = fp32.reference.run(IDS)["y"]
    values = Reference(output).run(IDS)["y"]
    assert np.abs(values - expected).max() < 0.01 * np.abs(expected).max()
    assert output.stat().st_size < 600 * 32 + 8000


def test_a_small_table_stays_in_float(tmp_path: Path) -> None:
    graph = written(embedding(tmp_path / "x.onnx", rows=100), IDS, "onnx")
    (table,) = (each for each in graph.initializer if list(each.dims) == [100, 32])
    assert table.data_type == onnx.TensorProto.FLOAT


def test_a_table_that_a_named_layer_reads_stays_in_float(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"], "words"),
        helper.make_node("Gather", ["table", "first"], ["row"], "start"),
        helper.make_node("Add", ["rows", "row"], ["sum"]),
        helper.make_node("MatMul", ["sum", "w"], ["y"], "head"),
    ]
    weights = {"table": floats(600, 32), "w": floats(32, 3), "first": np.array([3])}
    types = {"ids": INT64}
    path = tmp_path / "x.onnx"
    save(path, nodes, {"ids": ("N", 5)}, {"y": ("N", 5, 3)}, weights, types=types)
    file, dialect = read(path), dialect_of("openvino")
    assert dialect is not None
    with onnx_source("x", file, samples_of(file, IDS, "samples"), ExportOptions()) as fp32:
        source = quantized_source(fp32, "minmax", ())
        onnx_qdq.write(source.quantized, ("words",), dialect, tmp_path / "small.onnx")
    graph = onnx.load(str(tmp_path / "small.onnx")).graph
    (table,) = (each for each in graph.initializer if list(each.dims) == [600, 32])
    assert table.data_type == onnx.TensorProto.FLOAT


def test_a_table_that_is_also_a_weight_is_stored_once(tmp_path: Path) -> None:
    graph = written(embedding(tmp_path / "x.onnx", tied=True), IDS, "onnx")
    tables = [each for each in graph.initializer if list(each.dims) == [600, 32]]
    assert [table.data_type for table in tables] == [onnx.TensorProto.INT8]
    readers = [node.op_type for node in graph.node if tables[0].name in node.input]
    assert sorted(readers) == ["DequantizeLinear", "Gather"]

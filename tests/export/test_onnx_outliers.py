"""Outlying channels of linear layers' inputs are divided, and nothing else changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from bmc.export import ExportOptions, onnx_qdq
from bmc.export.onnx_outliers import divide_outliers, linear_inputs
from bmc.export.onnx_source import QuantizedSource, onnx_source, quantized_source
from bmc.onnx_models.reading import read
from bmc.onnx_models.running import Reference
from bmc.onnx_models.samples import samples_of
from tests._onnx import save
from tests._vnni import WEIGHT_BITS

RANDOM = np.random.default_rng(0)
SIZES = np.array([1, 1, 1, 1, 1, 1, 1, 40], np.float32)
ROWS = (RANDOM.normal(size=(64, 8)) * SIZES).astype(np.float32)


def outlying(path: Path) -> Path:
    """Write layers that read a tensor of which one channel is much larger than the others."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], "matmul"),
        helper.make_node("Gemm", ["x", "w2", "b"], ["c"], "gemm", transB=1),
        helper.make_node("Concat", ["a", "c"], ["y"], axis=1),
    ]
    weights = {
        "w": (RANDOM.normal(size=(8, 4)) / SIZES[:, None]).astype(np.float32),
        "w2": (RANDOM.normal(size=(3, 8)) / SIZES).astype(np.float32),
        "b": np.ones(3, np.float32),
    }
    return save(path, nodes, {"x": ("N", 8)}, {"y": ("N", 7)}, weights)


def error_of(path: Path, threshold: float) -> float:
    """Return the root mean squared error of the file in 8 bits."""
    file = read(path)
    samples = samples_of(file, {"x": ROWS}, "samples")
    with onnx_source("x", file, samples, ExportOptions()) as fp32:
        source = quantized_source(fp32, "minmax", (), WEIGHT_BITS, threshold)
        quantized = Reference(source.onnx("onnx")[0], optimized=False).run({"x": ROWS})["y"]
    return float(np.sqrt(np.mean((quantized - Reference(path).run({"x": ROWS})["y"]) ** 2)))


def test_what_an_outlying_channel_hides_is_quantized_far_finer(tmp_path: Path) -> None:
    path = outlying(tmp_path / "x.onnx")
    assert error_of(path, 2.0) < 0.2 * error_of(path, 0.0)


def test_the_graph_computes_the_same_in_float(tmp_path: Path) -> None:
    path = outlying(tmp_path / "x.onnx")
    model = onnx.load(str(path))
    inputs = linear_inputs(model.graph, {"matmul", "gemm"})
    largest = {"x": np.abs(ROWS).max(axis=0)}
    assert divide_outliers(model.graph, inputs, largest, 2.0) == {"x": "x_divided"}
    divided = tmp_path / "divided.onnx"
    onnx.save_model(model, str(divided))
    before, after = (Reference(file).run({"x": ROWS})["y"] for file in (path, divided))
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5)
    factors = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    assert (factors["x_divided_factors"] < 1).sum() <= 2


@pytest.mark.parametrize("threshold", [0.0, 100.0])
def test_nothing_is_divided_without_outliers_or_when_not_asked(
    threshold: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = onnx.load(str(outlying(tmp_path / "x.onnx")))
    before = model.SerializeToString()
    inputs = linear_inputs(model.graph, {"matmul", "gemm"})
    largest = {"x": np.abs(ROWS).max(axis=0)}
    assert divide_outliers(model.graph, inputs, largest, threshold) == {}
    assert model.SerializeToString() == before
    assert not capsys.readouterr().err


def test_a_channel_that_is_always_zero_divides_nothing(tmp_path: Path) -> None:
    model = onnx.load(str(outlying(tmp_path / "x.onnx")))
    inputs = linear_inputs(model.graph, {"matmul", "gemm"})
    assert divide_outliers(model.graph, inputs, {"x": np.zeros(8, np.float32)}, 2.0) == {}


def test_layers_in_float_stay_exact_beside_divided_ones(tmp_path: Path) -> None:
    path = outlying(tmp_path / "x.onnx")
    file = read(path)
    samples = samples_of(file, {"x": ROWS}, "samples")
    with onnx_source("x", file, samples, ExportOptions()) as fp32:
        source: QuantizedSource = quantized_source(fp32, "minmax", ("gemm",), WEIGHT_BITS)
        quantized = Reference(source.onnx("openvino")[0], optimized=False).run({"x": ROWS})["y"]
    expected = Reference(path).run({"x": ROWS})["y"]
    np.testing.assert_allclose(quantized[:, 4:], expected[:, 4:], rtol=1e-4, atol=1e-5)
    assert isinstance(source.quantized, onnx_qdq.Quantized)
    assert source.quantized.inputs == {"matmul": "x_divided", "gemm": "x_divided"}

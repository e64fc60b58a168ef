"""Inputs of linear layers on one side of zero keep their 256 integers without a zero point."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import helper

from bmc.export import ExportOptions
from bmc.export.onnx_source import onnx_source, quantized_source
from bmc.onnx_models.reading import read
from bmc.onnx_models.samples import samples_of
from tests._onnx import save

RANDOM = np.random.default_rng(0)
ROWS = RANDOM.normal(size=(64, 6)).astype(np.float32)


def lopsided(path: Path) -> Path:
    """Write linear layers that read values from -0.2 up: with a bias, without, as a Gemm."""
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["a"], "first"),
        helper.make_node("Elu", ["a"], ["b"], alpha=0.2),
        helper.make_node("MatMul", ["b", "w2"], ["c"], "with_bias"),
        helper.make_node("Add", ["c", "bias"], ["d"]),
        helper.make_node("MatMul", ["b", "w2"], ["plain"], "without_bias"),
        helper.make_node("Elu", ["d"], ["e"], alpha=0.2),
        helper.make_node("Gemm", ["e", "w3", "bias3"], ["y"], "gemm", transB=1),
        helper.make_node("Gemm", ["e", "w3"], ["z"], "gemm_without_bias", transB=1),
    ]
    weights = {
        "w1": RANDOM.normal(size=(6, 8)).astype(np.float32),
        "w2": RANDOM.normal(size=(8, 5)).astype(np.float32),
        "bias": RANDOM.normal(size=5).astype(np.float32),
        "w3": RANDOM.normal(size=(3, 5)).astype(np.float32),
        "bias3": RANDOM.normal(size=3).astype(np.float32),
    }
    outputs = {"plain": ("N", 5), "y": ("N", 3), "z": ("N", 3)}
    return save(path, nodes, {"x": ("N", 6)}, outputs, weights)


def graphs(path: Path, targets: tuple[str, ...], in_float: tuple[str, ...] = ()) -> dict[str, Path]:
    """Quantize a file in the dialects of targets; return the files."""
    file = read(path)
    samples = samples_of(file, {"x": ROWS}, "samples")
    files = {}
    with onnx_source("x", file, samples, ExportOptions()) as fp32:
        source = quantized_source(fp32, "minmax", in_float)
        for target in targets:
            files[target] = path.with_name(f"{target}.onnx")
            source.onnx(target)[0].rename(files[target])
    return files


def outputs_of(path: Path) -> list[NDArray[np.float32]]:
    """Compute a file in the exact arithmetic of its operators: nothing is fused."""
    settings = onnxruntime.SessionOptions()
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), settings, ["CPUExecutionProvider"])
    return list(session.run(None, {"x": ROWS}))


@pytest.mark.parametrize("target", ["openvino", "tensorrt"])
def test_a_target_without_zero_points_multiplies_the_integers_of_one_with_them(
    target: str, tmp_path: Path
) -> None:
    path = lopsided(tmp_path / "x.onnx")
    files = graphs(path, ("onnx", target))
    operators = [node.op_type for node in onnx.load(str(files[target])).graph.node]
    assert operators.count("Sub") == 2  # one for the layers that read the same tensor
    assert "Sub" not in [node.op_type for node in onnx.load(str(files["onnx"])).graph.node]
    results = {name: outputs_of(file) for name, file in {"fp32": path, **files}.items()}
    for exact, shifted, expected in zip(
        results["onnx"], results[target], results["fp32"], strict=True
    ):
        assert np.abs(shifted - exact).max() < 0.1 * np.abs(exact - expected).max()


def test_layers_in_float_read_what_was_not_shifted(tmp_path: Path) -> None:
    path = lopsided(tmp_path / "x.onnx")
    file = graphs(path, ("openvino",), ("without_bias",))["openvino"]
    (layer,) = [n for n in onnx.load(str(file)).graph.node if n.name == "without_bias"]
    assert layer.input[0] == "b"
    plain, *_ = outputs_of(file)
    assert np.abs(plain - outputs_of(path)[0]).max() < 0.2


def test_a_gemm_whose_bias_is_computed_is_shifted_too(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], "first"),
        helper.make_node("Elu", ["a"], ["b"], alpha=0.2),
        helper.make_node("Gemm", ["b", "v", "a"], ["y"], "gemm"),
    ]
    weights = {name: RANDOM.normal(size=(6, 6)).astype(np.float32) for name in "wv"}
    path = save(tmp_path / "x.onnx", nodes, {"x": ("N", 6)}, {"y": ("N", 6)}, weights)
    (expected,) = outputs_of(path)
    for target, file in graphs(path, ("openvino", "tensorrt")).items():
        (outputs,) = outputs_of(file)
        assert np.abs(outputs - expected).max() < 0.05 * np.abs(expected).max(), target

"""Layers return to float by what they change in the outputs, not by how badly they are rounded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import helper

from bmc.contracts.targets import dialect_of
from bmc.export import ExportOptions, onnx_flow, speed
from bmc.export.onnx_compare import Limits
from bmc.export.onnx_sensitivity import output_errors
from bmc.export.onnx_source import onnx_source, quantized_source
from bmc.measure.scores import Interval
from bmc.onnx_models.reading import read
from bmc.onnx_models.samples import samples_of
from tests._onnx import INT64, Arrays, save


def two_branches(path: Path) -> tuple[Path, Arrays]:
    """Write a file of two layers whose weights ignore an outlier; the worse is hardly heard.

    Returns:
        the file, and samples.
    """
    random = np.random.default_rng(0)
    weights: dict[str, NDArray[Any]] = {
        "faint_weight": random.normal(size=(16, 8)).astype(np.float32) / 8,
        "heard_weight": random.normal(size=(16, 8)).astype(np.float32) / 8,
        "volume": np.array(1e-3, np.float32),
    }
    weights["faint_weight"][0] = weights["heard_weight"][0] = 0
    nodes = [
        helper.make_node("MatMul", ["p", "faint_weight"], ["faint"], "faint"),
        helper.make_node("Tanh", ["faint"], ["faint_values"]),
        helper.make_node("Mul", ["faint_values", "volume"], ["whisper"]),
        helper.make_node("MatMul", ["q", "heard_weight"], ["heard"], "heard"),
        helper.make_node("Tanh", ["heard"], ["heard_values"]),
        helper.make_node("Add", ["whisper", "heard_values"], ["y"]),
    ]
    values = {name: random.normal(size=(96, 16)).astype(np.float32) for name in ("p", "q")}
    values["p"][3, 0] = 1e4
    values["q"][:, 0] *= 100
    shape = ("N", 16)
    return save(path, nodes, {"p": shape, "q": shape}, {"y": ("N", 8)}, weights), values


@pytest.mark.parametrize("target", ["onnx", "openvino"])
def test_the_layer_that_changes_the_outputs_most_returns_to_float(
    tmp_path: Path, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = speed.Speed(Interval(2.0, 1.9, 2.1), 1.0)
    monkeypatch.setattr(speed, "over", lambda quantized, folder: fast)
    path, values = two_branches(tmp_path / "x.onnx")
    file = read(path)
    samples = samples_of(file, values, "samples")
    with onnx_source("x", file, samples, ExportOptions(allow_slower=True)) as fp32:
        source = quantized_source(fp32, "minmax", (), outlier_threshold=0)
        assert source.quantized.layers == ("faint", "heard"), "by the error of what they read"
        bundle = onnx_flow.quantize(source, fp32, target, tmp_path / "b", False, Limits(0.99))
    assert bundle.manifest.build["in_float"] == ["heard"]


@pytest.mark.parametrize("opset", [17, 18])
def test_tables_and_integer_outputs_are_measured(tmp_path: Path, opset: int) -> None:
    random = np.random.default_rng(0)
    weights = {
        "table": random.normal(size=(600, 32)).astype(np.float32),
        "w": random.normal(size=(32, 4)).astype(np.float32),
    }
    weights["table"][:, 0] *= 50  # rows have one scale each
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"], "words"),
        helper.make_node("MatMul", ["rows", "w"], ["y"], "head"),
        helper.make_node("ArgMax", ["y"], ["best"], axis=-1),
    ]
    outputs = {"y": ("N", 5, 4), "best": ("N", 5, 1)}
    types = {"ids": INT64, "best": INT64}
    path = tmp_path / "x.onnx"
    save(path, nodes, {"ids": ("N", 5)}, outputs, weights, types=types, opset=opset)
    file, dialect = read(path), dialect_of("onnx")
    assert dialect is not None
    samples = samples_of(file, {"ids": random.integers(0, 600, (8, 5))}, "samples")
    with onnx_source("x", file, samples, ExportOptions()) as fp32:
        source = quantized_source(fp32, "minmax", ())
        groups = [["words"], ["head"]]
        table, layer = output_errors(source.quantized, groups, samples.calls, dialect)
        assert 1e-5 < table < 0.5
        assert 1e-7 < layer < 0.5
        assert output_errors(source.quantized, [["head"]], samples.calls, dialect) == [layer]


def test_a_layer_that_makes_outputs_nan_is_the_most_harmful(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"], "layer"),
        helper.make_node("Div", ["m", "m"], ["y"]),
    ]
    shape, weights = ("N", 4), {"w": np.ones((4, 4), np.float32)}
    file = read(save(tmp_path / "x.onnx", nodes, {"x": shape}, {"y": shape}, weights))
    values = np.full((8, 4), 1e-4, np.float32)
    values[0] = 100  # beside it, the others are rounded to 0
    dialect = dialect_of("onnx")
    assert dialect is not None
    with onnx_source("x", file, samples_of(file, {"x": values}, "x"), ExportOptions()) as fp32:
        source = quantized_source(fp32, "minmax", ())
        calls = fp32.samples.calls
        assert output_errors(source.quantized, [["layer"]], calls, dialect) == [np.inf]

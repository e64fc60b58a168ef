"""Biases of convolutions take away the mean error of 8 bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from bmc.export import ExportOptions, onnx_source
from bmc.export.onnx_source import onnx_source as source_of
from bmc.export.onnx_source import quantized_source
from bmc.onnx_models.reading import read
from bmc.onnx_models.samples import samples_of
from tests._onnx import save

TARGETS = ("onnx", "openvino", "tensorrt")
ROWS = np.random.default_rng(0).uniform(0, 1, (24, 3, 12, 12)).astype(np.float32) ** 3
BLOCKS = 4


def blocks(path: Path) -> Path:
    """Write depthwise and pointwise convolutions, as networks for phones have; some lack a bias."""
    random = np.random.default_rng(1)
    weights: dict[str, NDArray[Any]] = {
        "first": random.normal(size=(16, 3, 3, 3)).astype(np.float32),
        "shared_bias": random.normal(size=16).astype(np.float32),
    }
    nodes = [helper.make_node("Conv", ["x", "first"], ["c"], "stem", pads=[1] * 4)]
    last = "c"
    for block in range(BLOCKS):
        weights[f"d{block}"] = random.exponential(size=(16, 1, 3, 3)).astype(np.float32) ** 2 / 9
        weights[f"p{block}"] = random.normal(size=(16, 16, 1, 1)).astype(np.float32) / 3
        deep, flat = f"deep{block}", f"flat{block}"
        nodes += [
            helper.make_node(
                "Conv",
                [last, f"d{block}", "shared_bias"],
                [f"e{block}"],
                deep,
                pads=[1] * 4,
                group=16,
            ),
            helper.make_node("Relu", [f"e{block}"], [f"f{block}"]),
            helper.make_node("Conv", [f"f{block}", f"p{block}"], [f"g{block}"], flat),
        ]
        last = f"g{block}"
    nodes.append(helper.make_node("GlobalAveragePool", [last], ["y"]))
    return save(path, nodes, {"x": ("N", 3, 12, 12)}, {"y": ("N", 16, 1, 1)}, weights)


def quantized(
    path: Path, targets: tuple[str, ...] = TARGETS, in_float: tuple[str, ...] = ()
) -> dict[str, Path]:
    """Quantize a file with weights of 7 bits in the dialects of targets; return the files."""
    file = read(path)
    samples = samples_of(file, {"x": ROWS}, "samples")
    files = {}
    with source_of("x", file, samples, ExportOptions()) as fp32:
        source = quantized_source(fp32, "minmax", in_float, weight_bits=7)
        for target in targets:
            files[target] = path.with_name(f"{target}.onnx")
            source.onnx(target)[0].rename(files[target])
    return files


def outputs_of(path: Path) -> NDArray[np.float32]:
    """Compute a file in the exact arithmetic of its operators: nothing is fused."""
    settings = onnxruntime.SessionOptions()
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), settings, ["CPUExecutionProvider"])
    (values,) = session.run(None, {"x": ROWS})
    return np.asarray(values)


def test_outputs_are_nearer_to_those_in_float_for_every_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = blocks(tmp_path / "x.onnx")
    expected = outputs_of(path)
    corrected = {name: outputs_of(file) for name, file in quantized(path).items()}
    monkeypatch.setattr(onnx_source, "mean_errors", lambda *_: {})
    plain = {name: outputs_of(file) for name, file in quantized(path).items()}
    for target in TARGETS:
        errors = [np.square(each[target] - expected).sum() for each in (corrected, plain)]
        assert errors[0] < 0.7 * errors[1], target


def test_each_convolution_gets_a_bias_of_its_own_and_one_in_float_keeps_its_own(
    tmp_path: Path,
) -> None:
    path = blocks(tmp_path / "x.onnx")
    graph = onnx.load(str(quantized(path, ("openvino",), ("deep0",))["openvino"])).graph
    biases = {node.name: node.input[2] for node in graph.node if node.op_type == "Conv"}
    assert len(biases) == 1 + 2 * BLOCKS
    assert len(set(biases.values())) == len(biases)
    constants = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    original = {each.name: each for each in onnx.load(str(path)).graph.initializer}
    shared = numpy_helper.to_array(original["shared_bias"])
    assert np.array_equal(constants[biases["deep0"]], shared)
    assert not np.array_equal(constants[biases["deep1"]], shared)
    assert np.abs(constants[biases["flat1"]]).max() < 0.1, "of a convolution without a bias"


def test_what_cannot_be_measured_is_said_and_biases_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from bmc.errors import DataError

    def fails(*_: Any) -> Any:
        raise DataError("no sample runs")

    monkeypatch.setattr(onnx_source, "mean_errors", fails)
    graph = onnx.load(str(quantized(blocks(tmp_path / "x.onnx"), ("openvino",))["openvino"])).graph
    assert [len(node.input) for node in graph.node if node.name == "stem"] == [2]
    assert "biases of convolutions are not corrected: no sample runs" in capsys.readouterr().err


def test_a_file_without_convolutions_is_quantized_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = {"w": np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)}
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], "linear")]
    path = save(
        tmp_path / "x.onnx", nodes, {"x": ("N", 3, 12, 12)}, {"y": ("N", 3, 12, 4)}, weights
    )
    monkeypatch.setattr(onnx_source, "mean_errors", None)
    assert quantized(path, ("onnx",))["onnx"].is_file()

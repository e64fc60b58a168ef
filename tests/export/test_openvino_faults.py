"""OpenVINO's int8 convolutions are right where its kernels alone would be wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import openvino
import pytest
from numpy.typing import NDArray
from onnx import NodeProto, helper

import bmc
from bmc.bundle import read
from bmc.export import openvino as exporter
from tests._onnx import save

Shapes = dict[str, list[int | str | None]]
CHANNELS = 16
ROWS = np.random.default_rng(0).normal(0.3, 1, (4, CHANNELS, 8, 8)).astype(np.float32)
GATES = np.random.default_rng(3).uniform(0.5, 1, (4, CHANNELS)).astype(np.float32)
INPUTS = {"x": ROWS, "gate": GATES}
QUANTIZED: dict[str, Any] = {
    "s": np.float32(0.03),
    "z": np.int8(0),
    "s2": np.float32(0.05),
    "z2": np.uint8(0),
}
KINDS: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "Conv": ((CHANNELS, CHANNELS, 1, 1), {}),
    "depthwise": ((CHANNELS, 1, 3, 3), {"group": CHANNELS, "pads": [1, 1, 1, 1]}),
    "ConvTranspose": ((CHANNELS, CHANNELS, 2, 2), {"strides": [2, 2]}),
}


def quantized(source: str, name: str, scale: str, zero: str) -> list[NodeProto]:
    """Return nodes that round a tensor to 8 bits, as `name`."""
    return [
        helper.make_node("QuantizeLinear", [source, scale, zero], [f"{name}_8"]),
        helper.make_node("DequantizeLinear", [f"{name}_8", scale, zero], [name]),
    ]


def written(path: Path, kind: str, bias: NDArray[np.float32] | None, between: list[str]) -> Path:
    """Write a quantized convolution whose output is quantized, and read in float as well."""
    random = np.random.default_rng(1)
    shape, attributes = KINDS[kind]
    axis = int(kind == "ConvTranspose")
    inputs = ["rounded", "weight"] + ["bias"] * (bias is not None)
    operator = "Conv" if kind == "depthwise" else kind
    steps = ["c", *(f"c{at}" for at in range(len(between)))]
    nodes = [
        *quantized("x", "rounded", "s", "z"),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["weight"], axis=axis),
        helper.make_node(operator, inputs, ["c"], **attributes),
        *(helper.make_node(name, [steps[at]], [steps[at + 1]]) for at, name in enumerate(between)),
        *quantized(steps[-1], "again", "s2", "z2"),
        helper.make_node("Relu", ["again"], ["y"]),
    ]
    weights: dict[str, Any] = {
        **QUANTIZED,
        "w": random.integers(-60, 60, shape).astype(np.int8),
        "ws": np.full(CHANNELS, 0.01, np.float32),
        "wz": np.zeros(CHANNELS, np.int8),
    }
    if bias is not None:
        weights["bias"] = bias
    outputs: Shapes = {"y": ["N", CHANNELS, "H", "W"]}
    if kind != "ConvTranspose":
        outputs["c"] = ["N", CHANNELS, "H", "W"]
    return save(path, nodes, {"x": ["N", CHANNELS, 8, 8]}, outputs, weights)


def exact(path: Path) -> dict[str, NDArray[np.float32]]:
    """Compute a file in the arithmetic of its operators: nothing is fused."""
    settings = onnxruntime.SessionOptions()
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), settings, ["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    feeds = {each.name: INPUTS[each.name] for each in session.get_inputs()}
    return dict(zip(names, session.run(names, feeds), strict=True))


def computed(path: Path) -> dict[str, NDArray[np.float32]]:
    """Compute a file in OpenVINO, as bmc writes it."""
    graph = openvino.Core().read_model(path)
    exporter.optimize(graph)
    compiled = openvino.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    results = compiled({each.get_any_name(): INPUTS[each.get_any_name()] for each in graph.inputs})
    return {output.get_any_name(): results[output] for output in compiled.outputs}


def error(values: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Return the root mean square of a difference, as a share of what was expected."""
    return float(np.sqrt(np.mean((values - expected) ** 2) / np.mean(expected**2)))


BIASES = {
    "none": None,
    "zeros": np.zeros(CHANNELS, np.float32),
    "values": np.random.default_rng(2).normal(size=CHANNELS).astype(np.float32),
}


@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("kind", ["Conv", "depthwise"])
def test_an_output_that_is_quantized_and_read_in_float_is_right_for_both_readers(
    kind: str, bias: str, tmp_path: Path
) -> None:
    path = written(tmp_path / "x.onnx", kind, BIASES[bias], [])
    results, expected = computed(path), exact(path)
    assert sorted(results) == ["c", "y"]
    assert {name: error(results[name], expected[name]) for name in results} == pytest.approx(
        {"c": 0, "y": 0}, abs=0.01
    )


@pytest.mark.parametrize("between", [[], ["Relu"], ["Relu", "Relu"]], ids=len)
@pytest.mark.parametrize("bias", BIASES)
def test_a_transposed_convolution_adds_its_bias_in_the_scale_of_its_output(
    bias: str, between: list[str], tmp_path: Path
) -> None:
    path = written(tmp_path / "x.onnx", "ConvTranspose", BIASES[bias], between)
    # Its input is not rounded where it has a bias.
    assert error(computed(path)["y"], exact(path)["y"]) < 0.03


def test_what_is_quantized_behind_a_concat_is_rounded_to_its_steps(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Concat", ["x", "x"], ["c"], axis=1),
        *quantized("c", "rounded", "s", "z"),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["weight"], axis=0),
        helper.make_node("Conv", ["rounded", "weight"], ["y"]),
    ]
    weights: dict[str, Any] = {
        **QUANTIZED,
        "w": np.random.default_rng(1).integers(-60, 60, (8, 2 * CHANNELS, 1, 1)).astype(np.int8),
        "ws": np.full(8, 0.01, np.float32),
        "wz": np.zeros(8, np.int8),
    }
    inputs: Shapes = {"x": ["N", CHANNELS, 8, 8]}
    outputs: Shapes = {"y": ["N", 8, 8, 8]}
    path = save(tmp_path / "x.onnx", nodes, inputs, outputs, weights)
    assert error(computed(path)["y"], exact(path)["y"]) < 0.001


def test_a_transposed_convolution_behind_a_subtraction_reads_the_difference(
    tmp_path: Path,
) -> None:
    nodes = [
        helper.make_node("Sub", ["x", "mean"], ["centered"]),
        *quantized("centered", "rounded", "s", "z"),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["weight"], axis=1),
        helper.make_node("ConvTranspose", ["rounded", "weight", "bias"], ["c"], strides=[2, 2]),
        *quantized("c", "again", "s2", "z2"),
        helper.make_node("Relu", ["again"], ["y"]),
    ]
    weights: dict[str, Any] = {
        **QUANTIZED,
        "mean": np.float32(0.7),
        "w": np.random.default_rng(1).integers(-60, 60, (CHANNELS, 8, 2, 2)).astype(np.int8),
        "ws": np.full(8, 0.01, np.float32),
        "wz": np.zeros(8, np.int8),
        "bias": np.ones(8, np.float32),
    }
    inputs: Shapes = {"x": ["N", CHANNELS, 8, 8]}
    outputs: Shapes = {"y": ["N", 8, 16, 16]}
    path = save(tmp_path / "x.onnx", nodes, inputs, outputs, weights)
    assert error(computed(path)["y"], exact(path)["y"]) < 0.03


def test_a_scale_that_is_computed_is_no_bias_and_stays(tmp_path: Path) -> None:
    nodes = [
        *quantized("x", "rounded", "s", "z"),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["weight"], axis=0),
        helper.make_node("Conv", ["rounded", "weight"], ["c"]),
        helper.make_node("Unsqueeze", ["gate", "axes"], ["gates"]),
        helper.make_node("Mul", ["c", "gates"], ["gated"]),
        *quantized("gated", "again", "s2", "z2"),
        helper.make_node("Relu", ["again"], ["y"]),
    ]
    weights: dict[str, Any] = {
        **QUANTIZED,
        "axes": np.array([2, 3]),
        "w": np.random.default_rng(1).integers(-60, 60, (CHANNELS, CHANNELS, 1, 1)).astype(np.int8),
        "ws": np.full(CHANNELS, 0.01, np.float32),
        "wz": np.zeros(CHANNELS, np.int8),
    }
    inputs: Shapes = {"x": ["N", CHANNELS, 8, 8], "gate": ["N", CHANNELS]}
    outputs: Shapes = {"y": ["N", CHANNELS, 8, 8]}
    path = save(tmp_path / "x.onnx", nodes, inputs, outputs, weights)
    assert error(computed(path)["y"], exact(path)["y"]) < 0.01


def test_an_output_of_a_quantizer_keeps_its_name(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Concat", ["x", "x"], ["c"], axis=1),
        *quantized("c", "rounded", "s", "z"),
    ]
    inputs: Shapes = {"x": ["N", CHANNELS, 8, 8]}
    outputs: Shapes = {"rounded": ["N", 2 * CHANNELS, 8, 8]}
    weights = {name: QUANTIZED[name] for name in ("s", "z")}
    path = save(tmp_path / "x.onnx", nodes, inputs, outputs, weights)
    assert error(computed(path)["rounded"], exact(path)["rounded"]) < 0.001


def squeeze_and_excitation(path: Path) -> Path:
    """Write what many mobile networks have: channels are weighted by their means."""
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["c"], "first"),
        helper.make_node("GlobalAveragePool", ["c"], ["pooled"]),
        helper.make_node("Conv", ["pooled", "w2"], ["squeezed"], "squeeze"),
        helper.make_node("Relu", ["squeezed"], ["relu"]),
        helper.make_node("Conv", ["relu", "w3"], ["excited"], "excite"),
        helper.make_node("HardSigmoid", ["excited"], ["share"]),
        helper.make_node("Mul", ["c", "share"], ["weighted"]),
        helper.make_node("Add", ["c", "weighted"], ["sum"]),
        helper.make_node("ConvTranspose", ["sum", "w4", "b4"], ["up"], "up", strides=[2, 2]),
        helper.make_node("Relu", ["up"], ["relu2"]),
        helper.make_node("Conv", ["relu2", "w5"], ["y"], "last"),
    ]
    shapes = {"w1": (16, 16, 1, 1), "w2": (4, 16, 1, 1), "w3": (16, 4, 1, 1)}
    shapes |= {"w4": (16, 8, 2, 2), "w5": (4, 8, 1, 1)}
    random = np.random.default_rng(1)
    weights: dict[str, Any] = {
        name: random.normal(size=shape).astype(np.float32) / 3 for name, shape in shapes.items()
    }
    weights["w3"] *= 10  # so that each channel's share depends on its mean
    weights["b4"] = random.normal(size=8).astype(np.float32)
    return save(path, nodes, {"x": ("N", 16, 8, 8)}, {"y": ("N", 4, 16, 16)}, weights)


def test_squeeze_and_excitation_keeps_its_outputs_in_8_bits(tmp_path: Path) -> None:
    path = squeeze_and_excitation(tmp_path / "x.onnx")
    file = bmc.open(path)
    assert isinstance(file, bmc.OnnxHandle)
    file.quantize(
        "openvino", samples={"x": ROWS}, weight_bits=7, allow_slower=True, output=tmp_path / "b"
    )
    manifest = read(tmp_path / "b").manifest
    assert not manifest.build.get("in_float")
    assert manifest.parity["cosine"] > 0.998

"""Ranges of activations: values of large tensors are sampled from all of their axes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from bmc.errors import UsageError
from bmc.export import ExportOptions
from bmc.export.onnx_calibration import calibrate
from bmc.export.onnx_source import onnx_source, quantized_source
from bmc.onnx_models.reading import read
from bmc.onnx_models.running import Reference
from bmc.onnx_models.samples import samples_of
from tests._onnx import save
from tests._vnni import WEIGHT_BITS


def test_every_channel_of_a_large_image_is_seen(tmp_path: Path) -> None:
    path = save(
        tmp_path / "x.onnx",
        [helper.make_node("Relu", ["x"], ["y"])],
        {"x": (1, 224, 224, 3)},
        {"y": (1, 224, 224, 3)},
    )
    random = np.random.default_rng(0)
    image = random.normal(size=(1, 224, 224, 3)).astype(np.float32)
    image[..., 0] /= 100  # were the first channel sampled alone, larger values would be outliers
    calibrated = calibrate(path, ["y"], [{"x": image}], "percentile", ["y"])
    assert calibrated.ranges["y"].fitted.scale * 255 > 2.5
    np.testing.assert_array_equal(calibrated.largest["y"], np.maximum(image, 0).max(axis=(0, 1, 2)))


@pytest.mark.parametrize("zeros", [("sensor",), ("x", "sensor")])
def test_a_layer_that_reads_only_zeros_stays_in_float(
    zeros: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its range is not known: 8 bits would cut every later value to 0."""
    random = np.random.default_rng(0)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], "first"),
        helper.make_node("MatMul", ["sensor", "v"], ["b"], "second"),
        helper.make_node("Add", ["a", "b"], ["y"], "sum"),
    ]
    weights = {name: random.normal(size=(6, 4)).astype(np.float32) for name in "wv"}
    shapes = {"x": ("N", 6), "sensor": ("N", 6)}
    path = save(tmp_path / "two.onnx", nodes, shapes, {"y": ("N", 4)}, weights)
    later = {name: random.normal(size=(32, 6)).astype(np.float32) for name in shapes}
    seen = {name: 0 * rows if name in zeros else rows for name, rows in later.items()}
    samples = samples_of(read(path), seen, "samples")
    with onnx_source("two", read(path), samples, ExportOptions()) as fp32:
        if zeros != ("sensor",):
            with pytest.raises(UsageError, match="every layer reads or returns only zeros"):
                quantized_source(fp32, "minmax", (), WEIGHT_BITS)
            return
        quantized = quantized_source(fp32, "minmax", (), WEIGHT_BITS)
        found = Reference(quantized.onnx("onnx")[0], optimized=False).run(later)["y"]
    expected = Reference(path).run(later)["y"]
    assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()
    assert (
        "second stays in float: the samples give its input or output no values but zeros"
        in capsys.readouterr().err
    )


def test_nodes_between_convolutions_whose_values_are_all_zeros_stay_in_float(
    tmp_path: Path,
) -> None:
    random = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], "first"),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        helper.make_node("Conv", ["r", "v"], ["y"], "second"),
    ]
    weights = {
        "w": random.uniform(0.1, 1, size=(4, 3, 1, 1)).astype(np.float32),
        "b": np.zeros(4, np.float32),
        "v": random.normal(size=(4, 4, 1, 1)).astype(np.float32),
    }
    shapes = {"x": ("N", 3, 6, 6)}, {"y": ("N", 4, 6, 6)}
    path = save(tmp_path / "x.onnx", nodes, *shapes, weights)
    later = random.normal(size=(32, 3, 6, 6)).astype(np.float32)
    samples = samples_of(read(path), {"x": -np.abs(later)}, "samples")
    with onnx_source("x", read(path), samples, ExportOptions()) as fp32:
        quantized = quantized_source(fp32, "minmax", (), WEIGHT_BITS)
        assert quantized.quantized.layers == ("first",)
        for target in ("onnx", "openvino", "tensorrt"):
            model = onnx.load(str(quantized.onnx(target)[0]))
            reads = {node.name: list(node.input) for node in model.graph.node}
            assert reads["second"] == ["r", "v"], target
            rounds = [n.input[0] for n in model.graph.node if n.op_type == "QuantizeLinear"]
            assert "r" not in rounds, target

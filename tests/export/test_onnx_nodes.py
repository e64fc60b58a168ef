"""Which nodes of an ONNX graph are quantized, and how they read shared weights and tensors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from bmc.errors import GateError, UsageError
from bmc.export import ExportOptions, onnx_flow, onnx_qdq
from bmc.export.onnx_compare import Limits
from bmc.export.onnx_source import QuantizedSource, onnx_source, quantized_source
from bmc.onnx_models.costs import costs_of
from bmc.onnx_models.reading import read
from bmc.onnx_models.running import Reference
from bmc.onnx_models.samples import samples_of
from tests._onnx import ROWS, Arrays, cnn, images, linear, save
from tests._vnni import WEIGHT_BITS

TARGETS = ("onnx", "openvino", "tensorrt")


def written(source: QuantizedSource, target: str) -> onnx.ModelProto:
    """Return the quantized graph of a target."""
    return onnx.load(str(source.onnx(target)[0]))


def quantized(path: Path, arrays: Arrays, in_float: tuple[str, ...] = ()) -> onnx_qdq.Quantized:
    """Return the layers that can be quantized; all dialects write them."""
    file = read(path)
    samples = samples_of(file, arrays, "samples")
    with onnx_source("x", file, samples, ExportOptions()) as fp32:
        source = quantized_source(fp32, "minmax", in_float)
        for target in TARGETS:
            written(source, target)
        return source.quantized


def test_a_small_file_of_weights_is_quantized(tmp_path: Path) -> None:
    path = cnn(tmp_path / "cnn.onnx", external="weights")
    assert len(quantized(path, {"image": images(4)}).layers) == 3


def test_a_single_sample_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds one sample, .* at least 2"):
        quantized(cnn(tmp_path / "cnn.onnx"), {"image": images(1)})


@pytest.mark.parametrize("factor", ["alpha", "beta"])
def test_a_layer_with_factors_of_its_own_stays_in_float(
    factor: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = linear(tmp_path / "x.onnx", np.ones(4))
    model = onnx.load(str(path))
    model.graph.node[3].attribute.append(helper.make_attribute(factor, 2.0))
    onnx.save_model(model, str(path))
    assert "Gemm_3" not in quantized(path, ROWS).layers
    assert f"layer Gemm_3 stays in float: it has {factor} 2" in capsys.readouterr().err


def test_a_layer_with_a_weight_for_each_row_or_on_the_left_stays_in_float(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], "plain"),
        helper.make_node("MatMul", ["a", "each"], ["b"], "batched"),
        helper.make_node("MatMul", ["left", "b"], ["y"], "reversed"),
    ]
    random = np.random.default_rng(0)
    weights = {
        "w": random.normal(size=(4, 6)).astype(np.float32),
        "each": random.normal(size=(3, 6, 5)).astype(np.float32),
        "left": random.normal(size=(7, 2)).astype(np.float32),
    }
    path = save(tmp_path / "x.onnx", nodes, {"x": (3, 2, 4)}, {"y": (3, 7, 5)}, weights)
    assert quantized(path, {"x": random.normal(size=(8, 3, 2, 4))}).layers == ("plain",)
    err = capsys.readouterr().err
    assert "layer batched stays in float: its weight has shape (3, 6, 5)" in err
    assert "layer reversed stays in float: its weight is on the left" in err


@pytest.mark.parametrize("target", TARGETS)
def test_a_weight_that_is_read_along_both_axes_is_rounded_for_each(
    target: str, tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["wide"], "encode"),
        helper.make_node("Gemm", ["wide", "w", "bias"], ["y"], "decode", transB=1),
        helper.make_node("MatMul", ["y", "w"], ["z"], "again"),
    ]
    weights = {
        "w": random.normal(size=(4, 6)).astype(np.float32),
        "bias": np.ones(4, np.float32),
    }
    path = save(tmp_path / "x.onnx", nodes, {"x": ("N", 4)}, {"z": ("N", 6)}, weights)
    file = read(path)
    samples = samples_of(file, {"x": random.normal(size=(16, 4))}, "samples")
    with onnx_source("x", file, samples, ExportOptions(allow_slower=True)) as fp32:
        source = quantized_source(fp32, "minmax", (), WEIGHT_BITS)
        graph = written(source, target).graph
    sizes = {each.name: list(each.dims) for each in graph.initializer}
    scales = {
        tuple(sizes[node.input[1]])
        for node in graph.node
        if node.op_type == "DequantizeLinear" and sizes.get(node.input[0]) == [4, 6]
    }
    assert scales == {(4,), (6,)}


def test_layers_keep_the_names_that_inspect_shows(tmp_path: Path) -> None:
    path = linear(tmp_path / "x.onnx", np.ones(4))
    names = {layer.name for layer in costs_of(read(path)).layers} - {"Add_1"}
    assert set(quantized(path, ROWS, ("MatMul_0",)).layers) == names
    assert names == {"MatMul_0", "Gemm_3", "MatMul_4"}


def test_a_layer_in_float_reads_a_weight_in_float_that_others_read_in_8_bits(
    tmp_path: Path,
) -> None:
    file = read(linear(tmp_path / "x.onnx", np.ones(4)))
    samples = samples_of(file, ROWS, "samples")
    with onnx_source("x", file, samples, ExportOptions()) as fp32:
        graph = written(quantized_source(fp32, "minmax", ("MatMul_0",)), "onnx").graph
    weights = {each.name: each for each in graph.initializer if list(each.dims) == [4, 4]}
    read_by = {node.name: node.input[1] for node in graph.node if len(node.input) > 1}
    assert weights[read_by["MatMul_0"]].data_type == onnx.TensorProto.FLOAT
    assert sorted(each.data_type for each in weights.values()) == [
        onnx.TensorProto.FLOAT,
        onnx.TensorProto.INT8,
    ]


def test_layers_that_read_the_same_tensor_are_as_accurate(tmp_path: Path) -> None:
    layers = quantized(linear(tmp_path / "x.onnx", np.ones(4)), ROWS)
    assert layers.inputs["Gemm_3"] == layers.inputs["MatMul_4"] != layers.inputs["MatMul_0"]


def test_layers_that_read_the_same_tensor_return_to_float_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_flow, "most_harmful_first", lambda source, groups, target: groups)
    file = read(linear(tmp_path / "x.onnx", np.ones(4)))
    samples = samples_of(file, ROWS, "samples")
    with onnx_source("x", file, samples, ExportOptions()) as fp32:
        source = quantized_source(fp32, "minmax", ())
        error = {"MatMul_0": 0.0, "Gemm_3": 1.0, "MatMul_4": 1.0}
        worst_first = sorted(source.quantized.layers, key=lambda name: -error[name])
        source = replace(source, quantized=replace(source.quantized, layers=tuple(worst_first)))
        with pytest.raises(GateError):
            onnx_flow.quantize(source, fp32, "onnx", tmp_path / "b", False, Limits(1.0))
    assert "2 of 3 layers in float" in capsys.readouterr().err


@pytest.mark.parametrize(("shape", "is_in_8_bits"), [((1, 4), True), ((1,), False), ((), False)])
def test_a_bias_that_is_no_vector_is_reshaped_or_its_layer_stays_in_float(
    tmp_path: Path,
    shape: tuple[int, ...],
    is_in_8_bits: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    layers = quantized(linear(tmp_path / "x.onnx", np.ones(shape)), ROWS).layers
    assert ("Gemm_3" in layers) == is_in_8_bits
    assert ("layer Gemm_3 stays in float" in capsys.readouterr().err) != is_in_8_bits


def test_a_transposed_convolution_with_groups_and_a_bias_stays_in_float(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv"),
        helper.make_node("ConvTranspose", ["c", "w2", "b"], ["y"], "transposed", group=2),
    ]
    weights = {
        "w": random.normal(size=(4, 4, 1, 1)).astype(np.float32),
        "w2": random.normal(size=(4, 3, 2, 2)).astype(np.float32),
        "b": np.ones(6, np.float32),
    }
    path = save(tmp_path / "x.onnx", nodes, {"x": ("N", 4, 3, 3)}, {"y": ("N", 6, 4, 4)}, weights)
    assert quantized(path, {"x": random.normal(size=(4, 4, 3, 3))}).layers == ("conv",)


@pytest.mark.parametrize(("low", "between"), [(0.0, 1), (-1.0, 0)])
def test_a_clip_stands_between_convolutions_where_it_starts_at_zero(
    tmp_path: Path, low: float, between: int
) -> None:
    random = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Clip", ["c", "low", "high"], ["d"], "clip"),
        helper.make_node("Conv", ["d", "w"], ["y"]),
    ]
    weights = {
        "w": random.normal(size=(4, 4, 1, 1)).astype(np.float32),
        "low": np.array(low, np.float32),
        "high": np.array(6, np.float32),
    }
    path = save(tmp_path / "x.onnx", nodes, {"x": ("N", 4, 3, 3)}, {"y": ("N", 4, 3, 3)}, weights)
    layers = quantized(path, {"x": random.normal(size=(4, 4, 3, 3))})
    assert len(layers.between) == between


def test_weights_that_old_files_list_as_inputs_are_constants(tmp_path: Path) -> None:
    path = cnn(tmp_path / "cnn.onnx", opset=9)
    model = onnx.load(str(path))
    model.ir_version = 3
    for each in model.graph.initializer:
        kind = onnx.TensorProto.FLOAT
        model.graph.input.append(helper.make_tensor_value_info(each.name, kind, each.dims))
    onnx.save_model(model, str(path))
    layers = quantized(path, {"image": images(4)}).layers
    assert set(layers) == {"block/conv:0", "conv2", "head"}


def test_a_layer_after_an_operator_without_inferred_type_is_quantized(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], "first"),
        helper.make_node("QuickGelu", ["a"], ["b"], "gelu", domain="com.microsoft"),
        helper.make_node("MatMul", ["b", "w"], ["c"], "second"),
        helper.make_node("Tanh", ["c"], ["y"]),
    ]
    weights = {"w": np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)}
    shape, domains = ("N", 4), ("com.microsoft",)
    path = save(tmp_path / "x.onnx", nodes, {"x": shape}, {"y": shape}, weights, domains=domains)
    file = read(path)
    with onnx_source("x", file, samples_of(file, ROWS, "samples"), ExportOptions()) as fp32:
        model = written(quantized_source(fp32, "minmax", ()), "onnx")
    assert sum(node.op_type == "QuantizeLinear" for node in model.graph.node) == 2


def test_what_is_written_of_an_old_file_is_a_valid_file_of_its_version(tmp_path: Path) -> None:
    path = cnn(tmp_path / "cnn.onnx", opset=9)
    model = onnx.load(str(path))
    model.ir_version = 3
    for each in model.graph.initializer:
        kind = onnx.TensorProto.FLOAT
        model.graph.input.append(helper.make_tensor_value_info(each.name, kind, each.dims))
    onnx.save_model(model, str(path))
    file = read(path)
    samples = samples_of(file, {"image": images(4)}, "samples")
    with onnx_source("x", file, samples, ExportOptions()) as fp32:
        onnx.checker.check_model(onnx.load(str(fp32.onnx("onnx")[0])), full_check=True)
        source = quantized_source(fp32, "minmax", ())
        model = written(source, "openvino")
    onnx.checker.check_model(model)
    assert source.opset == next(each.version for each in model.opset_import if not each.domain)


def test_a_layer_in_float_reads_a_shared_weight_in_float(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], "in_8_bits"),
        helper.make_node("Gemm", ["h", "w"], ["g"], "in_float", alpha=0.5),
        helper.make_node("Add", ["g", "w"], ["y"], "sum"),
    ]
    weights = {"w": np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)}
    path = save(tmp_path / "x.onnx", nodes, {"x": (4, 4)}, {"y": (4, 4)}, weights)
    file = read(path)
    rows = np.random.default_rng(1).normal(size=(32, 4, 4)).astype(np.float32)
    with onnx_source("x", file, samples_of(file, {"x": rows}, "samples"), ExportOptions()) as fp32:
        source = quantized_source(fp32, "minmax", ())
        for target in TARGETS:
            graph = written(source, target).graph
            read_in_float = {node.name: list(node.input) for node in graph.node}
            assert read_in_float["in_float"][1] == read_in_float["sum"][1] == "w_float", target
            values = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
            np.testing.assert_array_equal(values["w_float"], weights["w"])


def test_names_of_the_file_do_not_collide_with_what_is_added(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["x", "conv_weight"], ["feat"], "conv"),
        helper.make_node("Mul", ["feat", "feat_scale"], ["b"], "scaled"),
        helper.make_node("Conv", ["b", "conv_weight"], ["y"], "conv_error"),
    ]
    weights: Arrays = {
        "conv_weight": random.normal(size=(4, 4, 1, 1)).astype(np.float32),
        "feat_scale": np.array(100.0, np.float32),
    }
    path = save(tmp_path / "x.onnx", nodes, {"x": ("N", 4, 5, 5)}, {"y": ("N", 4, 5, 5)}, weights)
    rows = {"x": random.normal(size=(16, 4, 5, 5)).astype(np.float32)}
    file = read(path)
    with onnx_source("x", file, samples_of(file, rows, "samples"), ExportOptions()) as fp32:
        expected = fp32.reference.run(rows)["y"]
        source = quantized_source(fp32, "minmax", (), WEIGHT_BITS)
        assert len(set(source.quantized.layers)) == 2
        for target in TARGETS:
            outputs = Reference(source.onnx(target)[0], optimized=False).run(rows)["y"]
            assert np.abs(outputs - expected).max() < 0.1 * np.abs(expected).max(), target
        assert set(source.bias_errors["onnx"]) == set(source.quantized.layers)


def test_an_input_that_is_called_as_what_is_added_keeps_its_name(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    nodes = [
        helper.make_node("Relu", ["x"], ["h"]),
        helper.make_node("MatMul", ["h", "w"], ["a"], "first"),
        helper.make_node("Mul", ["a", "h_scale"], ["y"]),
    ]
    inputs = {"x": ("N", 4), "h_scale": ("N", 4)}
    weights = {"w": random.normal(size=(4, 4)).astype(np.float32)}
    path = save(tmp_path / "x.onnx", nodes, inputs, {"y": ("N", 4)}, weights)
    rows = {name: random.normal(size=(32, 4)).astype(np.float32) for name in inputs}
    file = read(path)
    with onnx_source("x", file, samples_of(file, rows, "samples"), ExportOptions()) as fp32:
        expected = fp32.reference.run(rows)["y"]
        source = quantized_source(fp32, "minmax", (), WEIGHT_BITS)
        for target in TARGETS:
            outputs = Reference(source.onnx(target)[0], optimized=False).run(rows)["y"]
            assert np.abs(outputs - expected).max() < 0.05 * np.abs(expected).max(), target


def test_two_inputs_whose_names_collide_in_8_bits_are_refused(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], "first"),
        helper.make_node("Mul", ["a", "x_scale"], ["y"]),
    ]
    inputs, weights = {"x": ("N", 4), "x_scale": ("N", 4)}, {"w": np.eye(4, dtype=np.float32)}
    path = save(tmp_path / "x.onnx", nodes, inputs, {"y": ("N", 4)}, weights)
    arrays = {name: np.ones((8, 4), np.float32) for name in inputs}
    with pytest.raises(UsageError, match=r"'x' and 'x_scale', inputs or outputs, .* rename one"):
        quantized(path, arrays)


@pytest.mark.parametrize("operator", ["Conv", "ConvTranspose"])
def test_the_bias_of_a_filter_of_zeros_keeps_its_value(tmp_path: Path, operator: str) -> None:
    random = np.random.default_rng(0)
    weight = random.normal(size=(4, 3, 3, 3)).astype(np.float32) / 100
    weight[1] = 0
    if operator == "ConvTranspose":
        weight = np.ascontiguousarray(weight.swapaxes(0, 1))
    weights: Arrays = {"w": weight, "b": np.array([0.1, 0.4, 0.2, 0.3], np.float32)}
    node = helper.make_node(operator, ["x", "w", "b"], ["y"], "conv")
    shapes = {"x": ("N", 3, 8, 8)}, {"y": ("N", 4, "h", "w")}
    path = save(tmp_path / "x.onnx", [node], *shapes, weights)
    rows = {"x": random.uniform(0, 255, size=(16, 3, 8, 8)).astype(np.float32)}
    file = read(path)
    with onnx_source("x", file, samples_of(file, rows, "samples"), ExportOptions()) as fp32:
        source = quantized_source(fp32, "minmax", (), WEIGHT_BITS)
        outputs = Reference(source.onnx("onnx")[0], optimized=False).run(rows)["y"]
    assert np.abs(outputs[:, 1] - 0.4).max() < 0.05

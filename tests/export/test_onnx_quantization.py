"""An ONNX file in 8 bits: one calibration, written in each target's dialect."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import bmc as library
from bmc import bundle as bundles
from bmc import checking
from bmc.contracts.targets import dialect_of
from bmc.errors import DataError, ExportError, GateError, UsageError
from bmc.export import ExportOptions, onnx_flow, onnx_qdq, speed
from bmc.export.onnx_compare import Limits
from bmc.export.onnx_source import OnnxSource, QuantizedSource, onnx_source, quantized_source
from bmc.measure.scores import Interval
from bmc.onnx_models.reading import read
from bmc.onnx_models.samples import samples_of
from bmc.targets import RuntimeOptions
from bmc.workflows.bundle_lines import line_of
from tests._onnx import ROWS, cnn, images, linear, save
from tests._vnni import WEIGHT_BITS

TARGETS = ("onnx", "openvino", "tensorrt")


@pytest.fixture(scope="module")
def sources(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[OnnxSource, QuantizedSource]]:
    """Return the classifier in fp32 and quantized."""
    file = read(cnn(tmp_path_factory.mktemp("quantized") / "cnn.onnx"))
    samples = samples_of(file, {"image": images(48)}, "samples")
    with onnx_source("cnn", file, samples, ExportOptions(allow_slower=True)) as fp32:
        yield fp32, quantized_source(fp32, "mse", ())


def written(source: QuantizedSource, target: str) -> onnx.ModelProto:
    """Return the quantized graph of a target."""
    return onnx.load(str(source.onnx(target)[0]))


def zero_points(model: onnx.ModelProto) -> set[tuple[str, int]]:
    """Return the dtypes and values of the zero points of activations."""
    constants = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    nodes = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
    return {
        (constants[n.input[2]].dtype.name, int(np.ravel(constants[n.input[2]])[0])) for n in nodes
    }


def test_activations_are_written_in_each_targets_dialect(
    sources: tuple[OnnxSource, QuantizedSource],
) -> None:
    _, source = sources
    assert {name for name, _ in zero_points(written(source, "onnx"))} == {"uint8"}
    assert {zero for _, zero in zero_points(written(source, "openvino"))} == {0}
    assert zero_points(written(source, "tensorrt")) == {("int8", 0)}


def test_weights_have_a_scale_for_each_channel(
    sources: tuple[OnnxSource, QuantizedSource],
) -> None:
    model = written(sources[1], "onnx")
    shapes = Counter(
        tuple(each.dims) for each in model.graph.initializer if each.name.endswith("_scale")
    )
    assert shapes[(16,)] >= 2
    assert shapes[(5,)] >= 1


@pytest.mark.parametrize("target", TARGETS)
def test_weights_of_7_bits_leave_sums_of_two_products_in_16_bits(
    sources: tuple[OnnxSource, QuantizedSource], target: str
) -> None:
    source, dialect = sources[1], dialect_of(target)
    assert dialect is not None
    path = source.work / f"{target}-7.onnx"
    onnx_qdq.write(source.quantized, (), dialect, path, weight_bits=7)
    model = onnx.load(str(path))
    weights = [
        numpy_helper.to_array(each)
        for each in model.graph.initializer
        if each.data_type == onnx.TensorProto.INT8 and len(each.dims) > 1
    ]
    assert len(weights) == len(source.quantized.layers)
    assert max(int(np.abs(each.astype(np.int64)).max()) for each in weights) == 64


def test_biases_are_integers_for_onnx_runtime_alone(
    sources: tuple[OnnxSource, QuantizedSource],
) -> None:
    types = {
        target: {each.data_type for each in written(sources[1], target).graph.initializer}
        for target in ("onnx", "tensorrt")
    }
    assert onnx.TensorProto.INT32 in types["onnx"]
    assert onnx.TensorProto.INT32 not in types["tensorrt"]


@pytest.mark.parametrize("target", TARGETS)
def test_a_quantized_bundle_answers_as_its_file(
    sources: tuple[OnnxSource, QuantizedSource],
    target: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fp32, source = sources
    fast = speed.Speed(Interval(2.0, 1.9, 2.1), 1.0)
    monkeypatch.setattr(speed, "over", lambda quantized, folder: fast)
    bundle = onnx_flow.quantize(source, fp32, target, tmp_path / "b", False, Limits(0.9))
    assert bundle.manifest.precision == "int8"
    assert bundle.manifest.parity["agreement"] >= 0.9
    assert bundle.manifest.lineage["from_sha256"] != bundle.manifest.lineage["weights_sha256"]
    if target != "tensorrt":
        checking.check(bundle.path, RuntimeOptions())


def with_outliers(path: Path) -> tuple[Path, np.ndarray]:
    """Write a file whose first layer reads a channel of values that it ignores; return samples."""
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["a"], "first"),
        helper.make_node("Tanh", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "w2"], ["c"], "second"),
        helper.make_node("Tanh", ["c"], ["y"]),
    ]
    random = np.random.default_rng(0)
    weights = {
        "w1": random.normal(size=(8, 16)).astype(np.float32),
        "w2": random.normal(size=(16, 8)).astype(np.float32),
    }
    weights["w1"][0] = 0
    values = random.normal(size=(32, 8))
    values[:, 0] *= 2000
    return save(path, nodes, {"x": ("N", 8)}, {"y": ("N", 8)}, weights), values


def test_the_worst_layers_return_to_float_until_the_agreement_holds(tmp_path: Path) -> None:
    path, values = with_outliers(tmp_path / "x.onnx")
    file = read(path)
    samples = samples_of(file, {"x": values}, "samples")
    with onnx_source("x", file, samples, ExportOptions(allow_slower=True)) as fp32:
        source = quantized_source(fp32, "minmax", (), WEIGHT_BITS, 0.0)
        assert source.quantized.layers == ("first", "second")
        bundle = onnx_flow.quantize(source, fp32, "onnx", tmp_path / "b", False, Limits(0.99))
    assert bundle.manifest.build["in_float"] == ["first"]
    assert bundle.manifest.parity["cosine"] >= 0.99
    with onnx_source("x", file, samples, ExportOptions()) as fp32:
        source = quantized_source(fp32, "minmax", (), WEIGHT_BITS, 0.0)
        with pytest.raises(GateError, match=r"cosine similarity .* is 0.999999. Kept as"):
            onnx_flow.quantize(source, fp32, "onnx", tmp_path / "c", False, Limits(0.999999))
    assert (tmp_path / "c.failed" / "manifest.json").is_file()


def test_a_slower_bundle_is_kept_as_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = speed.Speed(Interval(0.5, 0.4, 0.6), 1.0)
    monkeypatch.setattr(speed, "over", lambda quantized, folder: slow)
    file = read(cnn(tmp_path / "cnn.onnx"))
    samples = samples_of(file, {"image": images(8)}, "samples")
    with onnx_source("cnn", file, samples, ExportOptions()) as fp32:
        source = quantized_source(fp32, "minmax", ())
        with pytest.raises(GateError, match=r"2.00x slower than fp32 here") as kept:
            onnx_flow.quantize(source, fp32, "onnx", tmp_path / "b", False, Limits(0.5))
    assert kept.value.check == "speed"
    assert (tmp_path / "b.failed").is_dir()


@pytest.mark.parametrize("target", ["onnx", "openvino"])
def test_a_file_that_a_runtime_refuses_in_8_bits_is_kept_as_failed_with_its_operator(
    sources: tuple[OnnxSource, QuantizedSource],
    target: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write = onnx_qdq.write

    def with_unknown_operator(*args: Any, **bits: Any) -> None:
        write(*args, **bits)
        model = onnx.load(str(args[3]))
        next(n for n in model.graph.node if n.op_type == "QuantizeLinear").op_type = "QuantizeOdd"
        onnx.save_model(model, str(args[3]))

    monkeypatch.setattr(onnx_qdq, "write", with_unknown_operator)
    fp32, source = sources
    with pytest.raises(GateError, match=r"QuantizeOdd.*Kept as") as kept:
        onnx_flow.quantize(source, fp32, target, tmp_path / "b", False, Limits(0.5))
    assert (kept.value.check, kept.value.exit_code) == ("export", 1)
    manifest = bundles.read(tmp_path / "b.failed").manifest
    assert "QuantizeOdd" in (manifest.failure or "")
    assert not (tmp_path / "b").exists()


def test_a_file_that_a_runtime_refuses_in_fp32_too_is_an_error_that_names_its_operator(
    tmp_path: Path,
) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Cast", ["a"], ["i"], to=onnx.TensorProto.INT64),
        helper.make_node(
            "TfIdfVectorizer",
            ["i"],
            ["y"],
            mode="TF",
            min_gram_length=1,
            max_gram_length=1,
            max_skip_count=0,
            ngram_counts=[0],
            ngram_indexes=[0, 1],
            pool_int64s=[2, 3],
        ),
    ]
    weights = {"w": np.eye(2, dtype=np.float32)}
    file = read(save(tmp_path / "x.onnx", nodes, {"x": ("N", 2)}, {"y": ("N", 2)}, weights))
    samples = samples_of(file, {"x": np.array([[2, 3], [3, 2]])}, "samples")
    with onnx_source("x", file, samples, ExportOptions(allow_slower=True)) as fp32:
        source = quantized_source(fp32, "minmax", ())
        with pytest.raises(ExportError, match="TfIdfVectorizer"):
            onnx_flow.quantize(source, fp32, "openvino", tmp_path / "b", False, Limits(0.5))


def test_named_layers_stay_in_float(sources: tuple[OnnxSource, QuantizedSource]) -> None:
    fp32, _ = sources
    source = quantized_source(fp32, "minmax", ("*conv2*",))
    assert source.in_float == ("conv2",)
    with pytest.raises(UsageError, match="--in-float 'gone' matches no layer"):
        quantized_source(fp32, "minmax", ("gone",))
    with pytest.raises(UsageError, match=r"leaves all 3 layers in float.*bmc export"):
        quantized_source(fp32, "minmax", ("*",))


@pytest.mark.parametrize("opset", [9, 11, 12])
def test_old_opsets_are_raised_for_channels(tmp_path: Path, opset: int) -> None:
    file = read(cnn(tmp_path / "cnn.onnx", opset=opset))
    samples = samples_of(file, {"image": images(8)}, "samples")
    with onnx_source("cnn", file, samples, ExportOptions()) as fp32:
        source = quantized_source(fp32, "minmax", ())
        model = written(source, "onnx")
    assert [entry.version for entry in model.opset_import if not entry.domain] == [13]


def test_a_file_without_layers_has_nothing_to_quantize(tmp_path: Path) -> None:
    node = helper.make_node("Relu", ["x"], ["y"])
    file = read(save(tmp_path / "x.onnx", [node], {"x": ("N", 2)}, {"y": ("N", 2)}))
    samples = samples_of(file, {"x": np.ones((4, 2))}, "samples")
    with (
        onnx_source("x", file, samples, ExportOptions()) as fp32,
        pytest.raises(UsageError, match="nothing can be quantized"),
    ):
        quantized_source(fp32, "minmax", ())


def test_an_activation_that_becomes_infinite_is_named(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Log", ["x"], ["logarithm"]),
        helper.make_node("MatMul", ["logarithm", "w"], ["y"]),
    ]
    weights = {"w": np.eye(2, dtype=np.float32)}
    file = read(save(tmp_path / "x.onnx", nodes, {"x": ("N", 2)}, {"y": ("N", 2)}, weights))
    samples = samples_of(file, {"x": np.zeros((4, 2))}, "samples")
    with (
        onnx_source("x", file, samples, ExportOptions()) as fp32,
        pytest.raises(DataError, match="'logarithm' reads NaN or infinity"),
    ):
        quantized_source(fp32, "minmax", ())


def test_convolutions_keep_8_bits_between_them(
    sources: tuple[OnnxSource, QuantizedSource],
) -> None:
    quantized = sources[1].quantized
    assert {name.split("_")[0] for name in quantized.between} >= {"Relu", "GlobalAveragePool"}
    dialect = dialect_of("onnx")
    assert dialect is not None
    onnx_qdq.write(quantized, (), dialect, sources[1].work / "again.onnx")


def test_nodes_between_convolutions_return_to_float_with_them(
    sources: tuple[OnnxSource, QuantizedSource],
) -> None:
    source = replace(sources[1], in_float=("block/conv:0", "conv2"))
    nodes = {node.name: node for node in written(source, "onnx").graph.node}
    (pooling,) = (node for node in nodes.values() if node.op_type == "GlobalAveragePool")
    computed = {
        name for node in nodes.values() for name in node.output if "Quantize" in node.op_type
    }
    assert pooling.input[0] not in computed


def test_a_bundle_that_is_larger_than_in_fp32_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    doubtful = speed.Speed(Interval(0.6, 0.4, 1.2), 1.0)
    monkeypatch.setattr(speed, "over", lambda quantized, folder: doubtful)
    path = linear(tmp_path / "x.onnx", np.ones(4))
    (bundle,) = library.OnnxHandle(path).quantize(
        samples=ROWS, output=tmp_path / "b", min_agreement=0.5, weight_bits=WEIGHT_BITS
    )
    warnings = bundles.read(bundle.path).manifest.build["warnings"]
    assert [text.partition(":")[0] for text in warnings] == [
        "8 bits make the file larger",
        "probably 1.67x slower than fp32",
    ]
    assert "warning: 8 bits make the file larger" in line_of(bundles.read(bundle.path))


def test_outputs_without_labels_must_agree_where_labels_score_another(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["a"], "first"),
        helper.make_node("Tanh", ["a"], ["boxes"]),
        helper.make_node("MatMul", ["z", "w2"], ["logits"], "head"),
    ]
    weights = {
        "w1": random.normal(size=(8, 16)).astype(np.float32),
        "w2": random.normal(size=(8, 3)).astype(np.float32),
    }
    values = random.normal(size=(32, 8))
    values[0] *= 2000  # one row, in all channels: the scale is far too large for the others
    inputs, outputs = {"x": ("N", 8), "z": ("N", 8)}, {"boxes": ("N", 16), "logits": ("N", 3)}
    path = save(tmp_path / "x.onnx", nodes, inputs, outputs, weights)
    samples = {"x": values, "z": random.normal(size=(32, 8))}
    (bundle,) = library.OnnxHandle(path).quantize(
        samples=samples,
        labels=np.zeros(32, np.uint8),
        calibrator="minmax",
        weight_bits=WEIGHT_BITS,
        allow_slower=True,
        output=tmp_path / "b",
    )
    manifest = bundles.read(bundle.path).manifest
    assert manifest.build["in_float"] == ["first"]
    assert manifest.parity["score"]["output"] == "logits"
    chance, few = manifest.build["warnings"][:2]
    assert "no better than one answer for every label" in chance
    assert few.startswith("32 samples do not show that at most 1 points are lost")

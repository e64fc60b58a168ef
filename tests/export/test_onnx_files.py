"""Bundles of ONNX files of other tools: same outputs on every target, loadable without the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import bmc
from bmc import bundle as bundles
from bmc import checking
from bmc.bundle import Bundle
from bmc.errors import ExportError, GateError, UsageError
from bmc.export import ExportOptions, onnx_flow, tensor_parity
from bmc.export.onnx_compare import golden_call
from bmc.export.onnx_source import onnx_source
from bmc.onnx_models.batches import with_batch
from bmc.onnx_models.logits import masks_of
from bmc.onnx_models.reading import read
from bmc.onnx_models.samples import Samples, fingerprint, samples_of
from bmc.targets import RuntimeOptions
from bmc.workflows.onnx_files import fp32_file
from tests._onnx import INT64, Arrays, cnn, images, save


def export(
    path: Path, arrays: Arrays, target: str, output: Path, opset: int | None = None
) -> Bundle:
    """Export an ONNX file with samples."""
    file = read(path)
    samples = samples_of(file, arrays, "samples")
    with onnx_source("model", file, samples, ExportOptions(opset)) as source:
        return onnx_flow.export(source, target, output, force=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Bundle]:
    """Return a function that exports the classifier to a target, once a module."""
    folder = tmp_path_factory.mktemp("onnx-files")
    path = cnn(folder / "cnn.onnx")
    created: dict[str, Bundle] = {}

    def make(target: str) -> Bundle:
        if target not in created:
            created[target] = export(path, {"image": images()}, target, folder / target)
        return created[target]

    return make


TARGETS = ["onnx", "openvino", "tensorrt"]


@pytest.mark.parametrize("target", TARGETS)
def test_a_bundle_answers_as_its_file(made: Callable[[str], Bundle], target: str) -> None:
    manifest = made(target).manifest
    assert manifest.task == "tensors"
    assert manifest.parity["rows"] == 24
    assert manifest.parity["agreement"] == 1
    assert manifest.parity["max_error"] <= 1e-3 * manifest.parity["scale"]
    assert manifest.lineage["parameters"] == 1125
    assert [info.shape for info in manifest.outputs] == [("batch", 5)]
    assert (manifest.stand_in is not None) == (target == "tensorrt")


@pytest.mark.parametrize("target", ["onnx", "openvino"])
def test_a_loaded_bundle_takes_and_returns_arrays_by_name(
    made: Callable[[str], Bundle], target: str
) -> None:
    with bmc.load(made(target).path) as model:
        outputs = model({"image": images(3)})
        assert {name: array.shape for name, array in outputs.items()} == {"class/logits:0": (3, 5)}
        several = model([{"image": images(1)}, {"image": images(2)}])
        assert [len(each["class/logits:0"]) for each in several] == [1, 2]
        errors = model([{"image": images(1)}, {"x": 1}], errors="return")
        assert str(errors[1]) == "row 2 has the arrays x; the model takes image"


@pytest.mark.parametrize("target", ["onnx", "openvino"])
def test_a_bundle_is_checked_on_the_device(made: Callable[[str], Bundle], target: str) -> None:
    result = checking.check(made(target).path, RuntimeOptions())
    assert result.rows == 4
    assert result.uncovered == ()


def test_outputs_of_another_size_each_have_their_own_limit(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["small"]),
        helper.make_node("Mul", ["x", "million"], ["large"]),
    ]
    path = save(
        tmp_path / "x.onnx",
        nodes,
        {"x": ("N", 2)},
        {"small": ("N", 2), "large": ("N", 2)},
        {"million": np.array(1e6, np.float32)},
    )
    bundle = export(path, {"x": np.ones((5, 2), np.float32)}, "onnx", tmp_path / "b")
    assert bundle.manifest.parity["scales"] == {"small": 1.0, "large": 1e6}
    inputs, outputs = bundle.golden()
    wrong = {**outputs, "small": outputs["small"] + 0.5}
    bundles.write_golden(bundle.path / bundles.GOLDEN, inputs, wrong, bundle.golden_rows())
    bundles.write(bundle.path, bundle.manifest)
    with pytest.raises(GateError, match="other outputs on this device"):
        checking.check(bundle.path, RuntimeOptions())


def test_a_model_of_one_call_at_a_time_keeps_its_state_and_scalars(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Add", ["state", "x"], ["next"]),
        helper.make_node("Cast", ["rate"], ["rate_float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["next", "rate_float"], ["y"]),
    ]
    inputs = {"x": (1, 4), "state": (2, 1, 4), "rate": ()}
    outputs = {"y": (2, 1, 4), "next": (2, 1, 4)}
    path = save(tmp_path / "x.onnx", nodes, inputs, outputs, types={"rate": INT64})
    arrays = {"x": np.ones((3, 4)), "state": np.ones((2, 1, 4)), "rate": np.array(16)}
    for target in ("onnx", "openvino"):
        bundle = export(path, arrays, target, tmp_path / target)
        assert bundle.manifest.build["max_batch"] == 1
        assert checking.check(bundle.path, RuntimeOptions()).rows == 1
        with bmc.load(bundle.path) as model:
            answer = model({"x": np.ones((1, 4)), "state": np.zeros((2, 1, 4)), "rate": 2})
            assert answer["y"].tolist() == np.full((2, 1, 4), 2.0).tolist()


def test_an_output_without_detections_is_kept(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Greater", ["x", "limit"], ["found"]),
        helper.make_node("NonZero", ["found"], ["indices"]),
    ]
    path = save(
        tmp_path / "x.onnx",
        nodes,
        {"x": (1, 4)},
        {"indices": (2, None)},
        {"limit": np.array(9, np.float32)},
        types={"indices": INT64},
    )
    bundle = export(path, {"x": np.ones((3, 4))}, "onnx", tmp_path / "b")
    assert bundle.golden()[1]["indices"].shape == (2, 0)
    assert checking.check(bundle.path, RuntimeOptions()).max_error == 0


def test_masked_values_stay_infinite(tmp_path: Path) -> None:
    node = helper.make_node("Log", ["x"], ["y"])
    path = save(tmp_path / "x.onnx", [node], {"x": ("N", 2)}, {"y": ("N", 2)})
    bundle = export(path, {"x": np.array([[0.0, 1.0]] * 3)}, "onnx", tmp_path / "b")
    assert checking.check(bundle.path, RuntimeOptions()).max_error == 0


def test_external_weights_are_part_of_the_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bmc.export.graph_files.MOST_INSIDE", 1000)
    path = cnn(tmp_path / "cnn.onnx", external="weights")
    for target in ("onnx", "openvino"):
        bundle = export(path, {"image": images(4)}, target, tmp_path / target)
        assert ("model.onnx.data" in bundle.files) == (target == "onnx")
    path.unlink()
    (tmp_path / "weights").unlink()
    with bmc.load(tmp_path / "onnx") as model:
        assert model({"image": images(1)})["class/logits:0"].shape == (1, 5)


def test_another_opset_computes_the_same(tmp_path: Path) -> None:
    path = cnn(tmp_path / "cnn.onnx")
    bundle = export(path, {"image": images(4)}, "onnx", tmp_path / "b", opset=21)
    model = onnx.load(str(bundle.model_path))
    assert [entry.version for entry in model.opset_import if not entry.domain] == [21]
    assert bundle.manifest.parity["max_error"] < 1e-5


def test_traces_of_the_machine_that_wrote_the_file_are_removed(tmp_path: Path) -> None:
    path = cnn(tmp_path / "cnn.onnx")
    model = onnx.load(str(path))
    model.graph.node[0].doc_string = "/home/somebody/model.py"
    onnx.save_model(model, str(path))
    bundle = export(path, {"image": images(4)}, "onnx", tmp_path / "b")
    assert b"somebody" not in bundle.model_path.read_bytes()


def test_a_bundle_that_answers_otherwise_is_kept_as_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = tensor_parity.Comparison.add

    def disturbed(self: tensor_parity.Comparison, outputs: Arrays, expected: Arrays) -> None:
        add(self, {name: array + 1 for name, array in outputs.items()}, expected)

    monkeypatch.setattr(tensor_parity.Comparison, "add", disturbed)
    path = cnn(tmp_path / "cnn.onnx")
    with pytest.raises(GateError, match=r"'class/logits:0' changes by up to 1; .* Kept as") as kept:
        export(path, {"image": images(4)}, "onnx", tmp_path / "b")
    assert isinstance(kept.value.result, Bundle)
    assert kept.value.result.path == tmp_path / "b.failed"
    assert not (tmp_path / "b").exists()


def test_an_operator_that_openvino_lacks_is_named(tmp_path: Path) -> None:
    node = helper.make_node("TfIdfVectorizer", ["x"], ["y"], mode="TF", min_gram_length=1,
        max_gram_length=1, max_skip_count=0, ngram_counts=[0], ngram_indexes=[0, 1],
        pool_int64s=[2, 3])  # fmt: skip
    kinds = {"x": INT64}
    path = save(tmp_path / "x.onnx", [node], {"x": ("N", 2)}, {"y": ("N", 2)}, types=kinds)
    arrays = {"x": np.array([[2, 3]])}
    assert export(path, arrays, "onnx", tmp_path / "onnx").manifest.parity["max_error"] == 0
    with pytest.raises(ExportError, match="TfIdfVectorizer"):
        export(path, arrays, "openvino", tmp_path / "openvino")


def test_pytorch_runs_no_onnx_file(tmp_path: Path) -> None:
    path = cnn(tmp_path / "cnn.onnx")
    with pytest.raises(UsageError, match=r"pytorch reads no ONNX.*--target onnx"):
        export(path, {"image": images(4)}, "pytorch", tmp_path / "b")


def test_a_file_that_is_quantized_already_is_exported_as_it_is(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
        helper.make_node("MatMulInteger", ["q", "w", "zero"], ["integers"]),
        helper.make_node("Cast", ["integers"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["floats", "scale"], ["y"]),
    ]
    weights = {"w": np.eye(3, dtype=np.int8)}
    path = save(tmp_path / "x.onnx", nodes, {"x": (1, 3)}, {"y": (1, 3)}, weights)
    arrays = {"x": np.random.default_rng(0).normal(size=(8, 3))}
    bundle = export(path, arrays, "onnx", tmp_path / "onnx")
    assert bundle.manifest.precision == "int8-dynamic"
    with pytest.raises(UsageError, match="openvino has no int8-dynamic"):
        export(path, arrays, "openvino", tmp_path / "openvino")


@pytest.mark.parametrize("target", ["onnx", "openvino"])
def test_a_small_file_of_weights_moves_into_the_bundles_file(tmp_path: Path, target: str) -> None:
    path = cnn(tmp_path / "cnn.onnx", external="weights")
    bundle = export(path, {"image": images(4)}, target, tmp_path / "b")
    assert "model.onnx.data" not in bundle.files
    path.unlink()
    (tmp_path / "weights").unlink()
    with bmc.load(bundle.path) as model:
        assert model({"image": images(1)})["class/logits:0"].shape == (1, 5)


@pytest.mark.parametrize(("shape", "is_mask"), [((1, 1, 4, 4), True), ((1, 4), False)])
def test_a_sigmoid_of_pixels_is_a_mask(
    tmp_path: Path, shape: tuple[int, ...], is_mask: bool
) -> None:
    node = helper.make_node("Sigmoid", ["x"], ["y"])
    file = read(save(tmp_path / "x.onnx", [node], {"x": shape}, {"y": shape}))
    assert bool(masks_of(file.graph)) == is_mask


def test_a_simplified_file_has_fewer_operators_and_the_same_outputs(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("BatchNormalization", ["c", "g", "b", "m", "v"], ["n"]),
        helper.make_node("Identity", ["n"], ["i"]),
        helper.make_node("Neg", ["i"], ["unused"]),
        helper.make_node("Add", ["two", "two"], ["four"]),
        helper.make_node("Mul", ["i", "four"], ["y"]),
    ]
    weights = {
        "w": random.normal(size=(4, 3, 3, 3)).astype(np.float32),
        **{name: random.uniform(0.5, 2, 4).astype(np.float32) for name in "gbmv"},
        "two": np.array(2, np.float32),
    }
    shapes = {"x": ("N", 3, 5, 5)}, {"y": ("N", 4, 3, 3)}
    file = read(save(tmp_path / "x.onnx", nodes, *shapes, weights))
    samples = samples_of(file, {"x": random.normal(size=(4, 3, 5, 5))}, "samples")
    with onnx_source("x", file, samples, ExportOptions(simplify=True)) as source:
        bundle = onnx_flow.export(source, "onnx", tmp_path / "b", force=False)
    graph = onnx.load(str(bundle.model_path)).graph
    assert [node.op_type for node in graph.node] == ["Conv", "Mul"]
    assert bundle.manifest.parity["max_error"] < 1e-4


def test_a_fixed_batch_takes_that_many_rows(tmp_path: Path) -> None:
    file = with_batch(read(cnn(tmp_path / "cnn.onnx")), 4)
    samples = samples_of(file, {"image": images(8)}, "samples")
    assert len(samples) == 2
    with onnx_source("x", file, samples, ExportOptions()) as source:
        for target in ("onnx", "openvino"):
            bundle = onnx_flow.export(source, target, tmp_path / target, force=False)
            assert bundle.manifest.inputs[0].shape == (4, 3, 16, 16)
            assert bundle.manifest.outputs[0].shape == (4, 5)
    with pytest.raises(UsageError, match="no input with a dynamic first axis"):
        with_batch(read(cnn(tmp_path / "fixed.onnx", batch=2)), 4)


def test_a_file_in_float64_names_the_way_out(tmp_path: Path) -> None:
    node = helper.make_node("MatMul", ["x", "w"], ["y"], "product")
    kinds = dict.fromkeys("xy", onnx.TensorProto.DOUBLE)
    shapes = {"x": ("N", 4)}, {"y": ("N", 3)}
    path = save(tmp_path / "x.onnx", [node], *shapes, {"w": np.ones((4, 3))}, types=kinds)
    with pytest.raises(UsageError, match=r"computes in float64, .* model\.float\(\)"):
        fp32_file(path, "")


def test_rows_of_large_outputs_are_run_and_kept_one_by_one(tmp_path: Path) -> None:
    node = helper.make_node("Expand", ["x", "shape"], ["y"])
    weights = {"shape": np.array([1, 5_000_000], np.int64)}
    path = save(tmp_path / "x.onnx", [node], {"x": ("N", 1)}, {"y": ("N", 5_000_000)}, weights)
    file = read(path)
    samples = samples_of(file, {"x": np.arange(1, 21, dtype=np.float32)[:, None]}, "samples")
    with onnx_source("x", file, samples, ExportOptions()) as source:
        assert source.signature.call_bytes == 2 * 4 + 20_000_000
        assert max(map(len, source.groups())) == 6
        assert len(golden_call(source, 16)[0]) == 3


def test_fewer_rows_are_run_together_where_they_are_larger_than_the_first(tmp_path: Path) -> None:
    node = helper.make_node("Relu", ["x"], ["y"])
    path = save(tmp_path / "x.onnx", [node], {"x": ("N", "w")}, {"y": ("N", "w")})
    file = read(path)
    widths = (8, 8, *[3_000_000] * 8)
    calls = tuple({"x": np.ones((1, width), np.float32)} for width in widths)
    samples = Samples(calls, "samples", fingerprint(calls))
    with onnx_source("x", file, samples, ExportOptions()) as source:
        groups = list(source.groups())
    assert [len(group) for group in groups] == [2, 3, 3, 2]


def test_a_row_that_no_bundle_can_keep_is_refused_at_the_start(tmp_path: Path) -> None:
    node = helper.make_node("Expand", ["x", "shape"], ["y"])
    weights = {"shape": np.array([1, 130_000_000], np.int64)}
    path = save(tmp_path / "x.onnx", [node], {"x": ("N", 1)}, {"y": ("N", 130_000_000)}, weights)
    file = read(path)
    samples = samples_of(file, {"x": np.ones((2, 1), np.float32)}, "samples")
    with (
        pytest.raises(UsageError, match="these take 520 MB of at most 500 MB"),
        onnx_source("x", file, samples, ExportOptions()),
    ):
        pass

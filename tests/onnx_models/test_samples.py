"""Samples are arrays by input name; they are split into calls, or refused with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from bmc.errors import ArtifactError, DataError, UnknownError, UsageError
from bmc.onnx_models.generated import generate, unknown_integers
from bmc.onnx_models.reading import OnnxFile, read
from bmc.onnx_models.running import Reference
from bmc.onnx_models.samples import Samples, read_samples, samples_of
from bmc.onnx_models.signature import signature_of
from bmc.onnx_models.stored_calls import samples_from
from tests._onnx import INT64, cnn, images, save


@pytest.fixture
def classifier(tmp_path: Path) -> OnnxFile:
    return read(cnn(tmp_path / "cnn.onnx"))


def identity(path: Path, *inputs: Sequence[int | str | None], opset: int = 17) -> OnnxFile:
    """Return a file whose outputs are its inputs, of these shapes."""
    named = {f"x{index}": shape for index, shape in enumerate(inputs)}
    nodes = [helper.make_node("Neg", [name], [f"y{name}"]) for name in named]
    outputs = {f"y{name}": shape for name, shape in named.items()}
    return read(save(path, nodes, named, outputs, opset=opset))


def shapes(samples: Samples) -> list[list[tuple[int, ...]]]:
    """Return the shapes of each distinct kind of call, in order."""
    return [[array.shape for array in call.values()] for call in samples.calls]


def test_rows_along_the_first_axis_are_calls(classifier: OnnxFile) -> None:
    assert shapes(samples_of(classifier, {"image": images(3)}, "x")) == [[(1, 3, 16, 16)]] * 3


def test_an_axis_in_front_counts_calls(classifier: OnnxFile) -> None:
    calls = images(6).reshape(3, 2, 3, 16, 16)
    assert shapes(samples_of(classifier, {"image": calls}, "x")) == [[(2, 3, 16, 16)]] * 3


def test_a_fixed_batch_takes_that_many_rows_a_call(tmp_path: Path) -> None:
    file = identity(tmp_path / "x.onnx", (2, 3))
    assert shapes(samples_of(file, {"x0": np.ones((6, 3), np.float32)}, "x")) == [[(2, 3)]] * 3


def test_what_all_calls_share_is_given_once(tmp_path: Path) -> None:
    file = identity(tmp_path / "x.onnx", ("N", 3), (2, "N", 4), ())
    arrays = {"x0": np.ones((5, 3)), "x1": np.ones((2, 1, 4)), "x2": np.array(1.0)}
    assert shapes(samples_of(file, arrays, "x")) == [[(1, 3), (2, 1, 4), ()]] * 5


def test_a_vector_counts_rows_where_the_others_have_as_many(tmp_path: Path) -> None:
    file = identity(tmp_path / "x.onnx", ("N", 3), ("N",))
    arrays = {"x0": np.ones((5, 3)), "x1": np.ones(5)}
    assert shapes(samples_of(file, arrays, "x")) == [[(1, 3), (1,)]] * 5
    signal = identity(tmp_path / "y.onnx", ("samples",))
    assert shapes(samples_of(signal, {"x0": np.ones(800)}, "x")) == [[(800,)]]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, r"has the arrays \(none\); .* takes image float32 \(N, 3, 16, 16\)"),
        ({"img": images(2)}, "has the arrays img"),
        ({"image": images(2), "more": np.ones(1)}, "has the arrays image, more"),
        ({"image": images(2)[:, :1]}, r"image has shape \(2, 1, 16, 16\); the model takes"),
        ({"image": images(2)[0, 0]}, "image has shape"),
        ({"image": np.full((2, 3, 16, 16), "a")}, "image is <U1"),
        ({"image": images(2) * np.nan}, r"image is NaN or infinite at \[0, 0, 0, 0\]"),
        ({"image": images(0)}, "holds no samples"),
    ],
)
def test_samples_that_do_not_fit_are_refused(
    classifier: OnnxFile, arrays: dict[str, np.ndarray], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        samples_of(classifier, arrays, "rows.npz")


def test_floats_are_no_token_ids(tmp_path: Path) -> None:
    node = helper.make_node("Neg", ["ids"], ["y"])
    kinds = {"ids": INT64, "y": INT64}
    file = read(save(tmp_path / "x.onnx", [node], {"ids": ("N", 2)}, {"y": ("N", 2)}, types=kinds))
    with pytest.raises(DataError, match="ids is float64; the model takes int64"):
        samples_of(file, {"ids": np.ones((3, 2))}, "x")


def test_different_numbers_of_rows_are_refused(tmp_path: Path) -> None:
    file = identity(tmp_path / "x.onnx", ("N", 3), ("N", 4))
    with pytest.raises(DataError, match="different numbers of samples: x0 5, x1 6"):
        samples_of(file, {"x0": np.ones((5, 3)), "x1": np.ones((6, 4))}, "x")


def test_files_of_samples_are_plain_arrays(classifier: OnnxFile, tmp_path: Path) -> None:
    path = tmp_path / "rows.npz"
    np.savez(path, image=images(2))
    assert len(read_samples(classifier, path)) == 2
    np.savez(path, image=np.array([{}], object))
    with pytest.raises(ArtifactError, match="only arrays of numbers are read"):
        read_samples(classifier, path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ArtifactError, match=r"not a file of plain arrays"):
        read_samples(classifier, path)
    with pytest.raises(UnknownError, match="there is no file"):
        read_samples(classifier, tmp_path / "gone.npz")
    with pytest.raises(UsageError, match=r"an .npz file with an array for each input: image"):
        read_samples(classifier, tmp_path / "rows.csv")


def test_generated_indices_stay_within_their_table(tmp_path: Path) -> None:
    node = helper.make_node("Gather", ["table", "ids"], ["y"])
    weights = {"table": np.ones((7, 2), np.float32)}
    inputs, kinds = {"ids": ("N", "S")}, {"ids": INT64}
    path = save(tmp_path / "x.onnx", [node], inputs, {"y": ("N", "S", 2)}, weights, types=kinds)
    samples = generate(read(path))
    values = np.concatenate([call["ids"] for call in samples.calls])
    assert values.shape == (16, 32)
    assert set(np.unique(values)) == set(range(7))


def test_generated_indices_follow_a_cast_to_the_smallest_table(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["ids"], ["long"], to=INT64),
        helper.make_node("Gather", ["table", "long"], ["a"]),
        helper.make_node("Gather", ["wide", "long"], ["b"], axis=1),
        helper.make_node("ReduceSum", ["b"], ["c"], keepdims=0),
        helper.make_node("Add", ["a", "c"], ["y"]),
    ]
    weights = {"table": np.ones((9, 2), np.float32), "wide": np.ones((3, 5), np.float32)}
    kinds = {"ids": TensorProto.INT32}
    path = save(tmp_path / "x.onnx", nodes, {"ids": ("N", "S")}, {"y": ("N", "S", 2)}, weights,
        types=kinds)  # fmt: skip
    values = np.concatenate([call["ids"] for call in generate(read(path)).calls])
    assert set(np.unique(values)) == set(range(5))
    assert not unknown_integers(read(path))


def test_generated_bytes_are_those_of_images_and_other_integers_are_said(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", [name], [f"{name}_y"], to=TensorProto.FLOAT)
        for name in ("image", "count", "attention_mask")
    ]
    kinds = {"image": TensorProto.UINT8, "count": INT64, "attention_mask": INT64}
    shapes = {"image": ("N", 8, 8, 3), "count": ("N", 4), "attention_mask": ("N", 4)}
    outputs = {f"{name}_y": shape for name, shape in shapes.items()}
    file = read(save(tmp_path / "x.onnx", nodes, shapes, outputs, types=kinds))
    call = generate(file).calls[0]
    assert call["image"].max() > 200
    assert unknown_integers(file) == ["count"]


@pytest.mark.parametrize("kind", [TensorProto.STRING, None])
def test_outputs_that_are_no_numbers_are_refused_before_they_are_computed(
    kind: int | None, tmp_path: Path
) -> None:
    node = helper.make_node("SequenceConstruct", ["x"], ["y"])
    y = helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, None)
    if kind is not None:
        node = helper.make_node("Cast", ["x"], ["y"], to=kind)
        y = helper.make_tensor_value_info("y", kind, ["N", 2])
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2])
    graph = helper.make_graph([node], "g", [x], [y])
    imports = [helper.make_opsetid("", 17)]
    path = tmp_path / "x.onnx"
    onnx.save_model(helper.make_model(graph, opset_imports=imports, ir_version=9), str(path))
    file = read(path)
    samples = samples_of(file, {"x": np.ones((4, 2))}, "x")
    with pytest.raises(UsageError, match="output 'y' is"):
        signature_of(file, samples, Reference(path))


def test_a_tensor_without_values_is_refused_with_its_shape(tmp_path: Path) -> None:
    file = identity(tmp_path / "x.onnx", ("N", "S", 2))
    with pytest.raises(DataError, match=r"x0 has shape \(4, 0, 2\), and so no values"):
        samples_of(file, {"x0": np.ones((4, 0, 2))}, "x")


def test_lists_are_samples_too(tmp_path: Path) -> None:
    file = identity(tmp_path / "x.onnx", ("N",))
    values: Any = {"x0": [1.0, 2.0, 3.0]}  # a signal, of any length
    (call,) = samples_of(file, values, "x").calls
    assert call["x0"].tolist() == [1, 2, 3]


def test_labels_of_different_shapes_are_those_of_each_call(classifier: OnnxFile) -> None:
    samples = samples_of(classifier, {"image": images(2)}, "x")
    boxes = [np.ones((3, 4)), np.ones((1, 4))]
    assert [each.shape for each in samples.labeled(boxes).labels] == [(1, 3, 4), (1, 1, 4)]
    with pytest.raises(DataError, match="3 labels for 2 samples"):
        samples.labeled([*boxes, np.ones((2, 4))])


def test_a_sample_of_an_iterable_may_have_no_labels(classifier: OnnxFile) -> None:
    rows = [{"image": image, "boxes": np.ones((n, 4))} for n, image in enumerate(images(2))]
    samples = samples_from(classifier, rows, "rows", "boxes")
    assert [each.shape for each in samples.labels] == [(0, 4), (1, 4)]


def signature(file: OnnxFile, samples: Samples) -> tuple[tuple[int | str, ...], str]:
    """Return the shape of the first output, and why rows are not put together."""
    described = signature_of(file, samples, Reference(file.path))
    return described.outputs[0].shape, described.single


def test_independent_rows_have_a_batch_axis(classifier: OnnxFile) -> None:
    samples = samples_of(classifier, {"image": images(3)}, "x")
    assert signature(classifier, samples) == (("batch", 5), "")


def test_a_fixed_first_axis_is_no_batch(tmp_path: Path) -> None:
    file = read(cnn(tmp_path / "x.onnx", batch=1))
    samples = samples_of(file, {"image": images(3)}, "x")
    assert signature(file, samples) == ((1, 5), "the first axis of input image is fixed")


def test_rows_that_change_each_other_are_no_batch(tmp_path: Path) -> None:
    node = helper.make_node("Softmax", ["x"], ["y"], axis=0)
    file = read(save(tmp_path / "x.onnx", [node], {"x": ("N", 3)}, {"y": ("N", 3)}))
    samples = samples_of(file, {"x": np.ones((4, 3))}, "x")
    assert signature(file, samples)[1] == "rows of a batch change each other's y"


def test_an_axis_of_any_size_keeps_its_name(tmp_path: Path) -> None:
    file = identity(tmp_path / "x.onnx", ("N", "sequence", 2))
    samples = samples_of(file, {"x0": np.ones((4, 1, 9, 2))}, "x")
    described = signature_of(file, samples, Reference(file.path))
    assert described.encoder.inputs[0].shape == ("batch", "sequence_length", 2)
    assert described.encoder.longest() == {"sequence_length": 9}


def test_a_file_that_draws_random_numbers_is_refused(tmp_path: Path) -> None:
    node = helper.make_node("RandomNormalLike", ["x"], ["y"])
    file = read(save(tmp_path / "x.onnx", [node], {"x": (1, 3)}, {"y": (1, 3)}))
    samples = samples_of(file, {"x": np.ones((4, 3))}, "x")
    with pytest.raises(
        UsageError, match=r"different outputs for the same inputs .*RandomNormalLike"
    ):
        signature_of(file, samples, Reference(file.path))


def test_samples_that_the_file_cannot_compute_are_refused(tmp_path: Path) -> None:
    node = helper.make_node("Add", ["x", "z"], ["y"])
    inputs = {"x": ("N", "A"), "z": ("N", "B")}
    file = read(save(tmp_path / "x.onnx", [node], inputs, {"y": ("N", "A")}))
    samples = samples_of(file, {"x": np.ones((4, 3)), "z": np.ones((4, 2))}, "x")
    with pytest.raises(
        DataError, match=r"does not run on these samples \(x \(1, 3\), z \(1, 2\)\)"
    ):
        signature_of(file, samples, Reference(file.path))


@pytest.mark.parametrize("count", [1, 3])
def test_equal_samples_prove_no_batch(tmp_path: Path, count: int) -> None:
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[0]),
        helper.make_node("Sub", ["x", "mean"], ["y"]),
    ]
    file = read(save(tmp_path / "x.onnx", nodes, {"x": ("N", 3)}, {"y": ("N", 3)}))
    samples = samples_of(file, {"x": np.arange(1.0, 4.0)[None].repeat(count, 0)}, "x")
    assert signature(file, samples)[1] == "rows of a batch change each other's y"


def test_samples_that_cannot_be_altered_prove_no_batch(tmp_path: Path) -> None:
    file = identity(tmp_path / "x.onnx", ("N", 3))
    samples = samples_of(file, {"x0": np.zeros((4, 3))}, "x")
    assert "all the same" in signature(file, samples)[1]


@pytest.mark.parametrize(
    ("name", "is_mask"), [("attention_mask", True), ("mask:0", True), ("masked_image", False)]
)
def test_a_mask_of_floats_is_all_ones(tmp_path: Path, name: str, is_mask: bool) -> None:
    shape = ("N", 8)
    node = helper.make_node("Identity", [name], ["y"])
    path = save(tmp_path / "x.onnx", [node], {name: shape}, {"y": shape})
    assert (generate(read(path)).calls[0][name] == 1).all() == is_mask


def test_an_empty_vector_beside_rows_is_refused(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("ReduceSum", ["sig"], ["s"], keepdims=0),
        helper.make_node("Add", ["x", "s"], ["y"]),
    ]
    file = read(save(tmp_path / "x.onnx", nodes, {"x": ("N", 4), "sig": ("n",)}, {"y": ("N", 4)}))
    arrays = {"x": np.ones((20, 4), np.float32), "sig": np.ones(0, np.float32)}
    with pytest.raises(DataError, match=r"sig has shape \(0,\), and so no values"):
        samples_of(file, arrays, "samples")

"""Techniques on the weights of ONNX files: what they change, and what they leave alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from bmc.compress.prune.nm import NM
from bmc.compress.prune.unstructured import Unstructured
from bmc.compress.share.cluster import Cluster
from bmc.errors import SettingError, UnknownError, UsageError
from bmc.onnx_models.reading import read, weights_of
from bmc.onnx_models.running import Reference
from bmc.workflows.onnx_weights import cluster, zero_nm, zero_unstructured
from tests._onnx import INT64, cnn, images, save

RANDOM = np.random.default_rng(0)


def floats(*shape: int) -> NDArray[np.float32]:
    """Return random floats of a shape."""
    return RANDOM.normal(size=shape).astype(np.float32)


def mixed(path: Path) -> Path:
    """Write a file with an embedding, a Constant weight, an LSTM, a shared weight and logits."""
    constant = numpy_helper.from_array(floats(12, 32), "constant")
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["words"], "embedding"),
        helper.make_node("LSTM", ["words", "w", "r"], ["all", "last"], "lstm", hidden_size=12),
        helper.make_node("Squeeze", ["last", "first"], ["state"]),
        helper.make_node("Constant", [], ["constant"], value=constant),
        helper.make_node("MatMul", ["state", "constant"], ["a"], "linear"),
        helper.make_node("MatMul", ["a", "square"], ["b"], "shared_1"),
        helper.make_node("MatMul", ["b", "square"], ["c"], "shared_2"),
        helper.make_node("Gemm", ["c", "head"], ["logits"], "head", transB=1),
    ]
    weights: dict[str, NDArray[Any]] = {
        "table": floats(40, 12),
        "w": floats(1, 48, 12),
        "r": floats(1, 48, 12),
        "square": floats(32, 32),
        "head": floats(5, 32),
        "first": np.array([0], np.int64),
    }
    inputs, outputs = {"ids": (6, 1)}, {"logits": (1, 5)}
    return save(path, nodes, inputs, outputs, weights, types={"ids": INT64})


@pytest.fixture
def model(tmp_path: Path) -> onnx_ir.Model:
    return read(mixed(tmp_path / "x.onnx")).model


def outputs_of(model: onnx_ir.Model, path: Path, **inputs: NDArray[Any]) -> NDArray[Any]:
    """Run a graph in ONNX Runtime, and return its first output."""
    onnx_ir.save(model, path)
    return next(iter(Reference(path).run(inputs).values()))


def zeros_of(model: onnx_ir.Model) -> dict[str, float]:
    """Return the share of zeros in each weight."""
    return {name: float((w.numpy() == 0).mean()) for name, w in weights_of(model).items()}


def test_the_smallest_weights_become_zero_except_in_embeddings_and_outputs(
    model: onnx_ir.Model,
) -> None:
    record = zero_unstructured(model, Unstructured(ratio=0.5, scope="layer"))
    shares = zeros_of(model)
    assert record["parameters"] == {name: shares[name] for name in ("w", "r", "constant", "square")}
    assert all(share == 0.5 for share in record["parameters"].values())
    assert shares["table"] == shares["head"] == 0


def test_patterns_name_layers_as_inspect_does(model: onnx_ir.Model) -> None:
    zero_unstructured(model, Unstructured(layers=("head", "embed*")))
    assert {name for name, share in zeros_of(model).items() if share} == {"table", "head"}
    with pytest.raises(UnknownError, match="'gone'"):
        zero_unstructured(model, Unstructured(layers=("gone",)))
    with pytest.raises(UsageError, match="is not trained"):
        zero_unstructured(model, Unstructured(epochs=1))


def test_two_of_four_weights_along_the_inputs_become_zero(model: onnx_ir.Model) -> None:
    record = zero_nm(model, NM())
    assert set(record["parameters"]) == {"constant", "square"}
    groups = weights_of(model)["constant"].numpy().T.reshape(-1, 4)  # MatMul reads (in, out)
    assert ((groups == 0).sum(axis=1) == 2).all()
    with pytest.raises(SettingError, match="no layer has one"):
        zero_nm(model, NM("4:8", layers=("linear",)))  # 12 inputs
    with pytest.raises(SettingError, match="leave the layer out of layers"):
        zero_nm(model, NM("4:8", layers=("linear", "*")))


def test_filters_keep_their_groups_along_the_input_channels(tmp_path: Path) -> None:
    graph = read(cnn(tmp_path / "cnn.onnx")).model
    assert set(zero_nm(graph, NM())["parameters"]) == {"w2"}  # w/1:0 has three channels
    groups = np.moveaxis(weights_of(graph)["w2"].numpy(), 1, -1).reshape(-1, 4)
    assert ((groups == 0).sum(axis=1) == 2).all()


@pytest.mark.parametrize(
    ("values", "groups", "opset"), [(16, 1, 17), (5, 1, 17), (40, 2, 17), (16, 1, 9)]
)
def test_a_codebook_computes_the_weights_that_it_stores(
    tmp_path: Path, values: int, groups: int, opset: int
) -> None:
    path = tmp_path / "x.onnx"
    nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["y"], "gemm", transB=1)]
    weight, bias = floats(64, 33), np.ones(64, np.float32)  # a Gemm of opset 9 needs a bias
    save(path, nodes, {"x": (1, 33)}, {"y": (1, 64)}, {"w": weight, "b": bias}, opset=opset)
    graph = read(path).model
    record = cluster(graph, Cluster(values=values, groups=groups))
    assert record == {"w": {"values": values, "groups": groups, "zero": False}}
    result = outputs_of(graph, tmp_path / "small.onnx", x=np.eye(33, dtype=np.float32)[:1])
    stored, column = result[0] - bias, weight[:, 0]
    assert np.abs(stored - column).max() < 2.5 * np.abs(weight).max() / values
    assert len(np.unique(stored.round(5))) <= values * groups
    assert (tmp_path / "small.onnx").stat().st_size < path.stat().st_size / 2


def test_embeddings_shared_weights_and_constants_get_codebooks(
    model: onnx_ir.Model, tmp_path: Path
) -> None:
    ids = np.array([[1], [2], [3], [4], [5], [6]])
    before = outputs_of(model, tmp_path / "before.onnx", ids=ids)
    record = cluster(model, Cluster(values=8))
    assert set(record) == {"table", "constant", "square", "head"}
    after = outputs_of(model, tmp_path / "after.onnx", ids=ids)
    assert after.shape == before.shape
    assert not np.array_equal(after, before)


def test_a_weight_that_an_old_file_lists_as_an_input_is_none_with_a_codebook(
    tmp_path: Path,
) -> None:
    nodes = [helper.make_node("Gemm", ["x", "w"], ["y"], "gemm", transB=1)]
    inputs, weight = {"x": (1, 33), "w": (64, 33)}, floats(64, 33)
    graph = read(save(tmp_path / "x.onnx", nodes, inputs, {"y": (1, 64)}, {"w": weight})).model
    cluster(graph, Cluster(values=16))
    assert [value.name for value in graph.graph.inputs] == ["x"]


def nothing(path: Path) -> Path:
    return save(path, [helper.make_node("Relu", ["x"], ["y"])], {"x": ("N", 2)}, {"y": ("N", 2)})


@pytest.mark.parametrize(
    ("change", "step"),
    [(zero_unstructured, Unstructured()), (zero_nm, NM()), (cluster, Cluster())],
)
def test_a_file_without_weights_is_refused(
    tmp_path: Path, change: Callable[..., Any], step: Any
) -> None:
    with pytest.raises(UsageError, match="has no l"):
        change(read(nothing(tmp_path / "x.onnx")).model, step)


def test_weights_that_are_too_few_for_a_codebook_are_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    path = save(tmp_path / "x.onnx", nodes, {"x": (1, 4)}, {"y": (1, 4)}, {"w": floats(4, 4)})
    with pytest.raises(UsageError, match="take fewer bytes"):
        cluster(read(path).model, Cluster())


def test_a_pruned_file_answers_as_its_zeros_say(tmp_path: Path) -> None:
    graph = read(cnn(tmp_path / "cnn.onnx")).model
    before = outputs_of(graph, tmp_path / "before.onnx", image=images(2))
    zero_unstructured(graph, Unstructured(ratio=0.05))
    after = outputs_of(graph, tmp_path / "after.onnx", image=images(2))
    assert 0 < np.abs(after - before).max() < np.abs(before).max()

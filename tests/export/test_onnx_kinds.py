"""Kinds of ONNX files that other tools write: each is exported, and quantized where that helps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from bmc.bundle import Bundle
from bmc.errors import ArtifactError, BmcError, ExportError, UsageError
from bmc.export import ExportOptions, onnx_flow, speed
from bmc.export.onnx_compare import Limits
from bmc.export.onnx_scores import scorer_of
from bmc.export.onnx_source import onnx_source, quantized_source
from bmc.measure.scores import Interval
from bmc.onnx_models.reading import read
from bmc.onnx_models.samples import samples_of
from tests._onnx import INT64, save
from tests._vnni import WEIGHT_BITS

Arrays = dict[str, NDArray[Any]]
Case = tuple[Path, Arrays]
RANDOM = np.random.default_rng(0)


def floats(*shape: int) -> NDArray[np.float32]:
    """Return random floats of a shape."""
    return RANDOM.normal(size=shape).astype(np.float32)


def constant_nodes(path: Path) -> Case:
    value = numpy_helper.from_array(floats(4, 3), "w")
    nodes = [
        helper.make_node("Constant", [], ["w"], value=value),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    return save(path, nodes, {"x": ("N", 4)}, {"y": ("N", 3)}), {"x": floats(24, 4)}


def channels_last(path: Path) -> Case:
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["t", "w"], ["c"], pads=[1] * 4),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Transpose", ["r"], ["y"], perm=[0, 2, 3, 1]),
    ]
    shape = {"x": ("N", 6, 6, 3)}
    weights = {"w": floats(8, 3, 3, 3)}
    return save(path, nodes, shape, {"y": ("N", 6, 6, 8)}, weights), {"x": floats(24, 6, 6, 3)}


def transposed_convolution(path: Path) -> Case:
    nodes = [
        helper.make_node("ConvTranspose", ["x", "w"], ["c"], strides=[2, 2]),
        helper.make_node("Sigmoid", ["c"], ["y"]),
    ]
    weights = {"w": floats(3, 4, 2, 2)}
    path = save(path, nodes, {"x": ("N", 3, 5, 5)}, {"y": ("N", 4, 10, 10)}, weights)
    return path, {"x": floats(24, 3, 5, 5)}


def resize_and_clip(path: Path) -> Case:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4),
        helper.make_node("Clip", ["c", "low", "high"], ["clipped"]),
        helper.make_node("Resize", ["clipped", "", "scales"], ["large"], mode="nearest"),
        helper.make_node("Conv", ["large", "w2"], ["c2"], group=4),
        helper.make_node("HardSwish", ["c2"], ["y"]),
    ]
    weights = {
        "w": floats(4, 3, 3, 3),
        "w2": floats(4, 1, 1, 1),
        "low": np.array(0, np.float32),
        "high": np.array(6, np.float32),
        "scales": np.array([1, 1, 2, 2], np.float32),
    }
    path = save(path, nodes, {"x": ("N", 3, 6, 6)}, {"y": ("N", 4, 12, 12)}, weights)
    return path, {"x": floats(24, 3, 6, 6)}


def residual(path: Path) -> Case:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1] * 4),
        helper.make_node("BatchNormalization", ["a", "g", "b", "m", "v"], ["n"]),
        helper.make_node("Relu", ["n"], ["r"]),
        helper.make_node("Conv", ["r", "w2"], ["c"], pads=[1] * 4),
        helper.make_node("Add", ["c", "r"], ["sum"]),
        helper.make_node("Concat", ["sum", "r"], ["both"], axis=1),
        helper.make_node("MaxPool", ["both"], ["y"], kernel_shape=[2, 2], strides=[2, 2]),
    ]
    weights = {
        "w": floats(4, 3, 3, 3),
        "w2": floats(4, 4, 3, 3),
        **{name: np.abs(floats(4)) for name in "gbmv"},
    }
    path = save(path, nodes, {"x": ("N", 3, 6, 6)}, {"y": ("N", 8, 3, 3)}, weights)
    return path, {"x": floats(24, 3, 6, 6)}


def a_weight_used_twice(path: Path) -> Case:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Tanh", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "w"], ["y"]),
        helper.make_node("Identity", ["a"], ["second"]),
    ]
    outputs = {"y": ("N", 4), "second": ("N", 4)}
    path = save(path, nodes, {"x": ("N", 4), "unused": ("N", 1)}, outputs, {"w": floats(4, 4)})
    return path, {"x": floats(24, 4), "unused": floats(24, 1)}


def branches(path: Path) -> Case:
    """An If whose branches multiply, after a linear layer."""
    graphs = {}
    for name, factor in (("then_branch", 1.0), ("else_branch", -1.0)):
        value = numpy_helper.from_array(np.array(factor, np.float32), f"{name}_factor")
        nodes = [
            helper.make_node("Constant", [], [f"{name}_factor"], value=value),
            helper.make_node("Mul", ["m", f"{name}_factor"], [f"{name}_y"]),
        ]
        output = helper.make_tensor_value_info(f"{name}_y", TensorProto.FLOAT, None)
        graphs[name] = helper.make_graph(nodes, name, [], [output])
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("ReduceSum", ["m"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["positive"]),
        helper.make_node("If", ["positive"], ["y"], **graphs),
    ]
    weights: Arrays = {"w": floats(4, 3), "zero": np.array(0, np.float32)}
    return save(path, nodes, {"x": (1, 4)}, {"y": (1, 3)}, weights), {"x": floats(24, 4)}


def dynamic_sizes(path: Path) -> Case:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4),
        helper.make_node("GlobalAveragePool", ["c"], ["y"]),
    ]
    inputs = {"x": ("N", 3, None, None)}
    path = save(path, nodes, inputs, {"y": ("N", 4, 1, 1)}, {"w": floats(4, 3, 3, 3)})
    return path, {"x": floats(24, 3, 7, 9)}


def scan(path: Path) -> Case:
    """A Scan that adds up the rows of what a linear layer computes."""
    shape = {"state": [3], "row": [3], "sum": [3], "copy": [3]}
    infos = {k: helper.make_tensor_value_info(k, TensorProto.FLOAT, v) for k, v in shape.items()}
    nodes = [
        helper.make_node("Add", ["state", "row"], ["sum"]),
        helper.make_node("Identity", ["sum"], ["copy"]),
    ]
    body = helper.make_graph(
        nodes, "body", [infos["state"], infos["row"]], [infos["sum"], infos["copy"]]
    )
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Scan", ["start", "m"], ["last", "y"], body=body, num_scan_inputs=1),
    ]
    weights = {"w": floats(4, 3), "start": np.zeros(3, np.float32)}
    outputs = {"y": (5, 3), "last": (3,)}
    return save(path, nodes, {"x": (5, 4)}, outputs, weights), {"x": floats(24, 5, 4)}


def grid_sample(path: Path) -> Case:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4),
        helper.make_node("GridSample", ["c", "grid"], ["y"], align_corners=0),
    ]
    inputs = {"x": (1, 3, 6, 6), "grid": (1, 4, 4, 2)}
    path = save(path, nodes, inputs, {"y": (1, 4, 4, 4)}, {"w": floats(4, 3, 3, 3)})
    return path, {"x": floats(24, 3, 6, 6), "grid": np.tanh(floats(24, 4, 4, 2))}


def einsum(path: Path) -> Case:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Einsum", ["m", "m"], ["y"], equation="bij,bkj->bik"),
    ]
    path = save(path, nodes, {"x": ("N", 5, 4)}, {"y": ("N", 5, 5)}, {"w": floats(4, 8)})
    return path, {"x": floats(24, 5, 4)}


def group_norm(path: Path) -> Case:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4),
        helper.make_node("GroupNormalization", ["c", "g", "b"], ["n"], num_groups=2),
        helper.make_node("Relu", ["n"], ["y"]),
    ]
    weights = {"w": floats(4, 3, 3, 3), "g": np.ones(2, np.float32), "b": np.zeros(2, np.float32)}
    inputs, outputs = {"x": ("N", 3, 6, 6)}, {"y": ("N", 4, 6, 6)}
    return save(path, nodes, inputs, outputs, weights, opset=18), {"x": floats(24, 3, 6, 6)}


def layers_in_branches(path: Path) -> Case:
    """An If whose branches have a layer each, after a linear layer."""
    graphs = {}
    for name in ("then_branch", "else_branch"):
        value = numpy_helper.from_array(floats(3, 3), f"{name}_w")
        nodes = [
            helper.make_node("Constant", [], [f"{name}_w"], value=value),
            helper.make_node("MatMul", ["m", f"{name}_w"], [f"{name}_y"]),
        ]
        output = helper.make_tensor_value_info(f"{name}_y", TensorProto.FLOAT, None)
        graphs[name] = helper.make_graph(nodes, name, [], [output])
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("ReduceSum", ["m"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["positive"]),
        helper.make_node("If", ["positive"], ["y"], **graphs),
    ]
    weights: Arrays = {"w": floats(4, 3), "zero": np.array(0, np.float32)}
    return save(path, nodes, {"x": (1, 4)}, {"y": (1, 3)}, weights), {"x": floats(24, 4)}


def sparse_tensor(name: str, *, linear: bool) -> onnx.SparseTensorProto:
    """Return a matrix (4, 3) with three values, whose places are counted or coordinates."""
    places = np.array([1, 5, 9] if linear else [[0, 1], [1, 2], [3, 0]], np.int64)
    values = numpy_helper.from_array(np.array([3.0, -2.0, 0.5], np.float32), name)
    return helper.make_sparse_tensor(
        values, numpy_helper.from_array(places, f"{name}_places"), [4, 3]
    )


def sparse_weights(path: Path) -> Case:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("MatMul", ["x", "w2"], ["b"]),
        helper.make_node("Constant", [], ["w3"], sparse_value=sparse_tensor("w3", linear=False)),
        helper.make_node("MatMul", ["x", "w3"], ["c"]),
        helper.make_node("Concat", ["a", "b", "c"], ["y"], axis=1),
    ]
    model = onnx.load(str(save(path, nodes, {"x": ("N", 4)}, {"y": ("N", 9)})))
    model.graph.sparse_initializer.append(sparse_tensor("w", linear=True))
    model.graph.sparse_initializer.append(sparse_tensor("w2", linear=False))
    onnx.save_model(model, str(path))
    return path, {"x": floats(24, 4)}


QUANTIZED: list[Callable[[Path], Case]] = [
    *(constant_nodes, channels_last, transposed_convolution, resize_and_clip, residual),
    *(a_weight_used_twice, branches, dynamic_sizes, scan, grid_sample, einsum, group_norm),
    *(layers_in_branches, sparse_weights),
]


@pytest.fixture
def untimed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the timing out, which is not what these tests ask."""
    fast = speed.Speed(Interval(2.0, 1.9, 2.1), 1.0)
    monkeypatch.setattr(speed, "over", lambda quantized, folder: fast)


def bundles_of(case: Case, output: Path, targets: tuple[str, ...], quantized: bool) -> list[Bundle]:
    """Export a file to targets, in fp32 or in 8 bits."""
    file = read(case[0])
    samples = samples_of(file, case[1], "samples")
    with onnx_source("x", file, samples, ExportOptions()) as source:
        if not quantized:
            return [onnx_flow.export(source, t, output / t, False) for t in targets]
        small = quantized_source(source, "minmax", (), WEIGHT_BITS)
        return [
            onnx_flow.quantize(small, source, t, output / f"{t}-int8", False, Limits(0.95))
            for t in targets
        ]


@pytest.mark.parametrize("make", QUANTIZED)
@pytest.mark.usefixtures("untimed")
def test_a_file_of_each_kind_is_quantized_for_both_cpu_targets(
    make: Callable[[Path], Case], tmp_path: Path
) -> None:
    case = make(tmp_path / "x.onnx")
    for bundle in bundles_of(case, tmp_path, ("onnx", "openvino"), quantized=True):
        assert bundle.manifest.parity["cosine"] >= 0.95
        assert bundle.manifest.parity["rows"] == 24


@pytest.mark.usefixtures("untimed")
def test_layers_inside_branches_stay_in_float(tmp_path: Path) -> None:
    (bundle,) = bundles_of(
        layers_in_branches(tmp_path / "x.onnx"), tmp_path, ("onnx",), quantized=True
    )
    assert bundle.manifest.build["layers"] == 1
    graph = onnx.load(str(bundle.path / bundle.manifest.model)).graph
    (choice,) = [node for node in graph.node if node.op_type == "If"]
    inside = [node for branch in choice.attribute for node in branch.g.node]
    assert [node.op_type for node in inside].count("MatMul") == 2
    assert not any("Quantize" in node.op_type for node in inside)


def old_operators(path: Path, opset: int) -> Case:
    """Operators whose attributes became inputs, and a softmax over all axes but the first."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4),
        helper.make_node("Unsqueeze", ["c"], ["wide"], axes=[1]),
        helper.make_node("Squeeze", ["wide"], ["narrow"], axes=[1]),
        helper.make_node("Softmax", ["narrow"], ["shares"]),
        helper.make_node("ReduceSum", ["shares"], ["sums"], axes=[2], keepdims=0),
        helper.make_node("Add", ["sums", "one"], ["y"]),
    ]
    weights: Arrays = {"w": floats(4, 3, 3, 3), "one": np.array(1, np.float32)}
    if opset < 11:
        nodes[1:1] = [helper.make_node("Clip", ["c"], ["clipped"], min=0.0, max=1.0)]
        nodes[2].input[0] = "clipped"
    path = save(path, nodes, {"x": ("N", 3, 6, 6)}, {"y": ("N", 4, 6)}, weights, opset=opset)
    return path, {"x": floats(24, 3, 6, 6)}


@pytest.mark.parametrize("opset", [9, 10, 11, 12])
@pytest.mark.usefixtures("untimed")
def test_operators_of_old_opsets_compute_the_same_after_conversion(
    opset: int, tmp_path: Path
) -> None:
    case = old_operators(tmp_path / "x.onnx", opset)
    for bundle in bundles_of(case, tmp_path, ("onnx", "openvino"), quantized=True):
        assert bundle.manifest.parity["cosine"] >= 0.9999


def lstm(path: Path) -> Case:
    node = helper.make_node("LSTM", ["x", "w", "r"], ["y", "h"], hidden_size=4)
    weights = {"w": floats(1, 16, 3), "r": floats(1, 16, 4)}
    outputs = {"y": (5, 1, 1, 4), "h": (1, 1, 4)}
    return save(path, [node], {"x": (5, 1, 3)}, outputs, weights), {"x": floats(8, 5, 1, 3)}


def loop(path: Path) -> Case:
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Add", ["state", "state"], ["doubled"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("number", INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, [1, 2]),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("doubled", TensorProto.FLOAT, [1, 2]),
        ],
    )
    node = helper.make_node("Loop", ["times", "", "x"], ["y"], body=body)
    weights = {"times": np.array(3, np.int64)}
    return save(path, [node], {"x": (1, 2)}, {"y": (1, 2)}, weights), {"x": floats(8, 2)}


def loop_over_a_layer(path: Path) -> Case:
    """A Loop whose body is a linear layer, with a weight of the main graph."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("MatMul", ["state", "w"], ["next"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("number", INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, [1, 2]),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, [1, 2]),
        ],
    )
    node = helper.make_node("Loop", ["times", "", "x"], ["y"], body=body)
    weights: Arrays = {"times": np.array(3, np.int64), "w": floats(2, 2)}
    return save(path, [node], {"x": (1, 2)}, {"y": (1, 2)}, weights), {"x": floats(8, 2)}


def gru(path: Path) -> Case:
    node = helper.make_node("GRU", ["x", "w", "r"], ["y", "h"], hidden_size=4)
    weights = {"w": floats(1, 12, 3), "r": floats(1, 12, 4)}
    outputs = {"y": (5, 1, 1, 4), "h": (1, 1, 4)}
    return save(path, [node], {"x": (5, 1, 3)}, outputs, weights), {"x": floats(8, 5, 1, 3)}


@pytest.mark.parametrize("make", [lstm, gru, loop, loop_over_a_layer])
def test_a_file_without_layers_for_8_bits_is_exported_in_fp32(
    make: Callable[[Path], Case], tmp_path: Path
) -> None:
    case = make(tmp_path / "x.onnx")
    for bundle in bundles_of(case, tmp_path, ("onnx", "openvino"), quantized=False):
        assert bundle.manifest.parity["max_error"] < 1e-4
    with pytest.raises(UsageError, match="nothing can be quantized"):
        bundles_of(case, tmp_path, ("onnx",), quantized=True)


def test_a_scaler_of_scikit_learn_runs_in_onnx_runtime(tmp_path: Path) -> None:
    node = helper.make_node(
        "Scaler", ["x"], ["y"], domain="ai.onnx.ml", offset=[1.0, 2.0], scale=[2.0, 0.5]
    )
    path = save(
        tmp_path / "x.onnx", [node], {"x": ("N", 2)}, {"y": ("N", 2)}, domains=["ai.onnx.ml"]
    )
    (bundle,) = bundles_of((path, {"x": floats(8, 2)}), tmp_path, ("onnx",), quantized=False)
    assert bundle.manifest.parity["max_error"] == 0


def trees(path: Path) -> Case:
    """A tree of one split, which gives a class and its probabilities."""
    node = helper.make_node(
        "TreeEnsembleClassifier",
        ["x"],
        ["label", "probabilities"],
        domain="ai.onnx.ml",
        nodes_treeids=[0, 0, 0],
        nodes_nodeids=[0, 1, 2],
        nodes_featureids=[0, 0, 0],
        nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"],
        nodes_values=[0.0, 0.0, 0.0],
        nodes_truenodeids=[1, 0, 0],
        nodes_falsenodeids=[2, 0, 0],
        nodes_missing_value_tracks_true=[0, 0, 0],
        class_treeids=[0, 0, 0, 0],
        class_nodeids=[1, 1, 2, 2],
        class_ids=[0, 1, 0, 1],
        class_weights=[0.9, 0.1, 0.2, 0.8],
        classlabels_int64s=[0, 1],
    )
    outputs = {"label": ("N",), "probabilities": ("N", 2)}
    path = save(
        path, [node], {"x": ("N", 2)}, outputs, types={"label": INT64}, domains=["ai.onnx.ml"]
    )
    return path, {"x": floats(8, 2)}


@pytest.mark.parametrize("operator", ["Scaler", "TreeEnsembleClassifier"])
@pytest.mark.usefixtures("untimed")
def test_operators_of_scikit_learn_stay_in_float_beside_a_layer_of_8_bits(
    operator: str, tmp_path: Path
) -> None:
    path, _ = trees(tmp_path / "trees.onnx")
    (tree,) = onnx.load(str(path)).graph.node
    scaler = helper.make_node(
        "Scaler", ["x"], ["scaled"], domain="ai.onnx.ml", offset=[1.0, 2.0], scale=[2.0, 0.5]
    )
    nodes = [scaler, helper.make_node("MatMul", ["scaled", "w"], ["y"])]
    outputs: dict[str, tuple[str | int, ...]] = {"y": ("N", 3)}
    if operator != "Scaler":
        nodes = [tree, helper.make_node("MatMul", ["x", "w"], ["y"])]
        outputs |= {"label": ("N",), "probabilities": ("N", 2)}
    path = save(
        tmp_path / "x.onnx", nodes, {"x": ("N", 2)}, outputs, {"w": floats(2, 3)},
        types={"label": INT64}, domains=["ai.onnx.ml"],
    )  # fmt: skip
    (bundle,) = bundles_of((path, {"x": floats(8, 2)}), tmp_path, ("onnx",), quantized=True)
    assert bundle.manifest.build["layers"] == 1
    (kept,) = [
        node
        for node in onnx.load(str(bundle.path / bundle.manifest.model)).graph.node
        if node.op_type == operator
    ]
    assert kept.input[0] == "x"


def dynamic_lstm(path: Path) -> Case:
    """An LSTM as `quantize_dynamic` writes it."""
    scale, zero = np.array([0.02], np.float32), np.array([0], np.int8)
    inputs = ["x", "w", "r", "", "", "", "", "", "scale", "zero", "scale", "zero"]
    node = helper.make_node(
        "DynamicQuantizeLSTM", inputs, ["y", "h"], domain="com.microsoft", hidden_size=4
    )
    integers = RANDOM.integers(-90, 90, (1, 4, 16)).astype(np.int8)
    weights: Arrays = {"w": integers[:, :3], "r": integers, "scale": scale, "zero": zero}
    outputs = {"y": (5, 1, 1, 4), "h": (1, 1, 4)}
    path = save(path, [node], {"x": (5, 1, 3)}, outputs, weights, domains=["com.microsoft"])
    return path, {"x": floats(8, 5, 1, 3)}


@pytest.mark.parametrize(
    ("make", "operator", "error"),
    [(trees, "TreeEnsembleClassifier", ExportError), (dynamic_lstm, "int8-dynamic", UsageError)],
)
def test_what_openvino_lacks_runs_in_onnx_runtime_as_it_is(
    make: Callable[[Path], Case], operator: str, error: type[Exception], tmp_path: Path
) -> None:
    case = make(tmp_path / "x.onnx")
    (bundle,) = bundles_of(case, tmp_path, ("onnx",), quantized=False)
    assert bundle.manifest.parity["max_error"] == 0
    with pytest.raises(error, match=operator):
        bundles_of(case, tmp_path, ("openvino",), quantized=False)


@pytest.mark.parametrize(
    ("places", "shape", "error"),
    [
        ([1, 99], [4, 3], ArtifactError),
        ([1, 2, 3], [4, 3], ArtifactError),
        ([-1, 2], [4, 3], ArtifactError),
        ([1, 2], [1 << 20, 1 << 20], UsageError),
        ([1, 2], [1 << 14, 1 << 14], UsageError),
    ],
)
def test_a_sparse_tensor_that_is_damaged_or_would_be_huge_is_refused_by_name(
    places: list[int], shape: list[int], error: type[BmcError], tmp_path: Path
) -> None:
    model = onnx.load(str(constant_nodes(tmp_path / "x.onnx")[0]))
    del model.graph.node[0]
    sparse = onnx.SparseTensorProto(dims=shape)
    sparse.values.CopyFrom(numpy_helper.from_array(np.ones(2, np.float32), "w"))
    sparse.indices.CopyFrom(numpy_helper.from_array(np.array(places, np.int64), "places"))
    model.graph.sparse_initializer.append(sparse)
    onnx.save_model(model, str(tmp_path / "x.onnx"))
    with pytest.raises(error, match="sparse tensor"):
        read(tmp_path / "x.onnx")


def test_a_file_without_standard_operators_has_no_opset(tmp_path: Path) -> None:
    node = helper.make_node(
        "Scaler", ["x"], ["y"], domain="ai.onnx.ml", offset=[1.0, 2.0], scale=[1.0, 1.0]
    )
    graph = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 2]) for name in "xy"]
    model = helper.make_model(
        helper.make_graph([node], "graph", graph[:1], graph[1:]),
        opset_imports=[helper.make_opsetid("ai.onnx.ml", 1)],
        ir_version=9,
    )
    onnx.save_model(model, str(tmp_path / "x.onnx"))
    case = (tmp_path / "x.onnx", {"x": floats(4, 2)})
    (bundle,) = bundles_of(case, tmp_path, ("onnx",), quantized=False)
    assert "opset" not in bundle.manifest.build


def large_boxes(outputs: Sequence[Mapping[str, Any]], labels: Sequence[NDArray[Any]]) -> float:
    """Return the share of samples with at least as many values as labels."""
    counts = [len(each["y"]) >= len(truth) for each, truth in zip(outputs, labels, strict=True)]
    return float(np.mean(counts))


@pytest.mark.usefixtures("untimed")
def test_a_function_scores_outputs_whose_number_depends_on_the_values(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Greater", ["m", "zero"], ["is_large"]),
        helper.make_node("Compress", ["m", "flags"], ["y"]),
        helper.make_node("Reshape", ["is_large", "all"], ["flags"]),
    ]
    nodes = [nodes[0], nodes[1], nodes[3], nodes[2]]
    weights: Arrays = {
        "w": floats(4, 200),
        "zero": np.array(0, np.float32),
        "all": np.array([-1], np.int64),
    }
    path = save(tmp_path / "x.onnx", nodes, {"x": (1, 4)}, {"y": (None,)}, weights)
    labels = tuple(np.ones((1, 50)) for _ in range(24))
    file = read(path)
    samples = replace(samples_of(file, {"x": floats(24, 4)}, "samples"), labels=labels)
    limits = Limits(scorer=scorer_of(samples, {}, (), large_boxes), max_drop=1)
    with onnx_source("x", file, samples, ExportOptions()) as source:
        small = quantized_source(source, "minmax", (), WEIGHT_BITS)
        bundle = onnx_flow.quantize(small, source, "onnx", tmp_path / "b", False, limits)
    assert bundle.manifest.parity["outputs"]["y"]["other_shapes"] > 0
    assert bundle.manifest.parity["score"]["lost"] == 0

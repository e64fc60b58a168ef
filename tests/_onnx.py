"""Small ONNX files as other tools write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

Arrays = Mapping[str, NDArray[Any]]
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def save(
    path: Path,
    nodes: Sequence[NodeProto],
    inputs: Mapping[str, Sequence[int | str | None]],
    outputs: Mapping[str, Sequence[int | str | None]],
    weights: Arrays | None = None,
    *,
    types: Mapping[str, int] | None = None,
    opset: int = 17,
    external: str = "",
    domains: Sequence[str] = (),
) -> Path:
    """Write an ONNX file; inputs and outputs are floats unless `types` names another type."""
    kinds = types or {}
    tensors = [
        [
            helper.make_tensor_value_info(name, kinds.get(name, FLOAT), shape)
            for name, shape in of.items()
        ]
        for of in (inputs, outputs)
    ]
    initializers = [numpy_helper.from_array(np.asarray(v), k) for k, v in (weights or {}).items()]
    graph = helper.make_graph(nodes, "graph", tensors[0], tensors[1], initializers)
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=9)
    if external:
        onnx.save_model(
            model, str(path), save_as_external_data=True, location=external, size_threshold=0
        )
    else:
        onnx.save_model(model, str(path))
    return path


def cnn(path: Path, batch: int | str | None = "N", external: str = "", opset: int = 17) -> Path:
    """Write a classifier of images (N, 3, 16, 16): convolution, ReLU, pooling, linear layer."""
    random = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["image", "w/1:0", "b1"], ["conv"], "block/conv:0", pads=[1] * 4),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("Conv", ["relu", "w2", "b2"], ["conv2"], "conv2", pads=[1] * 4, group=4),
        helper.make_node("Relu", ["conv2"], ["relu2"]),
        helper.make_node("GlobalAveragePool", ["relu2"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w3", "b3"], ["class/logits:0"], "head", transB=1),
    ]
    weights: dict[str, NDArray[Any]] = {
        "w/1:0": random.normal(size=(16, 3, 3, 3)).astype(np.float32) / 5,
        "b1": random.normal(size=16).astype(np.float32) / 5,
        "w2": random.normal(size=(16, 4, 3, 3)).astype(np.float32) / 5,
        "b2": random.normal(size=16).astype(np.float32) / 5,
        "w3": random.normal(size=(5, 16)).astype(np.float32),
        "b3": random.normal(size=5).astype(np.float32),
    }
    inputs = {"image": (batch, 3, 16, 16)}
    return save(
        path, nodes, inputs, {"class/logits:0": (batch, 5)}, weights, external=external, opset=opset
    )


def images(count: int = 24) -> NDArray[np.float32]:
    """Return inputs of `cnn`."""
    return np.random.default_rng(1).normal(size=(count, 3, 16, 16)).astype(np.float32)


def linear(path: Path, bias: np.ndarray) -> Path:
    """Write a file of three linear layers without names, two of which read the same tensor."""
    random = np.random.default_rng(0)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Add", ["a", "b"], ["c"]),
        helper.make_node("Tanh", ["c"], ["t"]),
        helper.make_node("Gemm", ["t", "w", "bias"], ["g"]),
        helper.make_node("MatMul", ["t", "w"], ["m"]),
        helper.make_node("Tanh", ["g"], ["y"]),
        helper.make_node("Tanh", ["m"], ["z"]),
    ]
    weights = {
        "w": random.normal(size=(4, 4)).astype(np.float32),
        "b": np.ones(4, np.float32),
        "bias": bias.astype(np.float32),
    }
    return save(path, nodes, {"x": ("N", 4)}, {"y": ("N", 4), "z": ("N", 4)}, weights)


ROWS = {"x": np.random.default_rng(1).normal(size=(8, 4))}
"""Inputs of `linear`."""

"""Turn the sparse constants of an ONNX file into dense ones, which every target reads."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from bmc.errors import ArtifactError, UsageError

_MAX_BYTES = 2 << 30  # of all dense tensors; protobuf has no larger messages


def make_dense(model: onnx.ModelProto, path: Path) -> None:
    """Replace sparse initializers and sparse values of Constant nodes by dense ones, in place.

    Args:
        model: the file's content, without its external data.
        path: path of the file, for messages.

    Raises:
        ArtifactError: the indices of a sparse tensor do not fit its values or its shape.
        UsageError: the sparse tensors have 2 GiB or more as dense ones, or the values of one are in
            another file.
    """
    size = sum(_dense_bytes(sparse) for sparse in _sparse_tensors(model))
    if size >= _MAX_BYTES:
        raise UsageError(
            f"{path}: its sparse tensors take {size / 2**30:.1f} GiB as dense ones, and 2 GiB are "
            "the limit; export a smaller model"
        )
    for graph in _graphs(model):
        for sparse in graph.sparse_initializer:
            graph.initializer.append(_dense(sparse, sparse.values.name, path))
        del graph.sparse_initializer[:]
    for node in _nodes(model):
        for attribute in node.attribute if node.op_type == "Constant" else ():
            if attribute.name == "sparse_value":
                value = _dense(attribute.sparse_tensor, node.output[0], path)
                attribute.CopyFrom(onnx.helper.make_attribute("value", value))


def _sparse_tensors(model: onnx.ModelProto) -> Iterator[onnx.SparseTensorProto]:
    for graph in _graphs(model):
        yield from graph.sparse_initializer
    for node in _nodes(model):
        for attribute in node.attribute:
            if attribute.name == "sparse_value":
                yield attribute.sparse_tensor


def _dense_bytes(sparse: onnx.SparseTensorProto) -> int:
    """Return the bytes of a tensor as a dense one; of numbers of 8 bytes, which are the largest."""
    return 8 * math.prod(max(int(size), 0) for size in sparse.dims)


def _dense(sparse: onnx.SparseTensorProto, name: str, path: Path) -> onnx.TensorProto:
    shape = tuple(sparse.dims)
    what = f"{path}: sparse tensor {name!r:.80} of shape {shape}"
    if sparse.values.data_location == onnx.TensorProto.EXTERNAL:
        raise UsageError(f"{what} has its values in another file; store it as a dense tensor")
    try:
        values = numpy_helper.to_array(sparse.values).ravel()
        indices = numpy_helper.to_array(sparse.indices)
        places = indices if indices.ndim == 1 else np.ravel_multi_index(tuple(indices.T), shape)
        if len(places) != len(values) or (len(places) and places.min() < 0):
            raise ValueError(f"{len(places)} indices for {len(values)} values, or negative ones")
        array = np.zeros(shape, values.dtype)
        array.reshape(-1)[places] = values
    except (ValueError, TypeError, IndexError) as error:
        raise ArtifactError(f"{what} is damaged: {error}") from error
    return numpy_helper.from_array(array, name)


def _nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Yield the nodes of all graphs, and of the file's own functions."""
    for graph in _graphs(model):
        yield from graph.node
    for function in model.functions:
        yield from function.node


def _graphs(model: onnx.ModelProto) -> list[onnx.GraphProto]:
    """Return the main graph, and the graphs inside its nodes and inside functions."""
    graphs = [model.graph]
    for function in model.functions:
        graphs += _inside(function.node)
    for graph in graphs:  # grows meanwhile
        graphs += _inside(graph.node)
    return graphs


def _inside(nodes: Iterable[onnx.NodeProto]) -> list[onnx.GraphProto]:
    attributes = [attribute for node in nodes for attribute in node.attribute]
    single = [attribute.g for attribute in attributes if attribute.HasField("g")]
    return single + [graph for attribute in attributes for graph in attribute.graphs]

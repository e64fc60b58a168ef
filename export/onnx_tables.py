"""Write the tables that Gather reads, such as word embeddings, in 8 bits."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import uses_external_data

from bmc.contracts import Dialect

_MIN_BYTES = 1 << 16  # of a table in float; below, the operators cost more than they save
_LARGEST = 127


def tables_of(graph: onnx.GraphProto) -> dict[str, str]:
    """Return the large tables of a graph, by the name of the Gather that reads their rows.

    A table that another operator reads as well, such as an output layer with tied weights, is left
    out.
    """
    tables = {
        each.name
        for each in graph.initializer
        if each.data_type == TensorProto.FLOAT
        and len(each.dims) == 2
        and 4 * int(np.prod(each.dims)) >= _MIN_BYTES
    }
    gathers: dict[str, str] = {}
    others: set[str] = {each.name for each in graph.output}
    for node in graph.node:
        if node.op_type == "Gather" and node.input[0] in tables and not _axis_of(node, 0):
            gathers[node.name] = node.input[0]
            others.update(node.input[1:])
        else:
            others.update(node.input)
            others.update(_names_inside(node))
    return {name: table for name, table in gathers.items() if table not in others}


def table_error(graph: onnx.GraphProto, table: str, folder: Path) -> float:
    """Return the squared error of a table in 8 bits over its squares, with uniform noise.

    Args:
        graph: the graph.
        table: name of the table.
        folder: folder of the file of large weights, where the graph has one.
    """
    values = _array_of(graph, table, folder)
    total = np.einsum("ij,ij->", values, values, dtype=np.float64)  # without a copy in float64
    mean_square = float(total) / values.size
    largest = np.maximum(values.max(axis=1), -values.min(axis=1))
    scales = largest.astype(np.float64) / _LARGEST
    return float(np.mean(scales**2)) / 12 / mean_square if mean_square else 0.0


def write_tables(
    graph: onnx.GraphProto, gathers: Mapping[str, str], names: Collection[str], dialect: Dialect
) -> None:
    """Write tables in 8 bits, in place.

    ONNX Runtime dequantizes a whole table at each call, so there its rows are gathered first, also
    where the table is the weight of a layer in 8 bits as well.

    Args:
        graph: the graph.
        gathers: tables by the name of the Gather; see `tables_of`.
        names: names of the Gather nodes whose tables get 8 bits; a table that another Gather reads
            in float stays as it is.
        dialect: dialect of the target.
    """
    in_float = {table for name, table in gathers.items() if name not in names}
    for table in sorted(set(gathers.values()) - in_float):
        values = _array_of(graph, table)
        scales = np.abs(values).max(axis=1) / np.float32(_LARGEST)
        scales[scales == 0] = 1
        _remove_initializer(graph, table)
        _add_constant(
            graph, f"{table}_integers", np.round(values / scales[:, None]).astype(np.int8)
        )
        _add_constant(graph, f"{table}_scales", scales)
        _add_constant(graph, f"{table}_zeros", np.zeros(len(scales), np.int8))
        inputs = [f"{table}_{part}" for part in ("integers", "scales", "zeros")]
        node = helper.make_node("DequantizeLinear", inputs, [table], f"{table}_float", axis=0)
        graph.node.insert(0, node)
    if dialect.gather_before_dequantize:
        _gather_first(graph)


def _gather_first(graph: onnx.GraphProto) -> None:
    """Replace each Gather of dequantized rows by a Gather of integers, of scales, and a product."""
    constants = {each.name for each in graph.initializer if each.data_type == TensorProto.INT8}
    tables = {
        node.output[0]: node
        for node in graph.node
        if node.op_type == "DequantizeLinear"
        and node.input[0] in constants
        and len(_array_of(graph, node.input[1]).shape) == 1
        and _axis_of(node, 1) == 0
    }
    for index in reversed(range(len(graph.node))):
        gather = graph.node[index]
        if gather.op_type != "Gather" or gather.input[0] not in tables or _axis_of(gather, 0):
            continue
        integers, scales = tables[gather.input[0]].input[:2]
        column = f"{scales}_column"
        if column not in {each.name for each in graph.initializer}:
            _add_constant(graph, column, _array_of(graph, scales)[:, None])
        nodes = _gathering(gather, integers, column)
        del graph.node[index]
        for offset, node in enumerate(nodes):
            graph.node.insert(index + offset, node)
    _remove_unread(graph, tables)


def _gathering(gather: onnx.NodeProto, integers: str, scales: str) -> list[onnx.NodeProto]:
    rows, output, name = gather.input[1], gather.output[0], gather.name
    names = [f"{output}_{part}" for part in ("integers", "floats", "scales")]
    return [
        helper.make_node("Gather", [integers, rows], [names[0]], name),
        helper.make_node("Cast", names[:1], [names[1]], f"{name}_float", to=TensorProto.FLOAT),
        helper.make_node("Gather", [scales, rows], [names[2]], f"{name}_scales"),
        helper.make_node("Mul", names[1:], [output], f"{name}_rows"),
    ]


def _remove_unread(graph: onnx.GraphProto, nodes: Mapping[str, onnx.NodeProto]) -> None:
    """Remove nodes, by the name of their output, that nothing reads."""
    read = {name for node in graph.node for name in (*node.input, *_names_inside(node))}
    read.update(each.name for each in graph.output)
    for output, node in nodes.items():
        if output not in read:
            graph.node.remove(node)


def _axis_of(node: onnx.NodeProto, default: int) -> int:
    return next((int(each.i) for each in node.attribute if each.name == "axis"), default)


def _names_inside(node: onnx.NodeProto) -> set[str]:
    """Return the names that the graphs inside a node read."""
    names: set[str] = set()
    for attribute in node.attribute:
        for inner in (attribute.g, *attribute.graphs):
            names.update(output.name for output in inner.output)
            for each in inner.node:
                names.update(each.input)
                names |= _names_inside(each)
    return names


def _array_of(graph: onnx.GraphProto, name: str, folder: Path | None = None) -> NDArray[Any]:
    constant = next(each for each in graph.initializer if each.name == name)
    if folder is None or not uses_external_data(constant):
        return numpy_helper.to_array(constant)
    copy = TensorProto()  # `to_array` stores the values in what it is given
    copy.CopyFrom(constant)
    return numpy_helper.to_array(copy, str(folder))


def _remove_initializer(graph: onnx.GraphProto, name: str) -> None:
    for index, each in enumerate(graph.initializer):
        if each.name == name:
            del graph.initializer[index]
            return


def _add_constant(graph: onnx.GraphProto, name: str, values: NDArray[Any]) -> None:
    graph.initializer.append(numpy_helper.from_array(values, name))

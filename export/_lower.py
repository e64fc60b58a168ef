"""Rewrites a canonical graph into a target's dialect."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx_ir
from onnx_ir import Node, Value
from onnx_ir.passes import common

from bmc.export import _attention
from bmc.export._values import array, constant, producer
from bmc.export.dialects import Dialect

_ZERO = 128
_LEAST_BLOCK = 16
_MULTIPLIERS = ("Gemm", "Conv")


def lower_file(path: Path, output: Path, dialect: Dialect, newest: int) -> dict[str, int]:
    """Write a canonical graph in a target's dialect; return how many nodes of each operator.

    Args:
        path: of the canonical graph.
        output: the file to write.
        dialect: the target's.
        newest: version that the operators may be raised to.
    """
    model = onnx_ir.load(path)
    lower(model, dialect, newest)
    onnx_ir.save(model, output)
    return dict(Counter(node.op_type for node in model.graph))


def lower(model: onnx_ir.Model, dialect: Dialect, newest: int) -> None:
    """Rewrite a canonical graph in place, as a dialect says; see `lower_file`."""
    graph = model.graph
    if dialect.whole_attention and newest >= _attention.OPSET:
        _attention.fuse_attention(model)
    if dialect.look_up_first:
        for node in list(graph):
            if node.op_type == "Gather" and _dequantizes_weight(node.inputs[0]):
                _look_up_first(graph, node)
    if dialect.whole_bias:
        for node in list(graph):
            if node.op_type in _MULTIPLIERS:
                _round_bias(graph, node)
    if dialect.inputs == "uint8":
        _shift(graph)
    if dialect.weight_zeros:
        _write_zeros(graph)
    common.RemoveUnusedNodesPass()(model)  # and what rewritten nodes no longer read


def _look_up_first(graph: onnx_ir.Graph, gather: Node) -> None:
    """Turn Gather(Dequantize(table)) into what dequantizes the rows that were gathered.

    A table of 4 bits without blocks stays: no operator looks that up.
    """
    dequantize = producer(gather.inputs[0])
    if dequantize is None:
        return
    numbers, scales = dequantize.inputs[:2]
    places = gather.inputs[1]
    if numbers is None or scales is None:
        return
    if numbers.dtype != onnx_ir.DataType.INT8:
        size = dequantize.attributes.get_int("block_size", 0)
        if size < _LEAST_BLOCK or size & (size - 1):
            return
        rows = _look_up_blocks(numbers, scales, places, size)
        _replace(graph, gather, [rows], dequantize)
        graph.opset_imports[rows.domain] = 1
        return
    own = Node("", "Gather", [numbers, places], num_outputs=1)
    whole = Node("", "Cast", [own.outputs[0]], [onnx_ir.AttrInt64("to", onnx_ir.DataType.FLOAT)])
    column = constant(graph, f"{scales.name}_column", array(scales)[:, None])
    steps = Node("", "Gather", [column, places], num_outputs=1)
    product = Node("", "Mul", [whole.outputs[0], steps.outputs[0]], num_outputs=1)
    _replace(graph, gather, [own, whole, steps, product], dequantize)


def _look_up_blocks(
    numbers: Value | None, scales: Value | None, places: Value | None, size: int
) -> Node:
    """Return ONNX Runtime's own operator: no standard one looks up whole numbers of 4 bits."""
    attributes = [
        onnx_ir.AttrInt64("block_size", size),
        onnx_ir.AttrInt64("gather_axis", 0),
        onnx_ir.AttrInt64("quantize_axis", 1),
    ]
    given = [numbers, places, scales]
    return Node("com.microsoft", "GatherBlockQuantized", given, attributes, num_outputs=1)


def _replace(graph: onnx_ir.Graph, gather: Node, nodes: list[Node], dequantize: Node) -> None:
    """Put nodes where a lookup in a dequantized table was."""
    graph.insert_before(gather, nodes)
    made, rows = gather.outputs[0], nodes[-1].outputs[0]
    rows.name = f"{made.name}_rows"
    onnx_ir.convenience.replace_all_uses_with(made, rows)
    graph.remove(gather, safe=True)
    if not list(dequantize.outputs[0].uses()):
        graph.remove(dequantize, safe=True)


def _round_bias(graph: onnx_ir.Graph, node: Node) -> None:
    """Give a quantized product a bias of whole numbers; ONNX Runtime fuses no other."""
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return
    values, weight, bias = (node.inputs[place] for place in range(3))
    read, held = producer(values), producer(weight)
    if read is None or held is None or bias is None or bias.const_value is None:
        return
    if {read.op_type, held.op_type} != {"DequantizeLinear"} or "block_size" in held.attributes:
        return
    scales = array(read.inputs[1]) * array(held.inputs[1])
    # It fits: see Quantized.least_scales.
    whole = np.round(array(bias).astype(np.float64) / scales)
    given = [
        constant(graph, f"{bias.name}_{node.name}_whole", whole.astype(np.int32)),
        constant(graph, f"{bias.name}_{node.name}_scales", scales.astype(np.float32)),
    ]
    dequantize = Node("", "DequantizeLinear", given, [onnx_ir.AttrInt64("axis", 0)])
    graph.insert_before(node, dequantize)
    node.replace_input_with(2, dequantize.outputs[0])


def _shift(graph: onnx_ir.Graph) -> None:
    """Give inputs of int8 about 0 the same whole numbers as uint8 about 128."""
    point = constant(graph, "zero_point_128", np.array(_ZERO, np.uint8))
    for node in list(graph):
        inner = node.op_type == "DequantizeLinear" and not node.inputs[0].is_initializer()  # type: ignore[union-attr]
        if not inner and node.op_type != "QuantizeLinear":
            continue
        if array(node.inputs[2]).dtype != np.int8:
            continue
        node.replace_input_with(2, point)
        if node.op_type == "QuantizeLinear":
            node.outputs[0].type = onnx_ir.TensorType(onnx_ir.DataType.UINT8)


def _write_zeros(graph: onnx_ir.Graph) -> None:
    """Write the zero points of int8 weights out; ONNX Runtime fuses no product without them."""
    for node in list(graph):
        if node.op_type != "DequantizeLinear" or len(node.inputs) > 2:
            continue
        if array(node.inputs[0]).dtype == np.int8:
            shape = array(node.inputs[1]).shape
            zeros = np.zeros(shape, np.int8)
            node.resize_inputs(3)
            node.replace_input_with(2, constant(graph, f"zeros{'_'.join(map(str, shape))}", zeros))


def _dequantizes_weight(value: Value | None) -> bool:
    node = producer(value)
    if node is None or node.op_type != "DequantizeLinear":
        return False
    return bool(node.inputs[0].is_initializer())  # type: ignore[union-attr]

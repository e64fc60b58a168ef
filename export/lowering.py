"""Lower a canonical ONNX graph to a target's dialect."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx_ir
from onnx_ir import Node, Value
from onnx_ir.passes import common

from bmc.contracts import Dialect
from bmc.export import attention_fusion
from bmc.export._values import array, constant, producer

_MIDDLE = 128
_SMALLEST_BLOCK = 16
_WITH_BIAS = ("Gemm", "Conv")


def lower_file(path: Path, output: Path, dialect: Dialect, newest: int) -> dict[str, int]:
    """Write a canonical graph in a target's dialect; return the number of nodes by operator.

    Args:
        path: of the canonical graph.
        output: the file to write.
        dialect: the target's.
        newest: the opset may be raised up to this version.
    """
    model = onnx_ir.load(path)
    lower(model, dialect, newest)
    onnx_ir.save(model, output)
    return dict(Counter(node.op_type for node in model.graph))


def lower(model: onnx_ir.Model, dialect: Dialect, newest: int) -> None:
    """Rewrite a canonical graph in a dialect, in place; see `lower_file`."""
    graph = model.graph
    if dialect.fused_attention and newest >= attention_fusion.OPSET:
        attention_fusion.fuse_attention(model)
    if dialect.gather_before_dequantize:
        for node in list(graph):
            if node.op_type == "Gather" and _dequantizes_weight(node.inputs[0]):
                _gather_before_dequantize(graph, node)
    if dialect.int32_bias:
        for node in list(graph):
            if node.op_type in _WITH_BIAS:
                _write_int32_bias(graph, node)
    if dialect.activations == "uint8":
        _write_uint8(graph)
    if dialect.explicit_zero_points:
        _write_zero_points(graph)
    common.RemoveUnusedNodesPass()(model)  # among them what rewritten nodes read


def _gather_before_dequantize(graph: onnx_ir.Graph, gather: Node) -> None:
    """Replace Gather(DequantizeLinear(table)): gather integers, and dequantize them.

    A table of 4 bits without blocks stays: no operator gathers its rows.
    """
    dequantize = producer(gather.inputs[0])
    if dequantize is None:
        return
    table, scales = dequantize.inputs[:2]
    indices = gather.inputs[1]
    if table is None or scales is None:
        return
    if table.dtype != onnx_ir.DataType.INT8:
        size = dequantize.attributes.get_int("block_size", 0)
        if size < _SMALLEST_BLOCK or size & (size - 1):
            return
        rows = _gather_blocks(table, scales, indices, size)
        _replace(graph, gather, [rows], dequantize)
        graph.opset_imports[rows.domain] = 1
        return
    integers = Node("", "Gather", [table, indices], num_outputs=1)
    to_float = [onnx_ir.AttrInt64("to", onnx_ir.DataType.FLOAT)]
    floats = Node("", "Cast", [integers.outputs[0]], to_float)
    column = constant(graph, f"{scales.name}_column", array(scales)[:, None])
    row_scales = Node("", "Gather", [column, indices], num_outputs=1)
    product = Node("", "Mul", [floats.outputs[0], row_scales.outputs[0]], num_outputs=1)
    _replace(graph, gather, [integers, floats, row_scales, product], dequantize)


def _gather_blocks(
    table: Value | None, scales: Value | None, indices: Value | None, size: int
) -> Node:
    """Return ONNX Runtime's own operator: no standard one gathers rows of 4 bits."""
    attributes = [
        onnx_ir.AttrInt64("block_size", size),
        onnx_ir.AttrInt64("gather_axis", 0),
        onnx_ir.AttrInt64("quantize_axis", 1),
    ]
    inputs = [table, indices, scales]
    return Node("com.microsoft", "GatherBlockQuantized", inputs, attributes, num_outputs=1)


def _replace(graph: onnx_ir.Graph, gather: Node, nodes: list[Node], dequantize: Node) -> None:
    """Replace a Gather from a dequantized table by nodes, the last of which has its output."""
    graph.insert_before(gather, nodes)
    output, rows = gather.outputs[0], nodes[-1].outputs[0]
    rows.name = f"{output.name}_rows"
    onnx_ir.convenience.replace_all_uses_with(output, rows)
    graph.remove(gather, safe=True)
    if not list(dequantize.outputs[0].uses()):
        graph.remove(dequantize, safe=True)


def _write_int32_bias(graph: onnx_ir.Graph, node: Node) -> None:
    """Give a quantized Gemm or Conv an int32 bias; ONNX Runtime fuses no other."""
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return
    values, weight, bias = (node.inputs[place] for place in range(3))
    of_values, of_weight = producer(values), producer(weight)
    if of_values is None or of_weight is None or bias is None or bias.const_value is None:
        return
    if {of_values.op_type, of_weight.op_type} != {"DequantizeLinear"}:
        return
    if "block_size" in of_weight.attributes:
        return
    scales = array(of_values.inputs[1]) * array(of_weight.inputs[1])
    # The integers fit into int32: see QuantizedLayer.smallest_weight_scales.
    integers = np.round(array(bias).astype(np.float64) / scales)
    inputs = [
        constant(graph, f"{bias.name}_{node.name}_int32", integers.astype(np.int32)),
        constant(graph, f"{bias.name}_{node.name}_scales", scales.astype(np.float32)),
    ]
    dequantize = Node("", "DequantizeLinear", inputs, [onnx_ir.AttrInt64("axis", 0)])
    graph.insert_before(node, dequantize)
    node.replace_input_with(2, dequantize.outputs[0])


def _write_uint8(graph: onnx_ir.Graph) -> None:
    """Write int8 activations with zero point 0 as uint8 with 128, the same numbers."""
    zero_point = constant(graph, "zero_point_128", np.array(_MIDDLE, np.uint8))
    for node in list(graph):
        dequantizes = node.op_type == "DequantizeLinear" and not _dequantizes_constant(node)
        if not dequantizes and node.op_type != "QuantizeLinear":
            continue
        if array(node.inputs[2]).dtype != np.int8:
            continue
        node.replace_input_with(2, zero_point)
        if node.op_type == "QuantizeLinear":
            node.outputs[0].type = onnx_ir.TensorType(onnx_ir.DataType.UINT8)


def _write_zero_points(graph: onnx_ir.Graph) -> None:
    """Write the zero points of int8 weights; ONNX Runtime fuses no product without them."""
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
    return node is not None and node.op_type == "DequantizeLinear" and _dequantizes_constant(node)


def _dequantizes_constant(node: Node) -> bool:
    return bool(node.inputs[0].is_initializer())  # type: ignore[union-attr]

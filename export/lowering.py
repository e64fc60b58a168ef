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

_UINT8_MIDDLE = 128
_MIN_BLOCK_SIZE = 16  # of GatherBlockQuantized
_OPERATORS_WITH_BIAS = ("Gemm", "Conv")


def lower_file(path: Path, output: Path, dialect: Dialect, max_opset: int) -> dict[str, int]:
    """Write a canonical graph in a target's dialect; return the number of nodes by operator.

    Args:
        path: file of the canonical graph.
        output: file to write.
        dialect: dialect of the target.
        max_opset: newest opset that the graph may be raised to.
    """
    model = onnx_ir.load(path)
    lower(model, dialect, max_opset)
    onnx_ir.save(model, output)
    return dict(Counter(node.op_type for node in model.graph))


def lower(model: onnx_ir.Model, dialect: Dialect, max_opset: int) -> None:
    """Rewrite a canonical graph in a dialect, in place; see `lower_file`."""
    graph = model.graph
    if dialect.fused_attention and max_opset >= attention_fusion.OPSET:
        attention_fusion.fuse_attention(model)
    if dialect.gather_before_dequantize:
        for node in list(graph):
            if node.op_type == "Gather" and _dequantizes_weight(node.inputs[0]):
                _gather_before_dequantize(graph, node)
    if dialect.int32_bias:
        for node in list(graph):
            if node.op_type in _OPERATORS_WITH_BIAS:
                _write_int32_bias(graph, node)
    if dialect.activations == "uint8":
        _write_uint8(graph)
    if dialect.explicit_zero_points:
        _write_zero_points(graph)
    common.RemoveUnusedNodesPass()(model)  # such as the former inputs of rewritten nodes


def _gather_before_dequantize(graph: onnx_ir.Graph, gather: Node) -> None:
    """Replace Gather(DequantizeLinear(table)): gather integers first, then dequantize them.

    A 4-bit table with one scale for each row is left as it is: no operator gathers its rows.
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
        if size < _MIN_BLOCK_SIZE or size & (size - 1):
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
    """Return an ONNX Runtime contrib operator: no standard operator gathers 4-bit rows."""
    attributes = [
        onnx_ir.AttrInt64("block_size", size),
        onnx_ir.AttrInt64("gather_axis", 0),
        onnx_ir.AttrInt64("quantize_axis", 1),
    ]
    inputs = [table, indices, scales]
    return Node("com.microsoft", "GatherBlockQuantized", inputs, attributes, num_outputs=1)


def _replace(graph: onnx_ir.Graph, gather: Node, nodes: list[Node], dequantize: Node) -> None:
    """Replace a Gather from a dequantized table by nodes; the last node computes its output."""
    graph.insert_before(gather, nodes)
    output, rows = gather.outputs[0], nodes[-1].outputs[0]
    rows.name = f"{output.name}_rows"
    onnx_ir.convenience.replace_all_uses_with(output, rows)
    graph.remove(gather, safe=True)
    if not list(dequantize.outputs[0].uses()):
        graph.remove(dequantize, safe=True)


def _write_int32_bias(graph: onnx_ir.Graph, node: Node) -> None:
    """Write the bias of a quantized Gemm or Conv as int32: ONNX Runtime fuses no float bias."""
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return
    values, weight, bias = node.inputs[:3]
    values_producer, weight_producer = producer(values), producer(weight)
    if values_producer is None or weight_producer is None:
        return
    if bias is None or bias.const_value is None:
        return
    if {values_producer.op_type, weight_producer.op_type} != {"DequantizeLinear"}:
        return
    if "block_size" in weight_producer.attributes:
        return
    scales = array(values_producer.inputs[1]) * array(weight_producer.inputs[1])
    # QuantizedLayer.smallest_weight_scales ensures that the integers fit into int32.
    integers = np.round(array(bias).astype(np.float64) / scales)
    inputs = [
        constant(graph, f"{bias.name}_{node.name}_int32", integers.astype(np.int32)),
        constant(graph, f"{bias.name}_{node.name}_scales", scales.astype(np.float32)),
    ]
    dequantize = Node("", "DequantizeLinear", inputs, [onnx_ir.AttrInt64("axis", 0)])
    graph.insert_before(node, dequantize)
    node.replace_input_with(2, dequantize.outputs[0])


def _write_uint8(graph: onnx_ir.Graph) -> None:
    """Write int8 activations with zero point 0 as uint8 with zero point 128, equal in value."""
    zero_point = constant(graph, "zero_point_128", np.array(_UINT8_MIDDLE, np.uint8))
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
    """Write the zero points of int8 weights, all 0: ONNX Runtime does not fuse without them."""
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

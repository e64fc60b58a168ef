"""Fuse the operators of an attention block into one Attention operator.

ONNX Runtime's Attention kernel reads queries, keys and values without transposing them, which
separate operators do: see docs/decisions/0016-attention-is-one-operator-for-onnx-runtime.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir
from onnx_ir import Node, Value
from onnxscript import version_converter

from bmc.export._values import array, constant, producer

OPSET = 23
_HEADS_FIRST = (0, 2, 1, 3)
_KEYS_LAST = (0, 2, 3, 1)


@dataclass(frozen=True)
class _Heads:
    """An input of an attention block, split into heads.

    Args:
        joined: the value before the split.
        shape: the value that holds the shape after the split, (rows, tokens, heads, size).
        tokens: number of tokens of a row.
        heads: number of heads.
        size: width of each head.
    """

    joined: Value
    shape: Value
    tokens: int | onnx_ir.SymbolicDim
    heads: int
    size: int


@dataclass(frozen=True)
class _Attention:
    """Inputs and output of an attention block.

    Args:
        query: the queries, split into heads.
        key: the keys, split into as many heads.
        value: the values, split into as many heads.
        mask: the value added to the scores, (1 or rows, 1 or heads, 1 or queries, tokens); None
            where there is no mask.
        broadcasts_mask: whether one row of the mask is added to the scores of several queries.
        output: the value (rows, queries, heads, size).
    """

    query: _Heads
    key: _Heads
    value: _Heads
    mask: Value | None
    broadcasts_mask: bool
    output: Value


def fuse_attention(model: onnx_ir.Model) -> None:
    """Replace each Transpose, MatMul, Add, Softmax, MatMul, Transpose by one Attention, in place.

    The opset is raised to the first that has Attention, if the graph has any.

    Source: https://onnx.ai/onnx/operators/onnx__Attention.html
    """
    if not any(_attention_of(node) for node in model.graph):
        return
    if model.opset_imports[""] < OPSET:
        version_converter.convert_version(model, OPSET)
    for node in list(model.graph):
        if attention := _attention_of(node):
            _replace(model.graph, node, attention)


def _attention_of(softmax: Node) -> _Attention | None:
    """Return the attention block around a softmax; None where there is no such block."""
    if softmax.op_type != "Softmax" or softmax.attributes.get_int("axis", -1) not in (-1, 3):
        return None
    scores, mask = softmax.inputs[0], None
    add = producer(scores)
    if add is not None and add.op_type == "Add":
        scores, mask = sorted(add.inputs, key=lambda value: not _is_output_of(value, "MatMul"))
    product, weighted = producer(scores), _reader(softmax, "MatMul")
    transpose = _reader(weighted, "Transpose") if weighted is not None else None
    if product is None or weighted is None or transpose is None or product.op_type != "MatMul":
        return None
    if weighted.inputs[0] is not softmax.outputs[0] or _order(transpose) != _HEADS_FIRST:
        return None
    query, key = (
        _heads_of(product.inputs[0], _HEADS_FIRST),
        _heads_of(product.inputs[1], _KEYS_LAST),
    )
    value = _heads_of(weighted.inputs[1], _HEADS_FIRST)
    if query is None or key is None or value is None:
        return None
    if not query.heads == key.heads == value.heads:
        return None
    if not all(
        _is_merged(use.node, value.heads * value.size) for use in transpose.outputs[0].uses()
    ):
        return None
    broadcasts_mask = False
    if mask is not None:
        if mask.shape is None or len(mask.shape) != len(_HEADS_FIRST):
            return None
        broadcasts_mask = mask.shape[2] == 1 and query.tokens != 1
    return _Attention(query, key, value, mask, broadcasts_mask, transpose.outputs[0])


def _heads_of(value: Value | None, order: tuple[int, ...]) -> _Heads | None:
    """Return the split into heads that a value is transposed from; None if there is no split."""
    transpose = producer(value)
    split = transpose.inputs[0] if transpose is not None and _order(transpose) == order else None
    reshape = producer(split)
    if split is None or split.shape is None or len(split.shape) != len(_HEADS_FIRST):
        return None
    if reshape is None or reshape.op_type != "Reshape":
        return None
    joined, shape = reshape.inputs
    _, tokens, heads, size = split.shape
    if joined is None or shape is None or not isinstance(heads, int) or not isinstance(size, int):
        return None
    return _Heads(joined, shape, tokens, heads, size)


def _replace(graph: onnx_ir.Graph, softmax: Node, attention: _Attention) -> None:
    """Replace the operators around a softmax by one Attention."""
    heads = (attention.query, attention.key, attention.value)
    inputs = [_joined(graph, softmax, part) for part in heads]
    mask = attention.mask
    if mask is not None and attention.broadcasts_mask:
        mask = _with_row_per_query(graph, softmax, mask, attention.query.shape)
    if mask is not None:
        inputs.append(mask)
    attributes = [
        onnx_ir.AttrInt64("q_num_heads", attention.query.heads),
        onnx_ir.AttrInt64("kv_num_heads", attention.query.heads),
        onnx_ir.AttrFloat32("scale", 1.0),
    ]
    node = Node("", "Attention", inputs, attributes, num_outputs=1)
    node.outputs[0].name = f"{attention.output.name}_joined"
    graph.insert_before(softmax, node)
    onnx_ir.convenience.replace_all_uses_with(attention.output, node.outputs[0])


def _joined(graph: onnx_ir.Graph, before: Node, heads: _Heads) -> Value:
    """Return an input of an attention block as (rows, tokens, heads x size)."""
    width = heads.heads * heads.size
    name = f"{heads.shape.name}_joined_{width}"
    if heads.shape.const_value is not None:
        shape = constant(graph, name, np.array([*array(heads.shape)[:2], width], np.int64))
    else:
        last = constant(graph, f"width_{width}", np.array([width], np.int64))
        first = _slice(graph, before, heads.shape, 0, 2)
        shape = _once(graph, before, "Concat", [first, last], name, axis=0)
    return _once(graph, before, "Reshape", [heads.joined, shape], f"{heads.joined.name}_{name}")


def _with_row_per_query(graph: onnx_ir.Graph, before: Node, mask: Value, shape: Value) -> Value:
    """Return a mask with a row for each query: Attention does not broadcast a single row."""
    one_tensor = constant(graph, "one", np.array([1], np.int64))
    name = f"{mask.name}_{shape.name}"
    count = _slice(graph, before, shape, 1, 2)
    size = _once(
        graph,
        before,
        "Concat",
        [one_tensor, one_tensor, count, one_tensor],
        f"{name}_shape",
        axis=0,
    )
    return _once(graph, before, "Expand", [mask, size], f"{name}_expanded")


def _slice(graph: onnx_ir.Graph, before: Node, shape: Value, start: int, stop: int) -> Value:
    """Return the sizes start..stop of a shape."""
    ends = [constant(graph, f"index_{end}", np.array([end], np.int64)) for end in (start, stop)]
    return _once(graph, before, "Slice", [shape, *ends], f"{shape.name}_{start}_{stop}")


def _once(
    graph: onnx_ir.Graph,
    before: Node,
    operator: str,
    inputs: list[Value],
    name: str,
    **attributes: int,
) -> Value:
    """Return the output of that name; a missing output gets an operator that computes it.

    Args:
        graph: graph that holds the operator.
        before: node before which the operator must run.
        operator: type of the operator.
        inputs: inputs of the operator.
        name: name of the output.
        attributes: integer attributes of the operator.
    """
    for node in graph:
        if node is before:
            break
        if node.outputs[0].name == name:
            return node.outputs[0]
    settings = [onnx_ir.AttrInt64(key, value) for key, value in attributes.items()]
    node = Node("", operator, inputs, settings, num_outputs=1)
    node.outputs[0].name = name
    graph.insert_before(before, node)
    return node.outputs[0]


def _order(node: Node) -> tuple[int, ...]:
    return tuple(node.attributes.get_ints("perm", ())) if node.op_type == "Transpose" else ()


def _reader(node: Node, operator: str) -> Node | None:
    """Return the only node that reads a node's output, if that reader has the given type."""
    uses = list(node.outputs[0].uses())
    reader = uses[0].node if len(uses) == 1 else None
    return reader if reader is not None and reader.op_type == operator else None


def _is_merged(node: Node, width: int) -> bool:
    """Tell whether a node is a Reshape that joins the heads to vectors of a width."""
    shape = node.outputs[0].shape if node.op_type == "Reshape" else None
    return shape is not None and len(shape) < len(_HEADS_FIRST) and shape[-1] == width


def _is_output_of(value: Value | None, operator: str) -> bool:
    node = producer(value)
    return node is not None and node.op_type == operator

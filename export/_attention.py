"""Makes one operator of an attention that a graph has in parts.

ONNX Runtime's kernel of it reads queries, keys and values where they lie, which parts must first
transpose: see docs/decisions/0016-attention-is-one-operator-for-onnx-runtime.md.
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
class _Split:
    """What an attention reads: `whole`, reshaped to `shape`: (rows, tokens, heads, size)."""

    whole: Value
    shape: Value
    tokens: int | onnx_ir.SymbolicDim
    heads: int
    size: int


@dataclass(frozen=True)
class _Parts:
    """An attention's ends.

    Args:
        query: its tokens are the queries.
        key: of as many heads; likewise `value`.
        mask: added to the scores, (1 or rows, 1 or heads, 1 or queries, tokens); None for none.
        one_for_all: the mask has one row for all queries, of which there are several.
        made: (rows, queries, heads, size).
    """

    query: _Split
    key: _Split
    value: _Split
    mask: Value | None
    one_for_all: bool
    made: Value


def fuse_attention(model: onnx_ir.Model) -> None:
    """Replace every Transpose, MatMul, Add, Softmax, MatMul, Transpose by one Attention, in place.

    The opset is raised where that is needed, and left alone where there is no attention.

    Source: https://onnx.ai/onnx/operators/onnx__Attention.html
    """
    if not any(_parts(node) for node in model.graph):
        return
    if model.opset_imports[""] < OPSET:
        version_converter.convert_version(model, OPSET)
    for node in list(model.graph):
        if parts := _parts(node):
            _replace(model.graph, node, parts)


def _parts(softmax: Node) -> _Parts | None:
    """Return the ends of the attention around a softmax; None where there is none."""
    if softmax.op_type != "Softmax" or softmax.attributes.get_int("axis", -1) not in (-1, 3):
        return None
    scores, mask = softmax.inputs[0], None
    add = producer(scores)
    if add is not None and add.op_type == "Add":
        scores, mask = sorted(add.inputs, key=lambda one: not _is_made_by(one, "MatMul"))
    product, weighted = producer(scores), _reader(softmax, "MatMul")
    made = _reader(weighted, "Transpose") if weighted is not None else None
    if product is None or weighted is None or made is None or product.op_type != "MatMul":
        return None
    if weighted.inputs[0] is not softmax.outputs[0] or _order(made) != _HEADS_FIRST:
        return None
    query, key = _split(product.inputs[0], _HEADS_FIRST), _split(product.inputs[1], _KEYS_LAST)
    value = _split(weighted.inputs[1], _HEADS_FIRST)
    if query is None or key is None or value is None:
        return None
    if not query.heads == key.heads == value.heads:
        return None
    if not all(_is_merged(use.node, value.heads * value.size) for use in made.outputs[0].uses()):
        return None
    one_for_all = False
    if mask is not None:
        if mask.shape is None or len(mask.shape) != len(_HEADS_FIRST):
            return None
        one_for_all = mask.shape[2] == 1 and query.tokens != 1
    return _Parts(query, key, value, mask, one_for_all, made.outputs[0])


def _split(value: Value | None, order: tuple[int, ...]) -> _Split | None:
    """Return what a value is a transpose of, if that was split into heads."""
    transpose = producer(value)
    split = transpose.inputs[0] if transpose is not None and _order(transpose) == order else None
    reshape = producer(split)
    if split is None or split.shape is None or len(split.shape) != len(_HEADS_FIRST):
        return None
    if reshape is None or reshape.op_type != "Reshape":
        return None
    whole, shape = reshape.inputs
    _, tokens, heads, size = split.shape
    if whole is None or shape is None or not isinstance(heads, int) or not isinstance(size, int):
        return None
    return _Split(whole, shape, tokens, heads, size)


def _replace(graph: onnx_ir.Graph, softmax: Node, parts: _Parts) -> None:
    given = [_joined(graph, softmax, one) for one in (parts.query, parts.key, parts.value)]
    if parts.mask is not None and parts.one_for_all:
        given.append(_for_every_query(graph, softmax, parts.mask, parts.query.shape))
    elif parts.mask is not None:
        given.append(parts.mask)
    attributes = [
        onnx_ir.AttrInt64("q_num_heads", parts.query.heads),
        onnx_ir.AttrInt64("kv_num_heads", parts.query.heads),
        onnx_ir.AttrFloat32("scale", 1.0),
    ]
    attention = Node("", "Attention", given, attributes, num_outputs=1)
    attention.outputs[0].name = f"{parts.made.name}_joined"
    graph.insert_before(softmax, attention)
    onnx_ir.convenience.replace_all_uses_with(parts.made, attention.outputs[0])


def _joined(graph: onnx_ir.Graph, before: Node, split: _Split) -> Value:
    """Return what was split into heads as (rows, tokens, heads x size)."""
    width = split.heads * split.size
    name = f"{split.shape.name}_joined_{width}"
    if split.shape.const_value is not None:
        shape = constant(graph, name, np.array([*array(split.shape)[:2], width], np.int64))
    else:
        last = constant(graph, f"width_{width}", np.array([width], np.int64))
        first = _part(graph, before, split.shape, 0, 2)
        shape = _once(graph, before, "Concat", [first, last], name, axis=0)
    return _once(graph, before, "Reshape", [split.whole, shape], f"{split.whole.name}_{name}")


def _for_every_query(graph: onnx_ir.Graph, before: Node, mask: Value, shape: Value) -> Value:
    """Return a mask with a row for every query: the operator takes no single one for all."""
    one = constant(graph, "one", np.array([1], np.int64))
    name = f"{mask.name}_{shape.name}"
    count = _part(graph, before, shape, 1, 2)
    size = _once(graph, before, "Concat", [one, one, count, one], f"{name}_shape", axis=0)
    return _once(graph, before, "Expand", [mask, size], f"{name}_expanded")


def _part(graph: onnx_ir.Graph, before: Node, shape: Value, start: int, stop: int) -> Value:
    ends = [constant(graph, f"place_{end}", np.array([end], np.int64)) for end in (start, stop)]
    return _once(graph, before, "Slice", [shape, *ends], f"{shape.name}_{start}_{stop}")


def _once(
    graph: onnx_ir.Graph,
    before: Node,
    operator: str,
    given: list[Value],
    name: str,
    **attributes: int,
) -> Value:
    """Return the named value; it is computed before a node where nothing before that did so."""
    for node in graph:
        if node is before:
            break
        if node.outputs[0].name == name:
            return node.outputs[0]
    settings = [onnx_ir.AttrInt64(key, value) for key, value in attributes.items()]
    node = Node("", operator, given, settings, num_outputs=1)
    node.outputs[0].name = name
    graph.insert_before(before, node)
    return node.outputs[0]


def _order(node: Node) -> tuple[int, ...]:
    return tuple(node.attributes.get_ints("perm", ())) if node.op_type == "Transpose" else ()


def _reader(node: Node, operator: str) -> Node | None:
    """Return the only node that reads a node's output, if it is that operator."""
    readers = list(node.outputs[0].uses())
    found = readers[0].node if len(readers) == 1 else None
    return found if found is not None and found.op_type == operator else None


def _is_merged(node: Node, width: int) -> bool:
    """Tell whether a node puts the heads back together: it does not see that they came joined."""
    shape = node.outputs[0].shape if node.op_type == "Reshape" else None
    return shape is not None and len(shape) < len(_HEADS_FIRST) and shape[-1] == width


def _is_made_by(value: Value | None, operator: str) -> bool:
    node = producer(value)
    return node is not None and node.op_type == operator

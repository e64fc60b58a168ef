"""Put the nodes of an ONNX file's functions in the places of the calls."""

from __future__ import annotations

from itertools import chain

import onnx_ir
from onnx_ir import AttributeType
from onnx_ir.passes import common

_MOST_NODES = 50_000  # a file of 30 functions, each calling the next one twice, has a billion
_GRAPHS = (AttributeType.GRAPH, AttributeType.GRAPHS)


def inline(model: onnx_ir.Model) -> bool:
    """Replace the calls of functions by their nodes, in place; return whether that was done.

    Whoever looks for layers and weights finds them in the graph then. All functions stay where one
    of them cannot be inlined by onnx_ir without changing the model, and where they stand for very
    many nodes.
    """
    if not model.functions or not _can_be_inlined(model):
        return False
    common.InlinePass()(model)
    return True


def _can_be_inlined(model: onnx_ir.Model) -> bool:
    count = _expanded(model)
    return (
        count is not None
        and count <= _MOST_NODES
        and all(_is_plain(function, model) for function in model.functions.values())
        and all(_is_plain_call(node, model) for node in _nodes(model))
    )


def _is_plain(function: onnx_ir.Function, model: onnx_ir.Model) -> bool:
    """Tell whether a function has the model's operators, and computes each of its outputs once."""
    versions = model.opset_imports
    outputs = [id(value) for value in function.outputs]
    return (
        all(versions.get(domain) == version for domain, version in function.opset_imports.items())
        and len(set(outputs)) == len(outputs)
        and not set(outputs) & {id(value) for value in function.inputs}
    )


def _is_plain_call(node: onnx_ir.Node, model: onnx_ir.Model) -> bool:
    """Tell whether a node calls no function, or takes all of its outputs and gives it no graph."""
    function = model.functions.get(node.op_identifier())
    if function is None:
        return True
    takes_graph = any(attribute.type in _GRAPHS for attribute in node.attributes.values())
    takes_all = len(node.outputs) == len(function.outputs) and all(o.name for o in node.outputs)
    return takes_all and not takes_graph


def _nodes(model: onnx_ir.Model) -> chain[onnx_ir.Node]:
    inside = (function.graph.all_nodes() for function in model.functions.values())
    return chain(model.graph.all_nodes(), *inside)


def _expanded(model: onnx_ir.Model) -> int | None:
    """Return the number of nodes without functions; None where a function calls itself."""
    sizes: dict[onnx_ir.OperatorIdentifier, int] = {}
    for identifier in model.functions:
        calls = [identifier]
        while calls:
            inside = [node.op_identifier() for node in model.functions[calls[-1]].graph.all_nodes()]
            missing = [each for each in inside if each in model.functions and each not in sizes]
            if not missing:
                sizes[calls.pop()] = 1 + sum(sizes.get(each, 1) for each in inside)
            elif missing[0] in calls:
                return None
            else:
                calls.append(missing[0])
    return sum(sizes.get(node.op_identifier(), 1) for node in model.graph.all_nodes())

"""Put the nodes of an ONNX file's functions in the places of the calls."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir
from onnx_ir import AttributeType
from onnx_ir.passes import common

_MOST_NODES = 2_000_000  # a file of 30 functions, each calling the next one twice, has a billion
_GRAPHS = (AttributeType.GRAPH, AttributeType.GRAPHS)
Functions = Mapping[onnx_ir.OperatorIdentifier, onnx_ir.Function]


def inline(model: onnx_ir.Model) -> bool:
    """Replace the calls of functions by their nodes, in place; return whether there were any.

    Whoever looks for layers and weights finds them in the graph then. Functions stay that import
    other versions of operators than the model, take graphs, or return one of their inputs.

    Raises:
        ValueError: functions call each other in a circle, or stand for more than 2,000,000 nodes.
    """
    if not model.functions:
        return False
    sizes: dict[onnx_ir.OperatorIdentifier, int] = {}
    for identifier in model.functions:
        _measure(identifier, model.functions, sizes)
    nodes = onnx_ir.traversal.RecursiveGraphIterator(model.graph)
    count = sum(sizes.get(node.op_identifier(), 1) for node in nodes)
    if count > _MOST_NODES:
        raise ValueError(f"its functions stand for {count:,} nodes; at most {_MOST_NODES:,}")
    graphs = (model.graph, *(function.graph for function in model.functions.values()))
    take_graphs = {
        node.op_identifier()
        for graph in graphs
        for node in graph.all_nodes()
        if any(attribute.type in _GRAPHS for attribute in node.attributes.values())
    }
    common.InlinePass(
        criteria=lambda function: (
            function.identifier() not in take_graphs and _can_be_inlined(function, model)
        )
    )(model)
    return True


def _measure(
    identifier: onnx_ir.OperatorIdentifier,
    functions: Functions,
    sizes: dict[onnx_ir.OperatorIdentifier, int],
) -> None:
    """Find out how many nodes a function stands for, and those that it calls.

    Raises:
        ValueError: it calls itself.
    """
    open_calls = [identifier]
    while open_calls:
        current = open_calls[-1]
        function = functions[current]
        inside = [node.op_identifier() for node in function.graph.all_nodes()]
        missing = [each for each in inside if each in functions and each not in sizes]
        if not missing:
            sizes[current] = sum(sizes.get(each, 1) for each in inside)
            open_calls.pop()
        elif missing[0] in open_calls:
            raise ValueError(f"its function {current[0]}:{current[1]} calls itself")
        else:
            open_calls.append(missing[0])


def _can_be_inlined(function: onnx_ir.Function, model: onnx_ir.Model) -> bool:
    versions = model.opset_imports
    are_alike = all(
        versions.get(domain, version) == version
        for domain, version in function.opset_imports.items()
    )
    takes_graphs = any(attribute.type in _GRAPHS for attribute in function.attributes.values())
    inputs = {id(value) for value in function.inputs}
    returns_input = any(id(value) in inputs for value in function.outputs)
    return are_alike and not takes_graphs and not returns_input

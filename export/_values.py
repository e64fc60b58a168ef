"""Constants, arrays and producers of an ONNX graph's values."""

from __future__ import annotations

from typing import Any

import onnx_ir
from numpy.typing import NDArray
from onnx_ir import Node, Value


def constant(graph: onnx_ir.Graph, name: str, numbers: NDArray[Any]) -> Value:
    """Return the graph's constant of a name, and add it if there is none.

    Args:
        graph: to look in.
        name: without the prefix that keeps it apart from parameters.
        numbers: the constant's value.
    """
    name = f"bmc/{name}"  # no parameter's path has a slash
    if name in graph.initializers:
        return graph.initializers[name]
    tensor = onnx_ir.tensor(numbers, name=name)
    value = Value(name=name, const_value=tensor)
    value.dtype, value.shape = tensor.dtype, onnx_ir.Shape(numbers.shape)
    graph.register_initializer(value)
    return value


def array(value: Value | None) -> NDArray[Any]:
    """Return the value of a constant."""
    return value.const_value.numpy()  # type: ignore[union-attr]


def producer(value: Value | None) -> Node | None:
    """Return the node that computes a value; None for an input or a constant."""
    return value.producer() if value is not None else None

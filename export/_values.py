"""Helpers for the values of an ONNX graph: constants, arrays and producing nodes."""

from __future__ import annotations

from typing import Any

import onnx_ir
from numpy.typing import NDArray
from onnx_ir import Node, Value


def constant(graph: onnx_ir.Graph, name: str, numbers: NDArray[Any]) -> Value:
    """Return the graph's constant of a name; a missing constant is added first.

    Args:
        graph: graph that holds the constant.
        name: name of the constant, without the prefix "bmc/".
        numbers: value of the constant.
    """
    name = f"bmc/{name}"  # paths of parameters have no slash, so the names cannot collide
    if name in graph.initializers:
        return graph.initializers[name]
    tensor = onnx_ir.tensor(numbers, name=name)
    value = Value(name=name, const_value=tensor)
    value.dtype, value.shape = tensor.dtype, onnx_ir.Shape(numbers.shape)
    graph.register_initializer(value)
    return value


def array(value: Value | None) -> NDArray[Any]:
    """Return a constant's value as an array."""
    return value.const_value.numpy()  # type: ignore[union-attr]


def producer(value: Value | None) -> Node | None:
    """Return the node that computes a value; None for an input or a constant."""
    return value.producer() if value is not None else None

"""Find the weights of an ONNX graph that techniques change, and write new values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir
from numpy.typing import NDArray
from onnx_ir import DataType

from bmc.onnx_models.logits import logits_of, producer_of_logits
from bmc.onnx_models.reading import constant_of, name_of_node

# Which inputs of an operator are weights.
_WEIGHTS = {
    **dict.fromkeys(("Conv", "ConvTranspose", "Gemm"), (1,)),
    "MatMul": (0, 1),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), (1, 2)),
    "Gather": (0,),
}
RECURRENT = ("LSTM", "GRU", "RNN")
EMBEDDING = "Gather"


@dataclass(frozen=True)
class LayerWeight:
    """A weight of a layer; layers that share it are listed together.

    Args:
        value: the initializer, or the output of a Constant node.
        layers: names of the nodes that read it, as `bmc inspect` shows them.
        operators: their operators.
        inputs_axis: axis of a layer's inputs; None where several operators read it differently, or
            where the weight is recurrent or a table.
        is_output: whether a layer computes logits.
    """

    value: onnx_ir.Value
    layers: tuple[str, ...]
    operators: tuple[str, ...]
    inputs_axis: int | None
    is_output: bool

    @property
    def name(self) -> str:
        """The name of the tensor."""
        return str(self.value.name)

    def array(self) -> NDArray[np.float32]:
        """Return a copy of the values."""
        tensor = constant_of(self.value)
        if tensor is None:
            raise ValueError(f"{self.name} is not a constant")
        return np.array(tensor.numpy(), np.float32)

    def write(self, values: NDArray[np.float32]) -> None:
        """Replace the values by others of the same shape, in place."""
        tensor = onnx_ir.tensor(values, name=self.value.name)
        node = self.value.producer()
        if node is None:
            self.value.const_value = tensor
        else:
            node.attributes["value"] = onnx_ir.AttrTensor("value", tensor)


def layer_weights(model: onnx_ir.Model) -> list[LayerWeight]:
    """Return the float32 matrices and filters of the main graph, each shared one once.

    A weight that another operator reads as well is left out.
    """
    outputs = {
        id(node)
        for value in model.graph.outputs
        if value.name in logits_of(model.graph) and (node := producer_of_logits(value))
    }
    weights: dict[int, tuple[onnx_ir.Value, list[tuple[onnx_ir.Node, int, str]]]] = {}
    for index, node in enumerate(model.graph):
        for position in _positions(node):
            value = node.inputs[position]
            if value is not None:
                entry = weights.setdefault(id(value), (value, []))
                entry[1].append((node, position, name_of_node(node, index)))
    return [
        LayerWeight(
            value,
            tuple(name for _, _, name in users),
            tuple(node.op_type for node, _, _ in users),
            _common_axis([_inputs_axis(node, position) for node, position, _ in users]),
            any(id(node) in outputs for node, _, _ in users),
        )
        for value, users in weights.values()
        if len(users) == len(value.uses()) and not value.is_graph_output()
    ]


def _positions(node: onnx_ir.Node) -> Iterator[int]:
    """Yield the inputs of a node that are float32 weights with two axes or more."""
    for position in _WEIGHTS.get(node.op_type, ()) if node.domain in ("", "ai.onnx") else ():
        value = node.inputs[position] if position < len(node.inputs) else None
        tensor = constant_of(value)
        is_float = tensor is not None and tensor.dtype == DataType.FLOAT
        if tensor is not None and is_float and len(tensor.shape) > 1:
            yield position


def _inputs_axis(node: onnx_ir.Node, position: int) -> int | None:
    """Return the axis of a weight along which a layer's inputs lie."""
    if node.op_type == "Conv":
        return 1
    if node.op_type == "Gemm":
        return 1 if node.attributes.get_int("transB", 0) else 0
    tensor = constant_of(node.inputs[position])
    if node.op_type == "MatMul" and tensor is not None and len(tensor.shape) == 2:
        return 0 if position == 1 else 1
    return None


def _common_axis(axes: Sequence[int | None]) -> int | None:
    return axes[0] if len(set(axes)) == 1 else None


def replace_weight(weight: LayerWeight, nodes: Sequence[onnx_ir.Node]) -> None:
    """Let layers read the output of the last of these nodes in place of a weight, in place."""
    readers = [use.node for use in weight.value.uses()]
    graph = readers[0].graph
    if not isinstance(graph, onnx_ir.Graph):
        raise ValueError(f"{weight.name} is read outside the main graph")
    graph.insert_before(readers[0], list(nodes))
    onnx_ir.convenience.replace_all_uses_with(weight.value, nodes[-1].outputs[0])
    node = weight.value.producer()
    if node is None:
        del graph.initializers[str(weight.value.name)]
        if weight.value in graph.inputs:  # old files list weights as inputs
            graph.inputs.remove(weight.value)
    else:
        graph.remove(node, safe=True)


def add_constant(model: onnx_ir.Model, name: str, values: NDArray[Any]) -> onnx_ir.Value:
    """Add an initializer to the main graph, under a name that none has, and return it."""
    while name in model.graph.initializers:
        name += "_"
    tensor = onnx_ir.tensor(values, name=name)
    value = onnx_ir.Value(
        name=name,
        type=onnx_ir.TensorType(tensor.dtype),
        shape=onnx_ir.Shape(values.shape),
        const_value=tensor,
    )
    model.graph.register_initializer(value)
    return value

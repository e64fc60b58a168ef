"""Choose the nodes of an ONNX graph that are quantized, and prepare them for QDQQuantizer."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import onnx
from onnx import TensorProto, helper, numpy_helper

from bmc import console

_MATRIX = 2  # axes
MATRIX_PRODUCTS = ("Gemm", "MatMul")
LINEAR = ("Conv", "ConvTranspose", "Gemm", "MatMul")
# Between convolutions of 8 bits, what is not in 8 bits itself costs more than it saves.
_BETWEEN = (
    *("Add", "Relu", "Clip", "MaxPool", "AveragePool", "GlobalAveragePool", "Concat"),
    *("Resize", "Flatten", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "LeakyRelu"),
)
_FUSED = "/MatMulAddFusion"  # what ONNX Runtime adds to the name of a MatMul with a bias


def name_nodes(graph: onnx.GraphProto) -> None:
    """Name nodes without a name, and give a fused linear layer the name of its MatMul."""
    taken = {node.name for node in graph.node}
    for index, node in enumerate(graph.node):
        name = node.name.partition(_FUSED)[0] or f"{node.op_type}_{index}"
        if name == node.name:
            continue
        while name in taken:
            name += "_"
        taken.add(name)
        node.name = name


def has_transposed_weight(node: onnx.NodeProto) -> bool:
    """Tell whether a Gemm's weight is (outputs, inputs) instead of (inputs, outputs)."""
    return any(each.name == "transB" and each.i for each in node.attribute)


def flatten_biases(graph: onnx.GraphProto) -> None:
    """Make biases (1, columns) of Gemm vectors, in place: QDQQuantizer reads only those."""
    constants = {each.name: each for each in graph.initializer}
    for node in graph.node:
        bias = constants.get(node.input[2]) if node.op_type == "Gemm" and node.input[2:] else None
        if bias is None or len(bias.dims) != 2 or bias.dims[0] != 1:
            continue
        name = f"{bias.name}_vector"
        if name not in constants:
            vector = numpy_helper.from_array(numpy_helper.to_array(bias).reshape(-1), name)
            constants[name] = vector
            graph.initializer.append(vector)
        node.input[2] = name


def _why_float(node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]) -> str:
    """Say why QDQQuantizer cannot quantize a layer; "" if it can."""
    factors = [each for each in node.attribute if each.name in ("alpha", "beta") and each.f != 1]
    if node.op_type == "Gemm" and factors:
        return f"it has {', '.join(f'{each.name} {each.f:g}' for each in factors)}"
    if node.op_type == "MatMul" and len(constants[node.input[1]].dims) != _MATRIX:
        return f"its weight has shape {tuple(constants[node.input[1]].dims)}"
    bias = constants.get(node.input[2]) if len(node.input) > 2 else None
    if bias is None:
        return ""
    attributes = {each.name: each.i for each in node.attribute}
    if node.op_type == "Gemm":
        columns = constants[node.input[1]].dims[0 if has_transposed_weight(node) else 1]
        return "" if list(bias.dims) == [columns] else f"its bias has shape {tuple(bias.dims)}"
    if node.op_type == "ConvTranspose" and attributes.get("group", 1) > 1:
        return "it has groups and a bias"
    return ""


def layers_of(graph: onnx.GraphProto) -> tuple[str, ...]:
    """Return the layers with constant weights that can be quantized."""
    constants = {each.name: each for each in graph.initializer}
    weights = {name for name, each in constants.items() if each.data_type == TensorProto.FLOAT}
    layers = []
    for node in graph.node:
        if node.op_type not in LINEAR or len(node.input) < 2:
            continue
        if node.input[0] in weights:
            console.note(f"layer {node.name} stays in float: its weight is on the left")
        elif node.input[1] in weights:
            if reason := _why_float(node, constants):
                console.note(f"layer {node.name} stays in float: {reason}")
            else:
                layers.append(node.name)
    return tuple(layers)


def declare_floats(graph: onnx.GraphProto, layers: Collection[str]) -> None:
    """Declare the inputs and outputs of layers as floats, in place, where no type was inferred.

    QDQQuantizer leaves out a tensor without a type, such as one that an operator of com.microsoft
    computes.
    """
    values = (*graph.value_info, *graph.input, *graph.output)
    declared = {each.name for each in (*values, *graph.initializer)}
    for node in graph.node:
        if node.name in layers:
            for name in (node.input[0], node.output[0]):
                if name not in declared:
                    declared.add(name)
                    graph.value_info.append(
                        helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
                    )


def nodes_between(graph: onnx.GraphProto, layers: Collection[str]) -> tuple[str, ...]:
    """Return the nodes between convolutions in 8 bits.

    Args:
        graph: the graph.
        layers: names of the layers in 8 bits.
    """
    constants = {each.name: each for each in graph.initializer}
    between = []
    convolved: set[str] = set()  # tensors that convolutions, and nodes between them, compute
    for node in graph.node:
        if node.name in layers and node.op_type.startswith("Conv"):
            convolved.update(node.output)
        elif node.op_type in _BETWEEN and _is_between(node, convolved, constants):
            between.append(node.name)
            convolved.update(node.output)
    return tuple(between)


def _is_between(
    node: onnx.NodeProto, convolved: Collection[str], constants: Mapping[str, onnx.TensorProto]
) -> bool:
    """Tell whether a node reads what convolutions compute: all of it, where it adds or joins.

    QDQQuantizer removes a Clip, whose limits are then those of the integers: the lower one must be
    0, as that of unsigned integers is.
    """
    if node.op_type == "Clip":
        low = constants.get(node.input[1]) if len(node.input) > 1 else None
        if low is None or numpy_helper.to_array(low).item() != 0:
            return False
    if node.op_type in ("Add", "Concat"):
        return all(name in convolved for name in node.input)
    return node.input[0] in convolved


def activations_of(graph: onnx.GraphProto, names: Collection[str]) -> list[str]:
    """Return the float tensors that the nodes of these names read and write."""
    constants = {each.name for each in graph.initializer}
    values = [*graph.value_info, *graph.input, *graph.output]
    floats = {each.name for each in values if each.type.tensor_type.elem_type == TensorProto.FLOAT}
    tensors: dict[str, None] = {}
    for node in graph.node:
        if node.name in names:
            for name in (*node.input, *node.output):
                if name and name not in constants and name in floats:
                    tensors[name] = None
    return list(tensors)

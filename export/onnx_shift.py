"""Shift inputs of linear layers of an ONNX graph, for targets that take no zero points.

A zero point moves the integers 0..255 to where the values are. Without one, the input itself is
moved: less a constant, its integers are -128..127 around 0, and the bias of the layer makes up for
it. The integers are the same (docs/decisions/0013-inputs-on-one-side-of-zero-get-a-zero-point.md).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from bmc.contracts import Dialect
from bmc.export.onnx_calibration import ActivationRange
from bmc.export.onnx_nodes import MATRIX_PRODUCTS, has_transposed_weight

_MIDDLE = 128  # of the integers 0..255
_BIAS = 2  # index of a Gemm's bias


@dataclass(frozen=True)
class Shifted:
    """Shifted inputs of linear layers.

    Args:
        offsets: what is subtracted from the input of each layer, by the layer's name.
        scales: scale of each shifted tensor, whose integers are signed with zero point 0.
    """

    offsets: Mapping[str, float]
    scales: Mapping[str, float]


def shifted_inputs(
    graph: onnx.GraphProto,
    layers: Collection[str],
    ranges: Mapping[str, ActivationRange],
    dialect: Dialect,
) -> dict[str, list[onnx.NodeProto]]:
    """Return the linear layers whose input is shifted, by the tensor that they read.

    Args:
        graph: the graph.
        layers: names of the layers in 8 bits.
        ranges: range of each activation.
        dialect: dialect of the target.
    """
    readers: dict[str, list[onnx.NodeProto]] = {}
    if dialect.activations == "uint8":
        return readers
    for node in graph.node:
        if node.op_type in MATRIX_PRODUCTS and node.name in layers and node.input[0] in ranges:
            fitted = ranges[node.input[0]].fitted
            is_taken = dialect.activations == "both" and not fitted.zero_point
            if fitted.unsigned and not is_taken:
                readers.setdefault(node.input[0], []).append(node)
    return readers


def shift_inputs(
    graph: onnx.GraphProto,
    layers: Collection[str],
    ranges: Mapping[str, ActivationRange],
    dialect: Dialect,
) -> Shifted:
    """Let linear layers read shifted inputs, in place; `compensate` changes their biases."""
    offsets: dict[str, float] = {}
    scales: dict[str, float] = {}
    for tensor, readers in shifted_inputs(graph, layers, ranges, dialect).items():
        fitted, name = ranges[tensor].fitted, f"{tensor}_shifted"
        offset = np.float32((_MIDDLE - fitted.zero_point) * fitted.scale)
        graph.initializer.append(numpy_helper.from_array(np.asarray(offset), f"{name}_by"))
        node = helper.make_node("Sub", [tensor, f"{name}_by"], [name], f"{name}_node")
        graph.node.insert(list(graph.node).index(readers[0]), node)
        graph.value_info.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
        scales[name] = fitted.scale
        for reader in readers:
            reader.input[0] = name
            offsets[reader.name] = float(offset)
    return Shifted(offsets, scales)


def compensate(graph: onnx.GraphProto, offsets: Mapping[str, float]) -> None:
    """Add to the outputs of layers what the shift of their inputs took, in place.

    Args:
        graph: the quantized graph.
        offsets: what was subtracted from the input of each layer.
    """
    if not offsets:
        return
    constants = {each.name: each for each in graph.initializer}
    producers = {name: node for node in graph.node for name in node.output}
    added: list[tuple[onnx.NodeProto, onnx.NodeProto]] = []
    for node in graph.node:
        if node.name not in offsets:
            continue
        taken = offsets[node.name] * _sums_of_weights(node, producers, constants)
        name = f"{node.name}_shift_bias"
        bias = node.input[_BIAS] if len(node.input) > _BIAS else ""
        if bias in constants:
            taken = taken + numpy_helper.to_array(constants[bias])
        graph.initializer.append(numpy_helper.from_array(taken.astype(np.float32), name))
        if node.op_type == "Gemm" and (not bias or bias in constants):  # else it is computed
            del node.input[_BIAS:]
            node.input.append(name)
            continue
        output = node.output[0]
        node.output[0] = f"{output}_before_shift"
        added.append((node, helper.make_node("Add", [node.output[0], name], [output], name)))
    for node, addition in added:
        graph.node.insert(list(graph.node).index(node) + 1, addition)


def _sums_of_weights(
    node: onnx.NodeProto,
    producers: Mapping[str, onnx.NodeProto],
    constants: Mapping[str, onnx.TensorProto],
) -> NDArray[np.float64]:
    """Return the sum of a quantized layer's weights for each of its outputs, float64 (outputs)."""
    dequantize = producers[node.input[1]]
    integers, scales = (numpy_helper.to_array(constants[name]) for name in dequantize.input[:2])
    inputs_axis = 1 if has_transposed_weight(node) else 0
    sums: NDArray[np.int64] = integers.sum(axis=inputs_axis, dtype=np.int64)
    return np.asarray(sums * scales.astype(np.float64), np.float64)

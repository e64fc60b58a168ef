"""Divide outlying input channels of linear layers of an ONNX graph before they are quantized.

A tensor has one scale, which must cover its largest channel and leaves few steps for the others.
The few channels that exceed a multiple of the median channel are divided down to it, and the
layers' weights, which have scales of their own for each output, are multiplied
(docs/decisions/0017-outlying-channels-are-divided.md).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from bmc import console
from bmc.export.onnx_nodes import MATRIX_PRODUCTS, has_transposed_weight
from bmc.quantization.equalization import divisors_of, is_worth_dividing


def linear_inputs(graph: onnx.GraphProto, layers: Collection[str]) -> dict[str, str]:
    """Return the tensor that each linear layer reads whose channels lie along its last axis.

    Args:
        graph: the graph.
        layers: names of the layers that are quantized.
    """
    return {
        node.name: node.input[0]
        for node in graph.node
        if node.name in layers
        and node.op_type in MATRIX_PRODUCTS
        and not any(each.name == "transA" and each.i for each in node.attribute)
    }


def divide_outliers(
    graph: onnx.GraphProto,
    inputs: Mapping[str, str],
    largest: Mapping[str, NDArray[np.float32]],
    outlier_threshold: float,
) -> dict[str, str]:
    """Let linear layers read tensors whose outlying channels are divided, in place.

    Weights in another file than the graph, of graphs of more than 1 GiB, stay as they are, and so
    do their inputs.

    Args:
        graph: the graph.
        inputs: tensor that each linear layer reads; see `linear_inputs`.
        largest: largest absolute value of each channel of these tensors, float32 (channels).
        outlier_threshold: limit of a channel's largest value, in multiples of the median channel's;
            0 divides none.

    Returns:
        the name of the divided tensor, for each tensor with outlying channels.
    """
    divided: dict[str, str] = {}
    if not outlier_threshold:
        return divided
    constants = {each.name: each for each in graph.initializer}
    for tensor in dict.fromkeys(inputs.values()):
        readers = [node for node in graph.node if inputs.get(node.name) == tensor]
        divisors = divisors_of(torch.from_numpy(largest[tensor]), outlier_threshold).numpy()
        weights = [constants[node.input[1]] for node in readers]
        inside = all(weight.data_location != TensorProto.EXTERNAL for weight in weights)
        if not inside or not is_worth_dividing(divisors):
            continue
        name = divided[tensor] = f"{tensor}_divided"
        factors = (1 / divisors).astype(np.float32)
        graph.initializer.append(numpy_helper.from_array(factors, f"{name}_factors"))
        node = helper.make_node("Mul", [tensor, f"{name}_factors"], [name], f"{name}_node")
        graph.node.insert(list(graph.node).index(readers[0]), node)
        graph.value_info.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
        for reader in readers:
            reader.input[0] = name
            reader.input[1] = _multiplied(graph, constants, reader, tensor, divisors)
    if divided:
        console.note(
            f"{len(divided)} tensors have outlying channels, which are scaled down first "
            "(--set outlier_threshold=0 leaves them unscaled)"
        )
    return divided


def _multiplied(
    graph: onnx.GraphProto,
    constants: dict[str, onnx.TensorProto],
    node: onnx.NodeProto,
    tensor: str,
    divisors: NDArray[np.float32],
) -> str:
    """Return the name of a layer's weight with the inputs' channels multiplied."""
    is_transposed = has_transposed_weight(node)
    name = f"{node.input[1]}_for_{tensor}{'_transposed' if is_transposed else ''}"
    if name not in constants:
        weight = numpy_helper.to_array(constants[node.input[1]])
        factors = divisors[None, :] if is_transposed else divisors[:, None]
        constants[name] = numpy_helper.from_array((weight * factors).astype(np.float32), name)
        graph.initializer.append(constants[name])
    return name

"""Correct the biases of convolutions by the mean error that 8 bits add to their outputs.

Rounding a layer's weights and input moves the mean of each output channel, by the same in every
sample; a bias takes it away, at no cost. Linear layers keep theirs: see
docs/decisions/0066-biases-of-convolutions-are-corrected.md.

Source: Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction",
section 4.2; the errors are measured on samples.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from bmc import console
from bmc.export.graph_files import WEIGHTS
from bmc.onnx_models.running import Reference
from bmc.onnx_models.samples import Calls

_SAMPLES = 32
_STANDARD = ("", "ai.onnx")
_AXES_ARE_INPUTS = 18  # opset since which ReduceMean takes its axes as an input
Errors = Mapping[str, NDArray[np.float32]]
"""Mean error of each output channel, by the name of the convolution."""


def mean_errors(prepared: Path, quantized: Path, calls: Calls) -> Errors:
    """Return the mean error of each convolution's outputs if it alone has 8 bits.

    Args:
        prepared: file of the graph in float.
        quantized: file of the same graph in 8 bits.
        calls: samples, of which at most 32 are run.

    Returns:
        the errors; {} without convolutions, and for graphs of more than 1 GiB.

    Raises:
        ArtifactError: ONNX Runtime cannot load the graph that computes the errors.
        DataError: the graph cannot compute a sample.
    """
    if quantized.with_name(WEIGHTS).exists():
        return {}
    model = onnx.load(str(prepared), load_external_data=False)
    outputs = _add_errors(model, onnx.load(str(quantized)).graph)
    if not outputs:
        return {}
    path = prepared.with_name("errors.onnx")  # beside the weights that it reads
    onnx.save_model(model, str(path))
    session = Reference(path, optimized=False)
    count = min(len(calls), _SAMPLES)
    sums = {name: np.zeros(1) for name in outputs}
    with console.progress("measuring biases", count) as advance:
        for index in range(count):
            values = session.run(calls[index * len(calls) // count])
            for name, output in outputs.items():
                sums[name] = sums[name] + values[output].astype(np.float64)
            advance(1)
    path.unlink()
    means = {name: (total / count).astype(np.float32) for name, total in sums.items()}
    return {name: mean for name, mean in means.items() if np.isfinite(mean).all()}


def correct_biases(graph: onnx.GraphProto, layers: Collection[str], errors: Errors) -> None:
    """Subtract the mean errors of convolutions from their biases, in place.

    Args:
        graph: the graph in float, which is quantized afterwards.
        layers: names of the layers that are quantized.
        errors: what `mean_errors` returned.
    """
    constants = {each.name: each for each in graph.initializer}
    for node in graph.node:
        if node.name not in layers or node.name not in errors:
            continue
        has_bias = len(node.input) > 2 and bool(node.input[2])
        if has_bias and node.input[2] not in constants:
            continue
        bias = numpy_helper.to_array(constants[node.input[2]]) if has_bias else np.float32(0)
        name = f"{node.name}_corrected_bias"
        corrected = (bias - errors[node.name]).astype(np.float32)
        graph.initializer.append(numpy_helper.from_array(corrected, name))
        del node.input[2:]
        node.input.append(name)


def _add_errors(model: onnx.ModelProto, quantized: onnx.GraphProto) -> dict[str, str]:
    """Add outputs with the mean error of each convolution that is quantized; return their names.

    A convolution is computed once more, from what it reads in float, rounded as the quantized graph
    rounds it.
    """
    graph = model.graph
    producers = {output: node for node in quantized.node for output in node.output}
    constants = {each.name: each for each in quantized.initializer}
    convolutions = {node.name: node for node in graph.node if node.op_type == "Conv"}
    known = {each.name for each in (*graph.input, *graph.initializer)}
    known |= {output for node in graph.node for output in node.output}
    opset = next((each.version for each in model.opset_import if each.domain in _STANDARD), 0)
    outputs: dict[str, str] = {}
    for node in quantized.node:
        if node.op_type != "Conv" or node.name not in convolutions:
            continue
        values, weight = (producers.get(name) for name in node.input[:2])
        rounded = _rounded(values, producers)
        if rounded is None or weight is None or rounded.input[0] not in known:
            continue
        read = [*rounded.input[1:], *weight.input]
        if not all(name in constants for name in read):
            continue
        added = [constants[name] for name in dict.fromkeys(read) if name not in known]
        graph.initializer.extend(added)
        known |= {each.name for each in added}
        outputs[node.name] = f"{node.name}/bmc_mean_error"
        rank = len(constants[weight.input[0]].dims)
        graph.node.extend(_error(convolutions[node.name], rounded, weight))
        graph.node.append(_mean(graph, f"{node.name}/bmc_error", outputs[node.name], rank, opset))
        output = helper.make_tensor_value_info(outputs[node.name], TensorProto.FLOAT, [None])
        graph.output.append(output)
    return outputs


def _rounded(node: NodeProto | None, producers: Mapping[str, NodeProto]) -> NodeProto | None:
    """Return the QuantizeLinear before a DequantizeLinear; None for anything else."""
    if node is None or node.op_type != "DequantizeLinear":
        return None
    quantizer = producers.get(node.input[0])
    return quantizer if quantizer is not None and quantizer.op_type == "QuantizeLinear" else None


def _error(convolution: NodeProto, quantizer: NodeProto, weight: NodeProto) -> list[NodeProto]:
    """Return nodes that compute how much a convolution's output changes in 8 bits."""
    names = {
        part: f"{convolution.name}/bmc_{part}" for part in ("integers", "input", "weight", "new")
    }
    scale = list(quantizer.input[1:])
    dequantized = helper.make_node("DequantizeLinear", list(weight.input), [names["weight"]])
    dequantized.attribute.extend(weight.attribute)
    inputs = [names["input"], names["weight"], *convolution.input[2:]]
    again = helper.make_node("Conv", inputs, [names["new"]])
    again.attribute.extend(convolution.attribute)
    difference = [names["new"], convolution.output[0]]
    return [
        helper.make_node("QuantizeLinear", [quantizer.input[0], *scale], [names["integers"]]),
        helper.make_node("DequantizeLinear", [names["integers"], *scale], [names["input"]]),
        dequantized,
        again,
        helper.make_node("Sub", difference, [f"{convolution.name}/bmc_error"]),
    ]


def _mean(graph: onnx.GraphProto, name: str, output: str, rank: int, opset: int) -> NodeProto:
    """Return a node that computes the mean of each channel."""
    axes = [0, *range(2, rank)]
    if opset < _AXES_ARE_INPUTS:
        return helper.make_node("ReduceMean", [name], [output], axes=axes, keepdims=0)
    constant = numpy_helper.from_array(np.array(axes, np.int64), f"{output}_axes")
    graph.initializer.append(constant)
    return helper.make_node("ReduceMean", [name, constant.name], [output], keepdims=0)

"""Move quantizers in a graph to where they cost no accuracy and prevent no fusion.

`QDQQuantizer` quantizes a tensor for all of its readers, and the output of every layer. Here an
operator in float reads the float tensor: residual connections, normalizations and outputs keep
their precision, as in bmc's own quantized models, and only inputs of layers have 8 bits.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import onnx

from bmc.contracts import Dialect

_CONVOLUTIONS = ("Conv", "ConvTranspose")
# What runtimes with float accumulators fuse into a convolution before its output is quantized.
_ACTIVATIONS = ("Relu", "Clip", "LeakyRelu")


def place(
    graph: onnx.GraphProto, layers: Collection[str], between: Collection[str], dialect: Dialect
) -> None:
    """Let operators in float read float tensors, in place, and remove quantizers without readers.

    ONNX Runtime has kernels of 8 bits only for convolutions whose output is quantized and read by
    nothing else, so there their outputs stay as they are. Other targets fuse an activation into the
    convolution before it.

    Args:
        graph: a graph with QuantizeLinear and DequantizeLinear.
        layers: names of the layers in 8 bits.
        between: names of other nodes in 8 bits.
        dialect: dialect of the target.
    """
    producers = {name: node for node in graph.node for name in node.output}
    readers = _readers(graph)
    fixed = set(_names_inside(graph))
    removed: list[onnx.NodeProto] = []
    for quantize in graph.node:
        if quantize.op_type != "QuantizeLinear":
            continue
        producer = producers.get(quantize.input[0])
        pair = readers.get(quantize.output[0], [])
        if len(pair) != 1 or (
            producer is not None and _is_kept(producer, layers, between, dialect)
        ):
            continue
        dequantize = pair[0]
        _bypass(graph, quantize, dequantize, producer, readers, {*layers, *between}, dialect)
        is_read = bool(readers.get(dequantize.output[0])) or dequantize.output[0] in fixed
        if not is_read and dequantize.output[0] not in {each.name for each in graph.output}:
            removed += [quantize, dequantize]
    for node in removed:
        graph.node.remove(node)


def _is_kept(
    producer: onnx.NodeProto, layers: Collection[str], between: Collection[str], dialect: Dialect
) -> bool:
    """Tell whether the output of a node stays quantized for all of its readers."""
    is_fused = dialect.activations == "uint8" and producer.op_type in _CONVOLUTIONS
    return producer.name in between or (is_fused and producer.name in layers)


def _bypass(
    graph: onnx.GraphProto,
    quantize: onnx.NodeProto,
    dequantize: onnx.NodeProto,
    producer: onnx.NodeProto | None,
    readers: dict[str, list[onnx.NodeProto]],
    in_8_bits: Collection[str],
    dialect: Dialect,
) -> None:
    """Connect readers in float, and the graph's output, to the tensor before its quantizer."""
    tensor, rounded = quantize.input[0], dequantize.output[0]
    kept = []
    for reader in readers.get(rounded, []):
        is_fused = dialect.activations != "uint8" and reader.op_type in _ACTIVATIONS
        if reader.name in in_8_bits and not is_fused:
            kept.append(reader)
            continue
        _rename_inputs(reader, rounded, tensor)
        readers.setdefault(tensor, []).append(reader)
    readers[rounded] = kept
    if producer is None or rounded not in {each.name for each in graph.output}:
        return
    # The graph's output keeps its name: the producer writes it, and the quantizer's get new ones.
    new_name = f"{rounded}_rounded"
    dequantize.output[0] = new_name
    for reader in kept:
        _rename_inputs(reader, rounded, new_name)
    readers[new_name] = readers.pop(rounded)
    for index, name in enumerate(producer.output):
        if name == tensor:
            producer.output[index] = rounded
    for reader in readers.get(tensor, []):
        _rename_inputs(reader, tensor, rounded)
    readers[rounded] = readers.pop(tensor, [])


def _rename_inputs(node: onnx.NodeProto, name: str, new_name: str) -> None:
    for index, value in enumerate(node.input):
        if value == name:
            node.input[index] = new_name


def _readers(graph: onnx.GraphProto) -> dict[str, list[onnx.NodeProto]]:
    """Return the nodes of the main graph that read each tensor."""
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in dict.fromkeys(node.input):
            readers.setdefault(name, []).append(node)
    return readers


def _names_inside(graph: onnx.GraphProto) -> Iterator[str]:
    """Yield the names that graphs inside If, Loop and Scan read."""
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                for each in inner.node:
                    yield from each.input
                yield from (output.name for output in inner.output)
                yield from _names_inside(inner)

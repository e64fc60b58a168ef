"""OpenVINO IR from ONNX, rearranged where its kernels are slow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openvino
from openvino import opset13

from bmc.bundle import Bundle
from bmc.contracts import Exporter
from bmc.errors import ExportError
from bmc.export import ExportOptions, Source, Written
from bmc.foreign import summary_of
from bmc.inspect.executed import Executed

_DEQUANTIZE = ("Convert", "Subtract", "Multiply")
_RECURRENT = ("GRUSequence", "LSTMSequence", "RNNSequence", "GRUCell", "LSTMCell", "RNNCell")
_FP32 = {"INFERENCE_PRECISION_HINT": "f32"}
_LAYERS = ("Convolution", "FullyConnected", "MatMul", "RNNSeq", "RNNCell")
_PRECISIONS = {"i8": "int8", "u8": "uint8", "f32": "float32", "bf16": "bfloat16", "f16": "float16"}


def write(source: Source, folder: Path, options: ExportOptions) -> Written:
    """Write model.xml and model.bin.

    The model is read, not converted: conversion would fold packed constants back to fp32.
    """
    path, _ = source.onnx("openvino")
    try:
        graph = openvino.Core().read_model(path)
        ease(graph)
    except RuntimeError as error:
        raise ExportError(f"OpenVINO cannot convert the network: {summary_of(error)}") from error
    openvino.save_model(graph, folder / "model.xml", compress_to_fp16=False)
    version = openvino.__version__.partition("-")[0]
    build = {"opset": source.opset, "openvino": version, **source.batch}
    return Written("model.xml", source.model.encoder.tensors(), source.model.outputs(), build)


def ease(graph: openvino.Model) -> None:
    """Rearrange a graph for OpenVINO's kernels; its numbers stay the same.

    Multiplications by 1 and subtractions of 0, which come from ONNX's operators, are removed.
    """
    for operator in graph.get_ordered_ops():
        _remove_neutral(operator)
    quantizers = [op for op in graph.get_ordered_ops() if op.get_type_name() == "FakeQuantize"]
    if quantizers:
        for operator in graph.get_ordered_ops():
            _fold_recurrent_weights(operator)
    for step in (_shift_range, _add_axis):
        for quantizer in quantizers:
            step(quantizer)
    graph.validate_nodes_and_infer_types()


def _remove_neutral(operator: Any) -> None:
    """Connect the readers of a product with 1, or of a difference from 0, to its other operand."""
    neutral = {"Multiply": 1, "Subtract": 0}.get(operator.get_type_name())
    readers = _readers(operator)
    if neutral is None or any(reader.get_node().get_type_name() == "Result" for reader in readers):
        return
    for neutral_at, other in ((1, 0), (0, 1)) if neutral else ((1, 0),):
        value = operator.input_value(neutral_at).get_node()
        value = value.input_value(0).get_node() if value.get_type_name() == "Convert" else value
        scalar = value.get_type_name() == "Constant" and value.data.ndim == 0
        if scalar and value.data.item() == neutral:
            for reader in readers:
                reader.replace_source_output(operator.input_value(other))
            return


def _fold_recurrent_weights(operator: Any) -> None:
    """Store a recurrent layer's packed weights in float.

    With a FakeQuantize anywhere in the graph, OpenVINO keeps packed weights packed for its int8
    kernels, and the recurrent ones take constants only. In other graphs it unpacks them as it
    loads the file, so that they stay small there.
    """
    if operator.get_type_name() not in _RECURRENT:
        return
    for weight in operator.inputs():
        source = weight.get_source_output()
        if source.get_node().get_type_name() != "Constant" and _is_constant(source.get_node()):
            value = openvino.Core().compile_model(openvino.Model([source], []), "CPU", _FP32)([])[0]
            weight.replace_source_output(opset13.constant(np.array(value)).output(0))


def _is_constant(operator: Any) -> bool:
    """Tell whether an operator's output depends on no input of the graph."""
    waiting, seen = [operator], set()
    while waiting:
        node = waiting.pop()
        if node.get_type_name() == "Parameter":
            return False
        sources = [value.get_node() for value in node.input_values()]
        waiting += [source for source in sources if source.get_friendly_name() not in seen]
        seen |= {source.get_friendly_name() for source in sources}
    return True


def _shift_range(quantizer: Any) -> None:
    """Shift a quantizer's range by the constant that is subtracted from its input, instead."""
    difference = quantizer.input_value(0).get_node()
    by = difference.input_value(1).get_node() if difference.get_input_size() == 2 else difference
    if difference.get_type_name() != "Subtract" or by.get_type_name() != "Constant":
        return
    for place in (1, 2):
        end = quantizer.input_value(place).get_node().data
        quantizer.input(place).replace_source_output(opset13.constant(end + by.data).output(0))
    quantizer.input(0).replace_source_output(difference.input_value(0))


def _add_axis(quantizer: Any) -> None:
    """Add an axis to a matrix that OpenVINO quantizes in an operation of its own.

    It takes a matrix's columns for channels and calls its kernel for every 16 of them: 128 x 384
    values take 34 us, and 5 us as 1 x 128 x 384 (benchmarks/kernels.py). A quantizer that is fused
    into another operation stays as it is.
    """
    read = quantizer.input_value(0)
    if read.get_partial_shape().rank.get_length() != 2 or _fuses(read):
        return
    last, readers = quantizer, _readers(quantizer)
    while len(readers) == 1 and readers[0].get_node().get_type_name() in _DEQUANTIZE:
        last = readers[0].get_node()
        readers = _readers(last)
    first_axis = np.int64(0)
    quantizer.input(0).replace_source_output(opset13.unsqueeze(read, first_axis).output(0))
    matrix = opset13.squeeze(last.output(0), first_axis)
    for reader in readers:
        reader.replace_source_output(matrix.output(0))


def _fuses(read: Any) -> bool:
    """Tell whether a quantizer of a value is fused into the operation that computes the value.

    It is where nothing else reads the value, also behind a product with constants.
    """
    operator = read.get_node()
    kind = operator.get_type_name()
    if len(read.get_target_inputs()) > 1 or kind in ("Reshape", "Transpose"):
        return False
    inputs = operator.input_values()
    is_constant = [value.get_node().get_type_name() == "Constant" for value in inputs]
    if kind == "Multiply" and any(is_constant):
        return _fuses(inputs[is_constant.index(False)])
    return True


def _readers(operator: Any) -> list[Any]:
    return list(operator.output(0).get_target_inputs())


def executed(bundle: Bundle) -> list[Executed]:
    """Return the multiplications of the graph that OpenVINO compiles, at the hint f32."""
    compiled = openvino.Core().compile_model(str(bundle.model_path), "CPU", _FP32)
    executed_operators = []
    for operator in compiled.get_runtime_model().get_ordered_ops():
        info = operator.get_rt_info()
        kind, precision = (str(info[key].value) for key in ("layerType", "runtimePrecision"))
        if kind in _LAYERS:
            name = operator.get_friendly_name()
            executed_operators.append(Executed(kind, _PRECISIONS.get(precision, precision), name))
    return executed_operators


EXPORTER = Exporter(write=write, executed=executed)

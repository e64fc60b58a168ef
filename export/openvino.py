"""OpenVINO IR, made of ONNX, and rearranged where its kernels are slow."""

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
    """Rearrange a graph's quantizers for OpenVINO's kernels; its numbers stay the same.

    What multiplies by 1 or subtracts 0, as ONNX's operators are read, takes room alone and goes.
    """
    for operator in graph.get_ordered_ops():
        _leave_out(operator)
    for step in (_move_range, _add_axis):
        for operator in graph.get_ordered_ops():
            if operator.get_type_name() == "FakeQuantize":
                step(operator)
    graph.validate_nodes_and_infer_types()


def _leave_out(operator: Any) -> None:
    """Let readers of a product with 1, or of a difference from 0, read what it is made of."""
    neutral = {"Multiply": 1, "Subtract": 0}.get(operator.get_type_name())
    if neutral is None or any(
        one.get_node().get_type_name() == "Result" for one in _readers(operator)
    ):
        return
    for own, other in ((1, 0), (0, 1)) if neutral else ((1, 0),):
        value = operator.input_value(own).get_node()
        value = value.input_value(0).get_node() if value.get_type_name() == "Convert" else value
        scalar = value.get_type_name() == "Constant" and value.data.ndim == 0
        if scalar and value.data.item() == neutral:
            for reader in _readers(operator):
                reader.replace_source_output(operator.input_value(other))
            return


def _move_range(quantize: Any) -> None:
    """Move a quantizer's range by the constant that is taken from its input, and not the input."""
    difference = quantize.input_value(0).get_node()
    by = difference.input_value(1).get_node() if difference.get_input_size() == 2 else difference
    if difference.get_type_name() != "Subtract" or by.get_type_name() != "Constant":
        return
    for number in (1, 2):
        end = quantize.input_value(number).get_node().data
        quantize.input(number).replace_source_output(opset13.constant(end + by.data).output(0))
    quantize.input(0).replace_source_output(difference.input_value(0))


def _add_axis(quantize: Any) -> None:
    """Quantize a matrix as one of several, where OpenVINO does that as an operation of its own.

    It takes a matrix's columns for channels and calls its kernel for every 16 of them; 128 x 384
    values took 34 us so and take 5 us as 1 x 128 x 384 (benchmarks/kernels.py). A quantizer that
    becomes part of another operation is left alone.
    """
    read = quantize.input_value(0)
    if read.get_partial_shape().rank.get_length() != 2 or _fuses(read):
        return
    last, readers = quantize, _readers(quantize)
    while len(readers) == 1 and readers[0].get_node().get_type_name() in _DEQUANTIZE:
        last = readers[0].get_node()
        readers = _readers(last)
    first_axis = np.int64(0)
    quantize.input(0).replace_source_output(opset13.unsqueeze(read, first_axis).output(0))
    matrix = opset13.squeeze(last.output(0), first_axis)
    for reader in readers:
        reader.replace_source_output(matrix.output(0))


def _fuses(read: Any) -> bool:
    """Tell whether what quantizes a value becomes part of the operation that computes it.

    It does where nothing else reads that, also behind a product with constants.
    """
    operator = read.get_node()
    kind = operator.get_type_name()
    if len(read.get_target_inputs()) > 1 or kind in ("Reshape", "Transpose"):
        return False
    given = [operator.input_value(place) for place in range(operator.get_input_size())]
    known = [one.get_node().get_type_name() == "Constant" for one in given]
    if kind == "Multiply" and any(known):
        return _fuses(given[known.index(False)])
    return True


def _readers(operator: Any) -> list[Any]:
    return list(operator.output(0).get_target_inputs())


def executed(bundle: Bundle) -> list[Executed]:
    """Return the multiplications of the graph that OpenVINO compiles, at the hint f32."""
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(str(bundle.model_path), "CPU", settings)
    found = []
    for operator in compiled.get_runtime_model().get_ordered_ops():
        info = operator.get_rt_info()
        kind, precision = (str(info[key].value) for key in ("layerType", "runtimePrecision"))
        if kind in _LAYERS:
            name = operator.get_friendly_name()
            found.append(Executed(kind, _PRECISIONS.get(precision, precision), name))
    return found


EXPORTER = Exporter(write=write, executed=executed)

"""Export to OpenVINO IR by way of ONNX, with the graph optimized for OpenVINO's kernels."""

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
from bmc.export.openvino_faults import avoid_faults
from bmc.inspect.executed import Executed
from bmc.user_code import summary_of

_DEQUANTIZE = ("Convert", "Subtract", "Multiply")
_RECURRENT = ("GRUSequence", "LSTMSequence", "RNNSequence", "GRUCell", "LSTMCell", "RNNCell")
_MAX_REASON = 300
_FP32 = {"INFERENCE_PRECISION_HINT": "f32"}
_LAYERS = ("Convolution", "Deconvolution", "FullyConnected", "MatMul", "RNNSeq", "RNNCell")
_PRECISIONS = {"i8": "int8", "u8": "uint8", "f32": "float32", "bf16": "bfloat16", "f16": "float16"}


def write(source: Source, folder: Path, options: ExportOptions) -> Written:
    """Write model.xml and model.bin.

    `read_model` is used, not `convert_model`, which would fold packed constants back to fp32.
    """
    path, _ = source.onnx("openvino")
    try:
        graph = openvino.Core().read_model(path)
        optimize(graph)
    except RuntimeError as error:
        raise ExportError(f"OpenVINO cannot convert the network: {_reason(error)}") from error
    openvino.save_model(graph, folder / "model.xml", compress_to_fp16=False)
    version = openvino.__version__.partition("-")[0]
    build: dict[str, Any] = {"opset": source.opset} if source.opset else {}
    build |= {"openvino": version, **source.batch}
    return Written("model.xml", source.model.encoder.tensors(), source.model.outputs(), build)


def _reason(error: RuntimeError) -> str:
    """Return OpenVINO's own list of what it cannot convert; else the whole message."""
    lines = [line.removeprefix("-- ") for line in str(error).splitlines() if line[:3] == "-- "]
    return "; ".join(lines)[:_MAX_REASON] or summary_of(error)


def optimize(graph: openvino.Model) -> None:
    """Rewrite a graph for OpenVINO's kernels, in place; its outputs stay the same.

    Multiplications by 1 and subtractions of 0, which come from ONNX's operators, are removed.
    """
    for operator in graph.get_ordered_ops():
        _remove_neutral(operator)
    quantizers = [op for op in graph.get_ordered_ops() if op.get_type_name() == "FakeQuantize"]
    if quantizers:
        for operator in graph.get_ordered_ops():
            _fold_recurrent_weights(operator)
    for rewrite in (_shift_range, _add_axis):
        for quantizer in quantizers:
            rewrite(quantizer)
    avoid_faults(graph)
    graph.validate_nodes_and_infer_types()


def _remove_neutral(operator: Any) -> None:
    """Remove a multiplication by 1 or a subtraction of 0: its readers get the other operand."""
    neutral = {"Multiply": 1, "Subtract": 0}.get(operator.get_type_name())
    readers = _readers(operator)
    if neutral is None or any(reader.get_node().get_type_name() == "Result" for reader in readers):
        return
    for index, other in ((1, 0), (0, 1)) if neutral else ((1, 0),):
        value = operator.input_value(index).get_node()
        value = value.input_value(0).get_node() if value.get_type_name() == "Convert" else value
        scalar = value.get_type_name() == "Constant" and value.data.ndim == 0
        if scalar and value.data.item() == neutral:
            for reader in readers:
                reader.replace_source_output(operator.input_value(other))
            return


def _fold_recurrent_weights(operator: Any) -> None:
    """Store a recurrent layer's packed weights in float.

    With a FakeQuantize anywhere in the graph, OpenVINO does not unpack weights when it loads the
    file, since its int8 kernels read packed weights. Its recurrent kernels accept only constants.
    In graphs without a FakeQuantize, OpenVINO unpacks the weights, and they stay packed on disk.
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
    pending, seen = [operator], set()
    while pending:
        node = pending.pop()
        if node.get_type_name() == "Parameter":
            return False
        sources = [value.get_node() for value in node.input_values()]
        pending += [source for source in sources if source.get_friendly_name() not in seen]
        seen |= {source.get_friendly_name() for source in sources}
    return True


def _shift_range(quantizer: Any) -> None:
    """Replace the subtraction of a constant from a quantizer's input by a shifted range."""
    subtract = quantizer.input_value(0).get_node()
    offset = subtract.input_value(1).get_node() if subtract.get_input_size() == 2 else subtract
    if subtract.get_type_name() != "Subtract" or offset.get_type_name() != "Constant":
        return
    for index in (1, 2):  # the inputs `input_low` and `input_high`
        bound = opset13.constant(quantizer.input_value(index).get_node().data + offset.data)
        quantizer.input(index).replace_source_output(bound.output(0))
    quantizer.input(0).replace_source_output(subtract.input_value(0))


def _add_axis(quantizer: Any) -> None:
    """Add an axis to a matrix that OpenVINO quantizes in a separate operation.

    OpenVINO treats the columns of a matrix as channels, and calls its quantization kernel once
    for every 16 columns: 128 x 384 values take 34 us, and 5 us as 1 x 128 x 384
    (benchmarks/kernels.py). A quantizer that is fused into another operation stays as it is.
    """
    values = quantizer.input_value(0)
    if values.get_partial_shape().rank.get_length() != 2 or _fuses(values):
        return
    last, readers = quantizer, _readers(quantizer)
    while len(readers) == 1 and readers[0].get_node().get_type_name() in _DEQUANTIZE:
        last = readers[0].get_node()
        readers = _readers(last)
    first_axis = np.int64(0)
    quantizer.input(0).replace_source_output(opset13.unsqueeze(values, first_axis).output(0))
    matrix = opset13.squeeze(last.output(0), first_axis)
    for reader in readers:
        reader.replace_source_output(matrix.output(0))


def _fuses(values: Any) -> bool:
    """Tell whether OpenVINO fuses a quantizer into the operation that computes its input.

    OpenVINO does so where only the quantizer reads that input, even if a multiplication by
    constants lies between the operation and the quantizer.
    """
    operator = values.get_node()
    kind = operator.get_type_name()
    if len(values.get_target_inputs()) > 1 or kind in ("Reshape", "Transpose"):
        return False
    inputs = operator.input_values()
    is_constant = [source.get_node().get_type_name() == "Constant" for source in inputs]
    if kind == "Multiply" and any(is_constant):
        return _fuses(inputs[is_constant.index(False)])
    return True


def _readers(operator: Any) -> list[Any]:
    return list(operator.output(0).get_target_inputs())


def executed(bundle: Bundle) -> list[Executed]:
    """Return the multiplications of the graph that OpenVINO compiles with the hint f32."""
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

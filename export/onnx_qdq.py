"""Quantize an ONNX graph to 8 bits: choose nodes, calibrate, and write it in a target's dialect."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.shape_inference import quant_pre_process

from bmc import console
from bmc.contracts import Dialect
from bmc.errors import ExportError, UsageError, reason_of
from bmc.export.onnx_calibration import ActivationRange, calibrate
from bmc.export.onnx_placement import place
from bmc.export.onnx_tables import table_error, tables_of, write_tables
from bmc.onnx_models.samples import Calls

LINEAR = ("Conv", "ConvTranspose", "Gemm", "MatMul")
# Between convolutions of 8 bits, what is not in 8 bits itself costs more than it saves.
_BETWEEN = (
    *("Add", "Relu", "Clip", "MaxPool", "AveragePool", "GlobalAveragePool", "Concat"),
    *("Resize", "Flatten", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "LeakyRelu"),
)
_FUSED = "/MatMulAddFusion"  # what ONNX Runtime adds to the name of a MatMul with a bias
_ERRORS = 3
_SIGNED, _UNSIGNED = QuantType.QInt8, QuantType.QUInt8


@dataclass(frozen=True)
class Quantized:
    """A graph, the nodes to quantize, and the ranges of their activations.

    Args:
        path: file of the prepared graph: its batch norms folded, its shapes inferred.
        layers: names of the nodes with weights that can be quantized, the least accurate first;
            those that gather rows of large tables, such as word embeddings, are among them.
        between: names of the nodes between convolutions.
        ranges: range of each activation.
        inputs: tensor that each layer reads, or its table; layers that share one are as accurate.
        tables: table of each Gather among the layers.
    """

    path: Path
    layers: tuple[str, ...]
    between: tuple[str, ...]
    ranges: Mapping[str, ActivationRange]
    inputs: Mapping[str, str]
    tables: Mapping[str, str]


def prepare(path: Path, calls: Calls, calibrator: str, work: Path) -> Quantized:
    """Fold what can be folded, choose the nodes to quantize, and calibrate.

    Args:
        path: file of the graph, of opset 13 or newer.
        calls: the samples.
        calibrator: one of `bmc.quantization.observers.CALIBRATORS`.
        work: scratch folder.

    Raises:
        UsageError: the graph has no layer with constant float weights.
        ExportError: ONNX Runtime cannot prepare the graph.
    """
    prepared = work / "prepared.onnx"
    onnxruntime.set_default_logger_severity(_ERRORS)  # it warns of weights that nothing reads
    try:
        quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
    except Exception as error:  # onnxruntime.quantization raises errors of several libraries
        raise ExportError(f"ONNX Runtime cannot prepare the graph: {reason_of(error)}") from error
    model = onnx.load(str(prepared))
    _name_nodes(model.graph)
    _flatten_biases(model.graph)
    layers = _layers(model.graph)
    between = _between(model.graph, set(layers))
    _declare_floats(model.graph, set(layers))
    onnx.save_model(model, str(prepared))
    tables = tables_of(model.graph)
    if not layers and not tables:
        raise UsageError(
            "nothing can be quantized: the file has no convolution, linear layer or large table of "
            "embeddings with constant float weights in its main graph"
        )
    tensors = _activations(model.graph, {*layers, *between})
    ranges = calibrate(prepared, tensors, calls, calibrator)
    inputs = {node.name: node.input[0] for node in model.graph.node if node.name in set(layers)}
    errors = {name: ranges[inputs[name]].error for name in layers}
    errors |= {name: table_error(model.graph, table) for name, table in tables.items()}
    worst_first = sorted(errors, key=lambda name: -errors[name])
    return Quantized(prepared, tuple(worst_first), between, ranges, {**inputs, **tables}, tables)


def write(quantized: Quantized, in_float: Collection[str], dialect: Dialect, output: Path) -> None:
    """Write a quantized graph in a target's dialect.

    Args:
        quantized: the graph and its ranges.
        in_float: names of nodes that stay in float.
        dialect: dialect of the target.
        output: file to write.

    Raises:
        ExportError: ONNX Runtime cannot quantize the graph.
    """
    model = onnx.load(str(quantized.path))
    layers = [name for name in quantized.layers if name not in in_float]
    between = [name for name in _between(model.graph, set(layers)) if name not in in_float]
    _copy_shared_weights(model.graph, layers, set(quantized.layers) - set(layers))
    names = [name for name in (*layers, *between) if name not in quantized.tables]
    kinds = {node.op_type for node in model.graph.node if node.name in set(names)}
    is_uint8 = dialect.activations == "uint8"
    ranges, overrides = _in_dialect(quantized.ranges, dialect)
    options = {
        "WeightSymmetric": True,
        "ActivationSymmetric": not is_uint8,
        "QuantizeBias": dialect.int32_bias,
        "MatMulConstBOnly": True,
        "TensorQuantOverrides": overrides,
    }
    try:
        quantizer = QDQQuantizer(
            model,
            per_channel=True,
            reduce_range=False,
            weight_qType=_SIGNED,
            activation_qType=_UNSIGNED if is_uint8 else _SIGNED,
            tensors_range=TensorsData(CalibrationMethod.MinMax, ranges),
            nodes_to_quantize=names,
            nodes_to_exclude=[],
            op_types_to_quantize=sorted(kinds),
            extra_options=options,
        )
        quantizer.quantize_model()
    except Exception as error:  # onnxruntime.quantization raises errors of several libraries
        raise ExportError(f"ONNX Runtime cannot quantize the graph: {reason_of(error)}") from error
    graph = quantizer.model.model.graph
    place(graph, set(names) - set(between), between, dialect)
    write_tables(graph, quantized.tables, layers, dialect)
    quantizer.model.save_model_to_file(str(output), False)


def _copy_shared_weights(
    graph: onnx.GraphProto, layers: Collection[str], in_float: Collection[str]
) -> None:
    """Give layers in float, in place, a copy of a weight that layers in 8 bits read as well.

    QDQQuantizer rounds a weight for all of its readers.
    """
    linear = [node for node in graph.node if node.op_type in LINEAR]
    rounded = {node.input[1] for node in linear if node.name in layers}
    constants = {each.name: each for each in graph.initializer}
    for node in linear:
        if node.name not in in_float or node.input[1] not in rounded:
            continue
        name = f"{node.input[1]}_float"
        if name not in constants:
            constants[name] = graph.initializer.add()
            constants[name].CopyFrom(constants[node.input[1]])
            constants[name].name = name
        node.input[1] = name


def _name_nodes(graph: onnx.GraphProto) -> None:
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


def _flatten_biases(graph: onnx.GraphProto) -> None:
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
    bias = constants.get(node.input[2]) if len(node.input) > 2 else None
    if bias is None:
        return ""
    attributes = {each.name: each.i for each in node.attribute}
    if node.op_type == "Gemm":
        columns = constants[node.input[1]].dims[0 if attributes.get("transB") else 1]
        return "" if list(bias.dims) == [columns] else f"its bias has shape {tuple(bias.dims)}"
    if node.op_type == "ConvTranspose" and attributes.get("group", 1) > 1:
        return "it has groups and a bias"
    return ""


def _layers(graph: onnx.GraphProto) -> tuple[str, ...]:
    """Return the layers with constant weights that can be quantized."""
    constants = {each.name: each for each in graph.initializer}
    weights = {name for name, each in constants.items() if each.data_type == TensorProto.FLOAT}
    layers = []
    for node in graph.node:
        if node.op_type in LINEAR and len(node.input) > 1 and node.input[1] in weights:
            if node.input[0] in constants:
                continue
            if reason := _why_float(node, constants):
                console.note(f"layer {node.name} stays in float: {reason}")
            else:
                layers.append(node.name)
    return tuple(layers)


def _declare_floats(graph: onnx.GraphProto, layers: Collection[str]) -> None:
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


def _between(graph: onnx.GraphProto, layers: Collection[str]) -> tuple[str, ...]:
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


def _activations(graph: onnx.GraphProto, names: Collection[str]) -> list[str]:
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


def _in_dialect(
    ranges: Mapping[str, ActivationRange], dialect: Dialect
) -> tuple[dict[str, tuple[Any, Any]], dict[str, list[dict[str, Any]]]]:
    """Return the limits of each tensor in a dialect, and the types that differ from its default."""
    limits: dict[str, tuple[Any, Any]] = {}
    overrides: dict[str, list[dict[str, Any]]] = {}
    for name, activation in ranges.items():
        chosen = activation.symmetric
        fitted = activation.fitted
        if dialect.activations == "uint8":
            chosen = fitted
        elif dialect.activations == "both" and fitted.unsigned and not fitted.zero_point:
            chosen = fitted
            overrides[name] = [{"quant_type": _UNSIGNED, "symmetric": False}]
        low, high = (0, 255) if chosen.unsigned else (-127, 127)
        limits[name] = (
            np.float32((low - chosen.zero_point) * chosen.scale),
            np.float32((high - chosen.zero_point) * chosen.scale),
        )
    return limits, overrides

"""Quantize an ONNX graph to 8 bits: choose nodes, calibrate, and write it in a target's dialect."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from bmc import console
from bmc.contracts import Dialect
from bmc.errors import ExportError, UsageError, reason_of
from bmc.export import graph_files
from bmc.export.onnx_bias import Errors, correct_biases
from bmc.export.onnx_calibration import ActivationRange, calibrate
from bmc.export.onnx_nodes import (
    LINEAR,
    MATRIX_PRODUCTS,
    activations_of,
    declare_floats,
    flatten_biases,
    has_transposed_weight,
    layers_of,
    name_nodes,
    nodes_between,
)
from bmc.export.onnx_outliers import divide_outliers, linear_inputs
from bmc.export.onnx_placement import place
from bmc.export.onnx_prepare import fold, save_inferred
from bmc.export.onnx_shift import compensate, shift_inputs
from bmc.export.onnx_tables import table_error, tables_of, write_tables
from bmc.onnx_models.samples import Calls
from bmc.quantization.observers import QuantizationRange

_TINY = 1e-6  # of the largest weight
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
        has_convolutions: whether there are convolutions among the layers.
    """

    path: Path
    layers: tuple[str, ...]
    between: tuple[str, ...]
    ranges: Mapping[str, ActivationRange]
    inputs: Mapping[str, str]
    tables: Mapping[str, str]
    has_convolutions: bool


def prepare(
    path: Path, calls: Calls, calibrator: str, work: Path, outlier_threshold: float = 0.0
) -> Quantized:
    """Fold what can be folded, choose the nodes to quantize, and calibrate.

    Args:
        path: file of the graph, of opset 13 or newer.
        calls: the samples.
        calibrator: one of `bmc.quantization.observers.CALIBRATORS`.
        work: scratch folder.
        outlier_threshold: see `bmc.export.onnx_outliers.divide_outliers`.

    Raises:
        UsageError: the graph has no layer with constant float weights.
        ExportError: ONNX Runtime cannot prepare the graph.
    """
    prepared = work / "prepared.onnx"
    nodes = _chosen(path, prepared)
    calibrated = calibrate(prepared, nodes.tensors, calls, calibrator, set(nodes.linear.values()))
    ranges, read = calibrated.ranges, dict(nodes.inputs)
    if divided := _divide(prepared, nodes.linear, calibrated.largest, outlier_threshold):
        ranges |= calibrate(prepared, divided.values(), calls, calibrator).ranges
        read |= {name: divided.get(tensor, tensor) for name, tensor in nodes.linear.items()}
    unknown = _without_range(prepared, ranges)
    for name in sorted(unknown & read.keys()):
        console.note(
            f"{name} stays in float: the samples give its input or output no values but zeros, so "
            "the range is not known"
        )
        del read[name]
    between = tuple(name for name in nodes.between if name not in unknown)
    if not read and not nodes.tables:
        raise UsageError(
            "nothing can be quantized: every layer reads or returns only zeros with these samples; "
            "give samples as the file will be given"
        )
    errors = {name: ranges[tensor].error for name, tensor in read.items()}
    errors |= nodes.table_errors
    worst_first = sorted(errors, key=lambda name: -errors[name])
    inputs = {**read, **nodes.tables}
    layers = tuple(worst_first)
    return Quantized(
        prepared, layers, between, ranges, inputs, nodes.tables, nodes.has_convolutions
    )


def _without_range(prepared: Path, ranges: Mapping[str, ActivationRange]) -> set[str]:
    """Return the nodes that read, or may write in 8 bits, a tensor all of whose values were 0."""
    unknown = {tensor for tensor, of_tensor in ranges.items() if not of_tensor.is_known}
    if not unknown:
        return set()
    graph = onnx.load(str(prepared), load_external_data=False).graph
    return {
        node.name
        for node in graph.node
        if unknown & {*node.input, *(() if node.op_type in MATRIX_PRODUCTS else node.output)}
    }


@dataclass(frozen=True)
class _Nodes:
    """The nodes to quantize, and the tensors to calibrate.

    Args:
        inputs: tensor that each layer with weights reads.
        linear: the same of the linear layers whose inputs have channels along the last axis.
        tables: table of each Gather of a large table.
        table_errors: squared error of each of these tables in 8 bits.
        between: names of the nodes between convolutions.
        tensors: names of the activations.
        has_convolutions: whether there are convolutions among the layers.
    """

    inputs: Mapping[str, str]
    linear: Mapping[str, str]
    tables: Mapping[str, str]
    table_errors: Mapping[str, float]
    between: tuple[str, ...]
    tensors: tuple[str, ...]
    has_convolutions: bool


def _chosen(path: Path, prepared: Path) -> _Nodes:
    """Write the prepared graph, and choose the nodes to quantize; the graph leaves the memory.

    Raises:
        UsageError: the graph has no layer with constant float weights.
        ExportError: ONNX Runtime cannot prepare the graph.
    """
    model = fold(path, prepared)
    graph = model.graph
    name_nodes(graph)
    flatten_biases(graph)
    layers = layers_of(graph)
    between = nodes_between(graph, set(layers))
    declare_floats(graph, set(layers))
    tensors = tuple(activations_of(graph, {*layers, *between}))
    tables = tables_of(graph)
    if not layers and not tables:
        raise UsageError(
            "nothing can be quantized: the file has no convolution, linear layer or large table of "
            "embeddings with constant float weights in its main graph"
        )
    inputs = {node.name: node.input[0] for node in graph.node if node.name in set(layers)}
    errors = {name: table_error(graph, table, prepared.parent) for name, table in tables.items()}
    linear = {n: tensor for n, tensor in linear_inputs(graph, inputs).items() if tensor in tensors}
    has_convolutions = any(node.op_type == "Conv" and node.name in inputs for node in graph.node)
    save_inferred(model, prepared)
    return _Nodes(inputs, linear, tables, errors, between, tensors, has_convolutions)


def _divide(
    prepared: Path,
    linear: Mapping[str, str],
    largest: Mapping[str, NDArray[np.float32]],
    outlier_threshold: float,
) -> dict[str, str]:
    """Divide outlying channels in the prepared graph; see `divide_outliers`."""
    model = onnx.load(str(prepared), load_external_data=False)
    divided = divide_outliers(model.graph, linear, largest, outlier_threshold)
    if divided:
        save_inferred(model, prepared)
    return divided


def write(
    quantized: Quantized,
    in_float: Collection[str],
    dialect: Dialect,
    output: Path,
    weight_bits: int = 8,
    bias_errors: Errors = MappingProxyType({}),
) -> None:
    """Write a quantized graph in a target's dialect.

    Args:
        quantized: the graph and its ranges.
        in_float: names of nodes that stay in float.
        dialect: dialect of the target.
        output: file to write, model.onnx; more than 1 GiB of weights are written beside it.
        weight_bits: bits of the weights of layers: 8, or 7 for processors without VNNI. Tables,
            which are only gathered, have 8.
        bias_errors: what the biases of convolutions are corrected by.

    Raises:
        ExportError: ONNX Runtime cannot quantize the graph.
    """
    model = onnx.load(str(quantized.path))
    layers = [name for name in quantized.layers if name not in in_float]
    usable = set(quantized.between).difference(in_float)
    between = [name for name in nodes_between(model.graph, set(layers)) if name in usable]
    _copy_shared_weights(model.graph, layers)
    correct_biases(model.graph, layers, bias_errors)
    _scale_zeros(model.graph, layers)
    names = [name for name in (*layers, *between) if name not in quantized.tables]
    kinds = {node.op_type for node in model.graph.node if node.name in set(names)}
    is_uint8 = dialect.activations == "uint8"
    shifted = shift_inputs(model.graph, layers, quantized.ranges, dialect)
    ranges, overrides = _in_dialect(quantized.ranges, dialect)
    ranges |= {name: _limits(-127, 127, 0, scale) for name, scale in shifted.scales.items()}
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
            reduce_range=weight_bits == 7,
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
    compensate(graph, shifted.offsets)
    write_tables(graph, quantized.tables, layers, dialect)
    output.with_name(graph_files.WEIGHTS).unlink(missing_ok=True)
    size = sum(each.ByteSize() for each in graph.initializer)
    quantizer.model.save_model_to_file(str(output), size > graph_files.MOST_INSIDE)


def _copy_shared_weights(graph: onnx.GraphProto, layers: Collection[str]) -> None:
    """Copy a weight, in place, for readers that need it rounded otherwise, or in float.

    QDQQuantizer rounds a weight once for all of its readers, with the axis of the scales that the
    last one needs.

    Args:
        graph: the graph.
        layers: names of the layers in 8 bits.
    """
    constants = {each.name: each for each in graph.initializer}
    in_8_bits = [node for node in graph.node if node.op_type in LINEAR and node.name in layers]
    forms: dict[str, int] = {}  # axis of the weights that are not copied
    for node in in_8_bits:
        axis = _axis_of_scales(node)
        if forms.setdefault(node.input[1], axis) != axis:
            node.input[1] = _copied(graph, constants, node.input[1], f"axis_{axis}")
    for node in graph.node:
        if node.name not in layers and node.op_type != "Gather":  # a tied table is stored once
            for index, name in enumerate(node.input):
                if name in forms:
                    node.input[index] = _copied(graph, constants, name, "float")


def _scale_zeros(graph: onnx.GraphProto, layers: Collection[str]) -> None:
    """Give filters of zeros a tiny weight, in place, whose scale their biases are rounded by.

    QDQQuantizer gives zeros the scale 1, and so their bias steps as large as the input's scale.
    """
    constants = {each.name: each for each in graph.initializer}
    for node in graph.node:
        if node.op_type not in LINEAR or node.name not in layers or not node.input[2:]:
            continue
        weight = numpy_helper.to_array(constants[node.input[1]]).copy()
        filters = np.moveaxis(weight, _axis_of_scales(node), 0)
        is_zero = ~filters.any(axis=tuple(range(1, filters.ndim)))
        if is_zero.any():
            first = (is_zero, *[0] * (filters.ndim - 1))
            filters[first] = _TINY * (float(np.abs(weight).max()) or 1.0)
            constants[node.input[1]].CopyFrom(numpy_helper.from_array(weight, node.input[1]))


def _copied(
    graph: onnx.GraphProto, constants: dict[str, onnx.TensorProto], name: str, form: str
) -> str:
    """Return the name of a constant's copy, which is made once for each form."""
    copy = f"{name}_{form}"
    if copy not in constants:
        constants[copy] = graph.initializer.add()
        constants[copy].CopyFrom(constants[name])
        constants[copy].name = copy
    return copy


def _axis_of_scales(node: onnx.NodeProto) -> int:
    """Return the axis of a layer's weight along which its outputs lie."""
    return 0 if node.op_type == "Conv" or has_transposed_weight(node) else 1


def range_in(activation: ActivationRange, dialect: Dialect) -> QuantizationRange:
    """Return the scale and zero point of an activation in a target's dialect."""
    fitted = activation.fitted
    takes_fitted = dialect.activations == "uint8" or (
        dialect.activations == "both" and fitted.unsigned and not fitted.zero_point
    )
    return fitted if takes_fitted else activation.symmetric


def _in_dialect(
    ranges: Mapping[str, ActivationRange], dialect: Dialect
) -> tuple[dict[str, tuple[Any, Any]], dict[str, list[dict[str, Any]]]]:
    """Return the limits of each tensor in a dialect, and the types that differ from its default."""
    limits: dict[str, tuple[Any, Any]] = {}
    overrides: dict[str, list[dict[str, Any]]] = {}
    for name, activation in ranges.items():
        chosen = range_in(activation, dialect)
        if dialect.activations == "both" and chosen.unsigned:
            overrides[name] = [{"quant_type": _UNSIGNED, "symmetric": False}]
        # A range of -128 to 127 becomes uint8 with zero point 128, which has the same values; that
        # of int8 must be symmetric.
        lowest = -128 if dialect.activations == "uint8" else -127
        low, high = (0, 255) if chosen.unsigned else (lowest, 127)
        limits[name] = _limits(low, high, chosen.zero_point, chosen.scale)
    return limits, overrides


def _limits(low: int, high: int, zero_point: int, scale: float) -> tuple[Any, Any]:
    """Return the values of the smallest and of the largest integer."""
    return np.float32((low - zero_point) * scale), np.float32((high - zero_point) * scale)

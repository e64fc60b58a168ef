"""Measure how much the outputs of an ONNX graph change when one layer alone has 8 bits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from bmc import console
from bmc.contracts import Dialect
from bmc.export.onnx_qdq import Quantized, range_in
from bmc.export.onnx_shift import shifted_inputs
from bmc.onnx_models.running import Reference
from bmc.onnx_models.samples import Calls
from bmc.onnx_models.values import is_value
from bmc.quantization.observers import QuantizationRange

_CHOSEN = "bmc_layers_in_8_bits"  # the input of the graph with switches
_NONE = np.array(-1, np.int64)
_RUNS = 256  # of the graph: as many as a comparison on the recommended number of samples
_MIN_SAMPLES, _MAX_SAMPLES = 4, 16
_LARGEST = 127
_SMALLEST_SCALE = 1e-12
_SMALLEST_SPREAD = 1e-9  # of the squares of an output: rounding of the sums
_STANDARD = ("", "ai.onnx")
_AXES_ARE_INPUTS = 18  # opset since which ReduceMax takes its axes as an input
Arrays = Mapping[str, NDArray[Any]]


def output_errors(
    quantized: Quantized, groups: Sequence[Sequence[str]], calls: Calls, dialect: Dialect
) -> list[float]:
    """Return for each group of layers the error of the outputs when it alone has 8 bits.

    The tensor that a group reads is rounded as the dialect rounds it, and so are the rows of
    tables. Other weights are not: with a scale for each channel, their error is small.

    Args:
        quantized: the prepared graph, and the ranges of its activations.
        groups: names of layers that read the same tensor, or the same table.
        calls: samples, of which 4 to 16 are run.
        dialect: dialect of the target.

    Returns:
        squared errors over the squared distances from the mean, summed over the outputs.

    Raises:
        ArtifactError: ONNX Runtime cannot load the graph with switches.
        DataError: the graph cannot compute a sample.
    """
    session = Reference(_with_switches(quantized, groups, dialect), optimized=False)
    count = min(len(calls), max(_MIN_SAMPLES, min(_MAX_SAMPLES, _RUNS // len(groups))))
    spreads: dict[str, _Spread] = {}
    squares: list[dict[str, float]] = [{} for _ in groups]
    with console.progress("measuring layers", count * len(groups)) as advance:
        for index in range(count):
            call = calls[index * len(calls) // count]
            expected = session.run({**call, _CHOSEN: _NONE})
            for name, values in expected.items():
                spreads.setdefault(name, _Spread()).add(values)
            for number, sums in enumerate(squares):
                outputs = session.run({**call, _CHOSEN: np.array(number, np.int64)})
                for name, values in outputs.items():
                    sums[name] = sums.get(name, 0.0) + _squared_error(values, expected[name])
                advance(1)
    return [sum(total / spreads[name].value() for name, total in sums.items()) for sums in squares]


class _Spread:
    """The squared distances of an output's values from their mean; of integers, their number."""

    def __init__(self) -> None:
        self._count = self._changes = 0
        self._sum = self._squares = 0.0

    def add(self, values: NDArray[Any]) -> None:
        """Take the output of a call."""
        if values.dtype.kind != "f":
            self._changes += values.size
            return
        finite = values[is_value(values, values)].astype(np.float64)
        self._count += finite.size
        self._sum += float(finite.sum())
        self._squares += float(finite @ finite)

    def value(self) -> float:
        """Return the spread of all values; it is above 0."""
        spread = self._squares - self._sum**2 / max(self._count, 1) + self._changes
        return max(spread, _SMALLEST_SPREAD * self._squares, _SMALLEST_SCALE)


def _squared_error(values: NDArray[Any], expected: NDArray[Any]) -> float:
    """Return the sum of the squared errors; of integers, the number that changed."""
    if values.shape != expected.shape:
        return float(max(values.size, expected.size))
    if expected.dtype.kind != "f":
        return float((values != expected).sum())
    finite = is_value(values, expected)
    errors = values[finite].astype(np.float64) - expected[finite]
    total = float(errors @ errors)
    return math.inf if math.isnan(total) else total  # no order holds among NaN


def _with_switches(quantized: Quantized, groups: Sequence[Sequence[str]], dialect: Dialect) -> Path:
    """Write the graph with an input that chooses the group in 8 bits; return its file.

    The file lies beside the prepared graph, whose large weights it reads.
    """
    model = onnx.load(str(quantized.path), load_external_data=False)
    graph = model.graph
    opset = next((each.version for each in model.opset_import if each.domain in _STANDARD), 0)
    switches = _Switches(graph, opset)
    gathers = {name: number for number, names in enumerate(groups) for name in names}
    layers = {name: gathers.pop(name) for name in list(gathers) if name not in quantized.tables}
    tensors = {quantized.inputs[name]: number for name, number in layers.items()}
    shifted = shifted_inputs(graph, layers, quantized.ranges, dialect)
    ranges = {
        name: quantized.ranges[name].fitted
        if name in shifted
        else range_in(quantized.ranges[name], dialect)
        for name in tensors
    }
    nodes: list[NodeProto] = []
    for value in graph.input:
        nodes += _rounding(switches, ranges, tensors, value.name)
    for node in graph.node:
        tensor_names = list(node.output)  # a switch of rows takes its Gather's name over
        if node.name in layers:
            node.input[0] = switches.output_of(node.input[0])
        nodes.append(node)
        if node.name in gathers:
            nodes += switches.of_rows(node, gathers[node.name])
        for name in tensor_names:
            nodes += _rounding(switches, ranges, tensors, name)
    del graph.node[:]
    graph.node.extend(nodes)
    graph.input.append(helper.make_tensor_value_info(_CHOSEN, TensorProto.INT64, []))
    path = quantized.path.with_name("switches.onnx")
    onnx.save_model(model, str(path))
    return path


def _rounding(
    switches: _Switches,
    ranges: Mapping[str, QuantizationRange],
    tensors: Mapping[str, int],
    name: str,
) -> list[NodeProto]:
    """Return the nodes that round a tensor where its group is chosen; none for other tensors."""
    if name not in tensors:
        return []
    chosen = ranges[name]
    dtype = np.uint8 if chosen.unsigned else np.int8
    scale = np.array(chosen.scale, np.float32)
    return switches.of_tensor(name, tensors[name], scale, np.array(chosen.zero_point, dtype))


class _Switches:
    """Nodes that choose between a tensor and its rounded values.

    Args:
        graph: the graph, to which constants are added.
        opset: version of its operators.
    """

    def __init__(self, graph: onnx.GraphProto, opset: int) -> None:
        self._graph, self._opset = graph, opset

    @staticmethod
    def output_of(name: str) -> str:
        """Return the name of a tensor behind its switch."""
        return f"{name}_switched"

    def of_tensor(
        self, name: str, number: int, scale: NDArray[Any], zero_point: NDArray[Any]
    ) -> list[NodeProto]:
        """Return the nodes that round a tensor to 8 bits if a group is chosen."""
        limits = [
            self._constant(f"{name}_scale", scale),
            self._constant(f"{name}_zero", zero_point),
        ]
        integers, floats = f"{name}_switch_integers", f"{name}_switch_floats"
        return [
            helper.make_node("QuantizeLinear", [name, *limits], [integers]),
            helper.make_node("DequantizeLinear", [integers, *limits], [floats]),
            *self._choice(name, floats, number, self.output_of(name)),
        ]

    def of_rows(self, gather: NodeProto, number: int) -> list[NodeProto]:
        """Return the nodes that round gathered rows, each with its own scale.

        The Gather's output gets another name, and the switch has its old one.
        """
        output = gather.output[0]
        rows = f"{output}_switch_rows"
        gather.output[0] = rows
        names = [f"{output}_switch_{index}" for index in range(7)]
        largest = self._constant(f"{output}_largest", np.array(_LARGEST, np.float32))
        smallest = self._constant(f"{output}_smallest", np.array(_SMALLEST_SCALE, np.float32))
        return [
            helper.make_node("Abs", [rows], names[:1]),
            self._row_maximum(names[0], names[1], output),
            helper.make_node("Div", [names[1], largest], [names[2]]),
            helper.make_node("Max", [names[2], smallest], [names[3]]),
            helper.make_node("Div", [rows, names[3]], [names[4]]),
            helper.make_node("Round", [names[4]], [names[5]]),
            helper.make_node("Mul", [names[5], names[3]], [names[6]]),
            *self._choice(rows, names[6], number, output),
        ]

    def _row_maximum(self, values: str, output: str, prefix: str) -> NodeProto:
        if self._opset < _AXES_ARE_INPUTS:
            return helper.make_node("ReduceMax", [values], [output], axes=[-1], keepdims=1)
        axes = self._constant(f"{prefix}_axes", np.array([-1], np.int64))
        return helper.make_node("ReduceMax", [values, axes], [output], keepdims=1)

    def _choice(self, value: str, rounded: str, number: int, output: str) -> list[NodeProto]:
        index = self._constant(f"{output}_number", np.array(number, np.int64))
        is_chosen = f"{output}_is_chosen"
        return [
            helper.make_node("Equal", [_CHOSEN, index], [is_chosen]),
            helper.make_node("Where", [is_chosen, rounded, value], [output]),
        ]

    def _constant(self, name: str, values: NDArray[Any]) -> str:
        name = f"{name}_of_switch"
        self._graph.initializer.append(numpy_helper.from_array(values, name))
        return name

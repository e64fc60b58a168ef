"""Write graphs so that OpenVINO computes them right where its own lowering to int8 is wrong.

Seen with OpenVINO 2026.4.1 on x86; `tests/export/test_openvino_faults.py` has the cases.
docs/decisions/0064-what-openvino-computes-wrong-in-8-bits.md has the figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from openvino import Type, opset13

_CONVOLUTIONS = ("Convolution", "GroupConvolution")
_TRANSPOSED = ("ConvolutionBackpropData", "GroupConvolutionBackpropData")
_DEQUANTIZE = ("Convert", "Subtract", "Multiply")
_FORMS = ("Reshape", "Unsqueeze", "Convert")  # of a constant
_ROUNDING = 1e-5  # of a quantizer's limits
_HARDLY_ZERO = 1e-30  # changes no sum, and is no zero, which OpenVINO would remove


def avoid_faults(graph: Any) -> None:
    """Rewrite what OpenVINO would compute wrong in a quantized graph, in place.

    - A quantizer behind a Concat whose scale is a multiplication of its own rounds to whole numbers
      instead of its steps: quantizers get their scales inside.
    - A convolution without a bias whose output is quantized for one reader, and read in float by
      another, gives the former nothing but zeros: it gets a bias of 1e-30.
    - A transposed convolution with a bias whose output is quantized adds the bias in another scale:
      those with a bias read their input in float, and are computed so.

    Args:
        graph: an `openvino.Model` with FakeQuantize operators.
    """
    for operator in graph.get_ordered_ops():
        if operator.get_type_name() == "FakeQuantize":
            _fold_scale(operator)
    for operator in graph.get_ordered_ops():
        kind = operator.get_type_name()
        if kind in _CONVOLUTIONS and _is_quantized(operator) and not _has_bias(operator):
            _add_bias(operator)
        elif kind in _TRANSPOSED and _has_bias(operator):
            _read_floats(operator)


def _fold_scale(quantizer: Any) -> None:
    """Let a quantizer return floats: its integers, less their zero point, times their scale."""
    low, high = (_constant_of(quantizer.input_value(index).get_node()) for index in (3, 4))
    if low is None or high is None or quantizer.get_element_type() != Type.f32:
        return
    last, readers = quantizer, list(quantizer.output(0).get_target_inputs())
    while len(readers) == 1 and readers[0].get_index() == 0:
        node = readers[0].get_node()
        kind = node.get_type_name()
        if kind not in _DEQUANTIZE:
            break
        if kind != "Convert":
            constant = _constant_of(node.input_value(1).get_node())
            if constant is None:
                break
            change = np.subtract if kind == "Subtract" else np.multiply
            low, high = (change(bound, constant).astype(np.float32) for bound in (low, high))
        last, readers = node, list(node.output(0).get_target_inputs())
    if last is quantizer or last.get_element_type() != Type.f32:
        return
    bounds = [quantizer.input_value(index) for index in (1, 2)]
    bounds += [opset13.constant(bound).output(0) for bound in (low, high)]
    levels = quantizer.get_attributes()["levels"]
    folded = opset13.fake_quantize(quantizer.input_value(0), *bounds, levels)
    folded.set_friendly_name(quantizer.get_friendly_name())
    _replace(last, folded, readers)


def _constant_of(operator: Any) -> Any:
    """Return the values of a constant in any of its forms, as floats; None for another operator."""
    outermost, node = None, operator
    while node.get_type_name() in _FORMS:
        if outermost is None and node.get_type_name() != "Convert":
            outermost = node
        node = node.input_value(0).get_node()
    if node.get_type_name() != "Constant":
        return None
    values = np.asarray(node.data, np.float32)
    return values if outermost is None else values.reshape(list(outermost.output(0).get_shape()))


def _is_quantized(operator: Any) -> bool:
    """Tell whether an operator reads what a quantizer rounded."""
    node = operator.input_value(0).get_node()
    while node.get_type_name() in _DEQUANTIZE:
        is_cast = node.get_type_name() == "Convert"
        if not is_cast and _constant_of(node.input_value(1).get_node()) is None:
            return False
        node = node.input_value(0).get_node()
    return bool(node.get_type_name() == "FakeQuantize")


def _has_bias(operator: Any) -> bool:
    """Tell whether constants other than 0 are added to an operator's output, scaled or not."""
    readers = list(operator.output(0).get_target_inputs())
    if len(readers) != 1:
        return False
    reader = readers[0].get_node()
    kind = reader.get_type_name()
    if kind not in ("Add", "Subtract", "Multiply"):
        return False
    other = _constant_of(reader.input_value(1 - readers[0].get_index()).get_node())
    if other is None:
        return False
    return _has_bias(reader) if kind == "Multiply" else bool(np.any(other))


def _read_floats(operator: Any) -> None:
    """Let an operator read what its quantizer reads, instead of the rounded values.

    A quantizer whose input was shifted has other limits there than at its output.
    """
    quantizer = operator.input_value(0).get_node()
    if quantizer.get_type_name() != "FakeQuantize":
        return
    bounds = [_constant_of(quantizer.input_value(index).get_node()) for index in (1, 2, 3, 4)]
    if any(bound is None for bound in bounds):
        return
    low, high, output_low, output_high = bounds
    shift, error = low - output_low, _ROUNDING * float(np.abs([low, high]).max())
    if not np.allclose(high - output_high, shift, rtol=0, atol=error):
        return
    values = quantizer.input_value(0)
    if np.abs(shift).max() > error:
        values = opset13.subtract(values, opset13.constant(shift)).output(0)
    operator.input(0).replace_source_output(values)


def _add_bias(operator: Any) -> None:
    """Add 1e-30 to an operator's output in float32."""
    output = operator.output(0)
    if operator.get_element_type() != Type.f32:
        return
    shape = output.get_partial_shape()
    sizes = [1, shape[1].get_length()] + [1] * (shape.rank.get_length() - 2)
    readers = list(output.get_target_inputs())
    bias = opset13.constant(np.full(sizes, _HARDLY_ZERO, np.float32))
    _replace(operator, opset13.add(output, bias), readers)


def _replace(before: Any, after: Any, readers: Sequence[Any]) -> None:
    """Let readers read another operator; an output of the graph keeps its names."""
    for reader in readers:
        reader.replace_source_output(after.output(0))
    after.output(0).get_tensor().set_names(before.output(0).get_names())
    before.output(0).get_tensor().set_names(set())

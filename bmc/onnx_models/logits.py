"""Tell which outputs of a graph are logits or probabilities of classes, and which are masks."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import onnx_ir

from bmc.onnx_models.reading import constant_of

_PASSED = ("Identity", "Cast", "Flatten", "Squeeze", "Unsqueeze", "Reshape", "DequantizeLinear")
_PASSED_INPUT = ("QuantizeLinear",)
_RESHAPED = ("Flatten", "Squeeze", "Unsqueeze", "Reshape")
_PROBABILITIES = ("Softmax", "LogSoftmax")
_LINEAR = ("Gemm", "MatMul")
_MASK = "Sigmoid"
_STEPS = 8
_BINARY = 2
_SINCE_LAST = 13  # opset since which a softmax without an axis takes the last one, not axis 1


def logits_of(graph: onnx_ir.Graph) -> Collection[str]:
    """Return the names of outputs whose largest value along the last axis is the answer.

    These are outputs of a softmax over the last axis, and matrices (rows, classes) that a linear
    layer or a global pooling computes. Embeddings that are normalized or pooled are none, and
    neither is a single value a row.
    """
    default = -1 if graph.opset_imports.get("", _SINCE_LAST) >= _SINCE_LAST else 1
    return {str(value.name) for value in graph.outputs if _are_logits(value, default)}


def probabilities_of(graph: onnx_ir.Graph) -> Collection[str]:
    """Return the names of outputs that a softmax or a sigmoid computes."""
    return {str(value.name) for value in graph.outputs if _are_probabilities(value)}


def _are_probabilities(output: onnx_ir.Value) -> bool:
    node = _computed_by(output)
    if node is None:
        return False
    return node.op_type in (*_PROBABILITIES, _MASK) or _is_spelled_softmax(node)


def masks_of(graph: onnx_ir.Graph) -> Collection[str]:
    """Return the names of outputs that are masks: probabilities of each pixel, of one class.

    These are outputs of a sigmoid with three axes or more.
    """
    return {str(value.name) for value in graph.outputs if _is_mask(value)}


def thresholds_of(graph: onnx_ir.Graph) -> Mapping[str, float]:
    """Return outputs whose values may each tell two classes apart, with the value between them.

    This is 0.5 for the outputs of a sigmoid, and 0 for a linear layer with one value a row.
    """
    thresholds = {}
    for output in graph.outputs:
        node = _computed_by(output)
        if node is None:
            continue
        is_single = output.shape is not None and len(output.shape) and output.shape[-1] == 1
        if node.op_type == _MASK:
            thresholds[str(output.name)] = 0.5
        elif is_single and (node.op_type in _LINEAR or _is_biased(node)):
            thresholds[str(output.name)] = 0.0
    return thresholds


def single_values_of(graph: onnx_ir.Graph) -> Collection[str]:
    """Return the names of outputs of floats with one value a row."""
    return {
        str(value.name)
        for value in graph.outputs
        if value.shape is not None
        and len(value.shape) > 0
        and all(size == 1 for size in list(value.shape)[1:])
        and (value.dtype is None or value.dtype.is_floating_point())
    }


def classes_of(graph: onnx_ir.Graph) -> int | None:
    """Return the number of classes that the first output with logits of a row tells apart.

    An output with one value a row tells two classes apart. Logits of pixels or tokens are none of
    a row, and values of several labels are no classes.

    Returns:
        None where there are no such outputs, or the number is not known.
    """
    names = logits_of(graph)
    for output in graph.outputs:
        if output.name in names and _is_row(output):
            size = output.shape[-1] if output.shape is not None and len(output.shape) else None
            node = producer_of_logits(output)
            if isinstance(size, int) and size > 0:
                return size
            return _columns(node) if node is not None else None
    is_binary = thresholds_of(graph).keys() & set(single_values_of(graph))
    return _BINARY if is_binary else None


def _is_row(output: onnx_ir.Value) -> bool:
    """Tell whether an output has one vector a row, apart from axes of one entry."""
    return output.shape is None or all(size == 1 for size in list(output.shape)[1:-1])


def _is_mask(output: onnx_ir.Value) -> bool:
    node = _computed_by(output)
    if node is None or node.op_type != _MASK or output.shape is None:
        return False
    return len(output.shape) > 2 and output.shape[-1] != 1


def _are_logits(output: onnx_ir.Value, default_axis: int) -> bool:
    if output.dtype is not None and not output.dtype.is_floating_point():
        return False
    if output.shape is not None and len(output.shape) and output.shape[-1] == 1:
        return False  # one value a row, which is always the largest
    node = _computed_by(output)
    if node is None or _has_other_columns(node, output):
        return False
    rank = len(output.shape) if output.shape is not None else None
    if _is_spelled_softmax(node):
        return rank in (2, None)
    if node.op_type in _PROBABILITIES:
        axis = node.attributes.get_int("axis", default_axis)
        return axis == -1 or (rank is not None and axis == rank - 1)
    if rank not in (2, None):
        return False
    return node.op_type in (*_LINEAR, "GlobalAveragePool") or _is_biased(node)


def _is_biased(node: onnx_ir.Node) -> bool:
    """Tell whether a node adds a bias to a linear layer."""
    if node.op_type != "Add":
        return False
    sources = [value.producer() for value in node.inputs if value is not None]
    is_bias = any(constant_of(value) is not None for value in node.inputs)
    return is_bias and any(n is not None and n.op_type in _LINEAR for n in sources)


def _has_other_columns(node: onnx_ir.Node, output: onnx_ir.Value) -> bool:
    """Tell whether an output was reshaped after a node so that its last axis is another one.

    Scores of all boxes in one row, for example, are no classes.
    """
    if node.op_type == "GlobalAveragePool" or not _is_reshaped(output):
        return False
    shape = node.outputs[0].shape
    columns = shape[-1] if shape is not None and len(shape) else _columns(node)
    known = isinstance(columns, int) and output.shape is not None and len(output.shape) > 0
    return not (known and output.shape is not None and output.shape[-1] == columns)


def _columns(node: onnx_ir.Node) -> int | None:
    """Return the number of outputs of a linear layer, from its weight or bias."""
    sizes = {
        int(tensor.size)
        for value in node.inputs
        if (tensor := constant_of(value)) is not None and len(tensor.shape) == 1
    }
    if len(sizes) == 1:
        return sizes.pop()
    weight = constant_of(node.inputs[1]) if len(node.inputs) > 1 else None
    if node.op_type not in _LINEAR or weight is None or len(weight.shape) != 2:
        return None
    is_transposed: int = node.attributes.get_int("transB", 0)
    return int(weight.numpy().shape[0 if is_transposed else 1])


def _is_reshaped(value: onnx_ir.Value) -> bool:
    """Tell whether a value has another shape than the output of the node that computes it."""
    node = value.producer()
    for _ in range(_STEPS):
        if node is None or node.op_type not in (*_PASSED, *_PASSED_INPUT):
            return False
        if node.op_type in _RESHAPED:
            return True
        node = node.inputs[0].producer() if node.inputs and node.inputs[0] else None
    return False


def _is_spelled_softmax(node: onnx_ir.Node) -> bool:
    """Tell whether a node is the division that ends a softmax in parts: exp(x) / sum(exp(x))."""
    if node.op_type != "Div" or len(node.inputs) < 2:
        return False
    above, below = (value.producer() if value is not None else None for value in node.inputs)
    if above is None or below is None or (above.op_type, below.op_type) != ("Exp", "ReduceSum"):
        return False
    return below.inputs[0] is node.inputs[0]


def producer_of_logits(output: onnx_ir.Value) -> onnx_ir.Node | None:
    """Return the linear layer that computes logits; None where another operator does."""
    node = _computed_by(output)
    for _ in range(_STEPS):
        if node is None or node.op_type in _LINEAR:
            break
        value = next((v for v in node.inputs if v is not None and constant_of(v) is None), None)
        is_passed = node.op_type in (*_PROBABILITIES, *_PASSED, "Add")
        node = _computed_by(value) if value is not None and is_passed else None
    return node


def _computed_by(value: onnx_ir.Value) -> onnx_ir.Node | None:
    """Return the node that computes a value, apart from shapes and types."""
    node = value.producer()
    for _ in range(_STEPS):
        if node is None or node.op_type not in (*_PASSED, *_PASSED_INPUT):
            break
        node = node.inputs[0].producer() if node.inputs and node.inputs[0] else None
    return node

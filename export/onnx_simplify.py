"""Simplify the graph of an ONNX file of another tool; its outputs stay the same."""

from __future__ import annotations

from collections.abc import Collection

import onnx_ir
from onnxscript import optimizer, rewriter

_QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")
_PACKED = (onnx_ir.DataType.UINT8, onnx_ir.DataType.INT8)


def simplify(model: onnx_ir.Model) -> Collection[str]:
    """Fold constants and batch norms, and remove Identity and nodes that no output needs, in place.

    Quantized weights and codebooks are not folded: they would be stored in float.

    Args:
        model: the graph.

    Returns:
        the operators that are no longer in the graph.
    """
    before = {node.op_type for node in model.graph}
    rewriter.rewrite(model)
    optimizer.optimize_ir(model, should_fold=_may_fold, inline=False)  # what can be, is
    return sorted(before - {node.op_type for node in model.graph})


def _may_fold(node: onnx_ir.Node) -> bool | None:
    """Tell whether a node may be folded; None leaves the decision to the optimizer."""
    if node.op_type in _QUANTIZERS:
        return False
    first = node.inputs[0] if node.inputs else None
    is_packed = first is not None and first.const_value is not None and first.dtype in _PACKED
    return False if is_packed and node.op_type in ("Cast", "Gather") else None

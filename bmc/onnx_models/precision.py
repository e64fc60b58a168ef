"""The precision of an ONNX file, from its operators and the types of its weights."""

from __future__ import annotations

from collections import Counter

import onnx_ir
from onnx_ir import DataType

from bmc.onnx_models.reading import all_nodes, constant_of, weights_of

DYNAMIC = ("DynamicQuantizeLinear", "DynamicQuantizeLSTM", "DynamicQuantizeMatMul")
INTEGER = ("QLinear", "MatMulInteger", "ConvInteger", "QGemm", "QAttention")
_4_BITS = ("MatMulNBits", "GatherBlockQuantized", "MatMulBnb4")
_BITS_4 = (DataType.INT4, DataType.UINT4)


def precision_of(model: onnx_ir.Model) -> str:
    """Return the name of the precision that a graph computes with.

    Returns:
        a key of `bmc.precision.PRECISIONS`.
    """
    operators = quantized_operators(model)
    if any(name in DYNAMIC for name in operators):
        return "int8-dynamic"
    if any(name.startswith(INTEGER) for name in operators) or "QuantizeLinear" in operators:
        return "int8"
    blocked = {
        int(node.attributes.get_int("bits", 4))
        for node in all_nodes(model)
        if node.op_type in _4_BITS
    }
    if any(bits <= 4 for bits in blocked) or _dequantizes(model, _BITS_4):
        return "int4-weights"
    if blocked or "DequantizeLinear" in operators:
        return "int8-weights"
    sizes: Counter[DataType] = Counter()
    for tensor in weights_of(model).values():
        sizes[tensor.dtype] += tensor.nbytes
    if sizes and sizes.most_common(1)[0][0] == DataType.FLOAT16:
        return "fp16"
    if sizes and sizes.most_common(1)[0][0] == DataType.BFLOAT16:
        return "bf16"
    return "fp32"


def quantized_operators(model: onnx_ir.Model) -> Counter[str]:
    """Return the number of nodes of each operator that quantizes, or computes with integers."""
    names = ("QuantizeLinear", "DequantizeLinear", *DYNAMIC, *_4_BITS)
    return Counter(
        node.op_type
        for node in all_nodes(model)
        if node.op_type in names or node.op_type.startswith(INTEGER)
    )


def _dequantizes(model: onnx_ir.Model, dtypes: tuple[DataType, ...]) -> bool:
    for node in all_nodes(model):
        weight = constant_of(node.inputs[0]) if node.op_type == "DequantizeLinear" else None
        if weight is not None and weight.dtype in dtypes:
            return True
    return False

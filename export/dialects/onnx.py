"""How ONNX Runtime wants a quantized graph to be written: uint8 activations, int32 biases."""

from __future__ import annotations

from bmc.contracts import Dialect

DIALECT = Dialect(
    activations="uint8",
    int32_bias=True,
    gather_before_dequantize=True,
    explicit_zero_points=True,
    unsupported=("bf16",),
    fused_attention=True,
)

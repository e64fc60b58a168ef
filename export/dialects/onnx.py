"""ONNX Runtime's dialect of quantized graphs: uint8 activations, int32 biases."""

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

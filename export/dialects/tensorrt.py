"""TensorRT's dialect of quantized graphs: int8 activations with zero point 0."""

from __future__ import annotations

from bmc.contracts import Dialect

DIALECT = Dialect(
    activations="int8",
    int32_bias=False,
    gather_before_dequantize=False,
    explicit_zero_points=False,
    unsupported=("int8-dynamic",),
    float_weights_only=("GRU",),  # TensorRT for RTX 1.7 fails with an internal error
)

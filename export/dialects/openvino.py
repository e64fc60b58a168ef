"""OpenVINO's dialect of quantized graphs: int8 or uint8 activations."""

from __future__ import annotations

from bmc.contracts import Dialect

DIALECT = Dialect(
    activations="both",
    int32_bias=False,
    gather_before_dequantize=False,
    explicit_zero_points=False,
    unsupported=("int8-dynamic",),
)

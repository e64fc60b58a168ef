"""How the reference implementation wants a quantized graph to be written."""

from __future__ import annotations

from bmc.contracts import Dialect

# Plain QuantizeLinear and DequantizeLinear: no operator of a runtime's own.
DIALECT = Dialect(
    activations="both",
    int32_bias=False,
    gather_before_dequantize=False,
    explicit_zero_points=False,
    unsupported=("int8-dynamic",),
)

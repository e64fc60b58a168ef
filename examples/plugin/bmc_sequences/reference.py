"""ONNX's own reference implementation: each operator in numpy, as its specification says.

It is slow. Where ONNX Runtime or OpenVINO answers otherwise than PyTorch, it says whether the run
time or the ONNX file is wrong.
"""

from __future__ import annotations

from bmc.contracts import Dialect, Format
from bmc.formats import onnx

# Plain QuantizeLinear and DequantizeLinear: no operator of a run time's own.
DIALECT = Dialect(
    inputs="both",
    int32_bias=False,
    gather_before_dequantize=False,
    explicit_zero_points=False,
    unsupported=("int8-dynamic",),
)
FORMAT = Format(
    about="ONNX's reference implementation in numpy; slow, for comparison",
    session="bmc_sequences.reference_session",
    exporter="bmc_sequences.reference_exporter",
    files=onnx.files,
    dialect=DIALECT,
)

"""ONNX's own reference implementation: each operator in numpy, as its specification says.

It is slow. Where ONNX Runtime or OpenVINO answers otherwise than PyTorch, it says whether the run
time or the ONNX file is wrong.
"""

from __future__ import annotations

from bmc.bundle_formats import onnx
from bmc.contracts import Format

FORMAT = Format(
    about="ONNX's reference implementation in numpy; slow, for comparison",
    session="bmc_sequences.reference_session",
    exporter="bmc_sequences.reference_exporter",
    files=onnx.files,
    dialect="bmc_sequences.reference_dialect",
)

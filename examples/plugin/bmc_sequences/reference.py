"""The reference implementation of ONNX computes each operator in numpy, after the specification.

It is slow. If ONNX Runtime or OpenVINO computes other outputs than PyTorch, it shows whether the
runtime or the ONNX file is wrong.
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

"""Precisions: what a bundle's weights and activations are, and what that may cost.

All precisions are defined in this file. The dialect of a target's format
(`export/dialects/NAME.py`) lists the precisions that the target cannot execute.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bmc.model import Model

REDUCED_DTYPES = ("int8", "uint8", "int4", "float16", "bfloat16")
"""Names of the dtypes that have fewer than 32 bits, as runtimes report what they multiply with."""


@dataclass(frozen=True)
class ParityLimits:
    """How far an export's outputs may lie from the model's in PyTorch.

    Args:
        max_error: largest change of an output, relative to the outputs' scale.
        min_agreement: smallest share of rows for which the bundle and PyTorch predict the same
            class.
        max_points: largest change of the accuracy, or of a regression's R2, in points, either way.
        free_rows: number of rows whose predictions may differ in any case; it matters for small
            splits.
        max_row_error: replaces `max_error` for the held-out rows of a classifier, whose predictions
            `min_agreement` checks, too; None for the same limit.
    """

    max_error: float
    min_agreement: float
    max_points: float
    free_rows: int = 0
    max_row_error: float | None = None


@dataclass(frozen=True)
class Precision:
    """A precision of bundles.

    Args:
        name: name in manifests and reports.
        limits: largest differences that an export may cause.
        for_speed: whether it is chosen for speed, so that a bundle that is slower than fp32 fails;
            the others but fp32 are chosen for size.
        device_tolerance: largest change of an output, relative to the outputs' scale, on another
            processor than that of the export.
        least_opset: the first version of the ONNX operators that can express it.
        rows_share_ranges: whether the rows of a batch are rounded in a common range, so that each
            of them changes the others' outputs.
    """

    name: str
    limits: ParityLimits
    for_speed: bool = False
    device_tolerance: float = 0.1
    least_opset: int = 18
    rows_share_ranges: bool = False


# Runtimes round a quantized model's sums in other orders. In a deep network a single row between
# two classes may flip between the two outputs; `min_agreement` limits the number of such rows.
_INTEGER = ParityLimits(
    max_error=0.5, min_agreement=0.98, max_points=0.5, free_rows=2, max_row_error=2.0
)
_EVERY = (
    Precision(
        "fp32",
        ParityLimits(max_error=1e-3, min_agreement=0.998, max_points=0.2),
        device_tolerance=2e-3,
    ),
    Precision("fp16", ParityLimits(2e-2, min_agreement=0.995, max_points=0.3, free_rows=2)),
    Precision("bf16", ParityLimits(0.2, min_agreement=0.98, max_points=0.5, free_rows=2)),
    Precision("int8", _INTEGER, for_speed=True),
    Precision("int8-dynamic", _INTEGER, for_speed=True, rows_share_ranges=True),
    # ONNX Runtime and OpenVINO may quantize the inputs of such weights to 8 bits as well.
    Precision("int8-weights", _INTEGER),
    Precision("int4-weights", _INTEGER, least_opset=21),
)
PRECISIONS: Mapping[str, Precision] = {precision.name: precision for precision in _EVERY}


def precision_of(model: Model) -> str:
    """Return the name of the precision that a model's bundles compute with.

    Args:
        model: any model; its last step decides, if that is a quantization.

    Returns:
        a key of PRECISIONS.
    """
    if not model.steps or not model.steps[-1].method.startswith("quantize/"):
        return "fp32"
    record = model.steps[-1].record
    if "precision" in record:
        return str(record["precision"])
    inputs = {layer["inputs"] for layer in record.values()} - {"float"}
    if inputs:
        return "int8-dynamic" if inputs == {"dynamic"} else "int8"
    bits = {layer["bits"] for layer in record.values()} - {0}
    if not bits:
        return "fp32"
    return "int4-weights" if 4 in bits else "int8-weights"  # 7 bits are stored as 8

"""Parity: how far a bundle's answers are from the model's in PyTorch, and how far they may be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc.errors import GateError


@dataclass(frozen=True)
class Limits:
    """What an export of one precision may lose.

    Args:
        max_error: largest change of an output, relative to its scale (`scale_of`).
        of_a_row: the same of a classifier's held-out rows, whose answers are counted too.
        agreement: least share of rows that are answered alike.
        points: largest change of the accuracy, or of a regression's R2, in points, either way.
        rows: so many may be answered otherwise in any case, where there are few in all.
    """

    max_error: float
    agreement: float
    points: float
    rows: int = 0
    of_a_row: float | None = None


# Run times round a quantized model's sums in other orders. In a deep network a single row between
# two classes may jump from the one's outputs to the other's; how many may, `agreement` says.
_WHOLE_NUMBERS = Limits(max_error=0.5, agreement=0.98, points=0.5, rows=2, of_a_row=2.0)
LIMITS: Mapping[str, Limits] = {
    "fp32": Limits(max_error=1e-3, agreement=0.998, points=0.2),
    "int8": _WHOLE_NUMBERS,
    "int8-dynamic": _WHOLE_NUMBERS,
    "fp16": Limits(max_error=2e-2, agreement=0.995, points=0.3, rows=2),
    "bf16": Limits(max_error=0.2, agreement=0.98, points=0.5, rows=2),
    # ONNX Runtime and OpenVINO multiply by such weights with inputs of 8 bits, if they like.
    "int8-weights": _WHOLE_NUMBERS,
    "int4-weights": _WHOLE_NUMBERS,
}


# Numbers of 32 bits that are added up have some six digits.
_OF_A_LEVEL = 2e-3


@dataclass(frozen=True)
class Parity:
    """A bundle's logits held against PyTorch's on the same real rows.

    Changes are counted in the outputs' own unit, points of the accuracy or of R2.
    """

    rows: int
    max_error: float
    mean_error: float
    cosine: float
    agreement: float | None
    points_changed: float | None

    def to_json(self) -> dict[str, Any]:
        """Return the figures as a JSON object."""
        return asdict(self)


def compare(
    outputs: NDArray[np.float32],
    reference: NDArray[np.float32],
    labels: NDArray[Any],
    task: str = "classification",
) -> Parity:
    """Hold outputs (rows, ...) against the reference's; agreement is a classifier's alone."""
    difference = np.abs(outputs.astype(np.float64) - reference)
    flat, other = outputs.ravel().astype(np.float64), reference.ravel().astype(np.float64)
    agreement = points_changed = None
    if task == "regression":
        points_changed = _points_of_r2(flat, other, labels.astype(np.float64))
    if task == "classification":
        answers, expected = outputs.argmax(axis=1), reference.argmax(axis=1)
        agreement = float((answers == expected).mean())
        changed = float((answers == labels).mean() - (expected == labels).mean())
        points_changed = 100 * changed
    return Parity(
        rows=len(outputs),
        max_error=float(difference.max()),
        mean_error=float(difference.mean()),
        cosine=float(flat @ other / (np.linalg.norm(flat) * np.linalg.norm(other) + 1e-30)),
        agreement=agreement,
        points_changed=points_changed,
    )


def _points_of_r2(
    values: NDArray[np.float64], reference: NDArray[np.float64], truth: NDArray[np.float64]
) -> float | None:
    """Return the change of R2 in points; None where all labels are the same.

    Of a model that is worse than the labels' mean it is the change of its own error's share.
    """
    if not truth.var():
        return None
    own, its = (float(((one - truth) ** 2).mean()) for one in (values, reference))
    return 100 * (its - own) / max(float(truth.var()), its)


def scale_of(reference: NDArray[np.float32], task: str) -> float:
    """Return what changes of an output are held against: the largest, at least 1.

    Of a regression it is how far its answers are spread, whatever their unit and their level.
    """
    largest = float(np.abs(reference).max())
    if task != "regression":
        return max(1.0, largest)
    return max(float(reference.std(dtype=np.float64)), _OF_A_LEVEL * largest) or 1.0


def check(parity: Parity, precision: str, scale: float, elsewhere: float = 0.0) -> None:
    """Refuse an export that is out of its precision's limits.

    Args:
        parity: what was found.
        precision: of the bundle.
        scale: of the outputs, see `scale_of`.
        elsewhere: largest change at made-up inputs of other shapes.

    Raises:
        GateError: a limit is broken; the message names it and the value.
    """
    limits = LIMITS[precision]
    of_a_row = limits.max_error
    if parity.agreement is not None and limits.of_a_row is not None:
        of_a_row = limits.of_a_row
    for error, share in ((parity.max_error, of_a_row), (elsewhere, limits.max_error)):
        if not np.isfinite(error):
            raise GateError("the export answers with NaN or infinity")
        allowed = share * scale
        if error > allowed:
            raise GateError(f"outputs change by up to {error:.2g}; allowed is {allowed:.2g}")
    few = limits.rows / parity.rows
    if parity.agreement is not None and parity.agreement < min(limits.agreement, 1 - few):
        raise GateError(
            f"only {parity.agreement:.2%} of rows are answered alike; "
            f"required is {limits.agreement:.2%}"
        )
    points = max(limits.points, 100 * few)
    if parity.points_changed is not None and not abs(parity.points_changed) <= points:
        score = "R2" if parity.agreement is None else "accuracy"
        raise GateError(
            f"{score} changes by {parity.points_changed:+.2f} points; allowed is {points:g}"
        )

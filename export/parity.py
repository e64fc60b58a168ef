"""Parity: how far a bundle's answers are from the model's in PyTorch, and how far they may be."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc.errors import GateError
from bmc.precision import PRECISIONS

_SHARE_OF_LEVEL = 2e-3  # sums in fp32 have about six digits


@dataclass(frozen=True)
class Parity:
    """How far a bundle's outputs are from PyTorch's on the same rows.

    Args:
        rows: held-out rows that were compared.
        max_error: largest change of an output, in the outputs' own unit.
        mean_error: mean change of an output, in the same unit.
        cosine: cosine similarity of all outputs together.
        agreement: share of rows that get the same answer; None where there are no classes.
        points_changed: change of the accuracy, or of R2, in points; None for a generator.
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
    """Compare a bundle's outputs with PyTorch's.

    Args:
        outputs: of the bundle, (rows, ...).
        reference: of PyTorch, of the same shape.
        labels: of the rows: class indices, or numbers in a regression.
        task: "classification", "regression" or "generation".
    """
    errors = np.abs(outputs.astype(np.float64) - reference)
    flat, expected = outputs.ravel().astype(np.float64), reference.ravel().astype(np.float64)
    agreement = points_changed = None
    if task == "regression":
        points_changed = _points_of_r2(flat, expected, labels.astype(np.float64))
    if task == "classification":
        answers, expected_answers = outputs.argmax(axis=1), reference.argmax(axis=1)
        agreement = float((answers == expected_answers).mean())
        changed = float((answers == labels).mean() - (expected_answers == labels).mean())
        points_changed = 100 * changed
    norms = np.linalg.norm(flat) * np.linalg.norm(expected)
    return Parity(
        rows=len(outputs),
        max_error=float(errors.max()),
        mean_error=float(errors.mean()),
        cosine=float(flat @ expected / (norms + 1e-30)),
        agreement=agreement,
        points_changed=points_changed,
    )


def _points_of_r2(
    values: NDArray[np.float64], reference: NDArray[np.float64], truth: NDArray[np.float64]
) -> float | None:
    """Return the change of R2 in points; None where all labels are the same.

    A model that is worse than the labels' mean is measured by its own squared error instead.
    """
    if not truth.var():
        return None
    error, reference_error = (float(((y - truth) ** 2).mean()) for y in (values, reference))
    return 100 * (reference_error - error) / max(float(truth.var()), reference_error)


def scale_of(reference: NDArray[np.float32], task: str) -> float:
    """Return the scale that changes of an output are relative to.

    Args:
        reference: PyTorch's outputs, (rows, ...).
        task: "classification", "regression" or "generation".

    Returns:
        the largest output, at least 1; in a regression the standard deviation of the outputs, so
        that their unit and their level do not matter.
    """
    largest = float(np.abs(reference).max())
    if task != "regression":
        return max(1.0, largest)
    return max(float(reference.std(dtype=np.float64)), _SHARE_OF_LEVEL * largest) or 1.0


def check(parity: Parity, precision: str, scale: float, probe_error: float = 0.0) -> None:
    """Refuse an export that is out of its precision's limits.

    Args:
        parity: what was measured.
        precision: of the bundle, a key of `bmc.precision.PRECISIONS`.
        scale: of the outputs, see `scale_of`.
        probe_error: largest change of an output at made-up inputs of other shapes.

    Raises:
        GateError: a limit is broken; the message names it and the value.
    """
    limits = PRECISIONS[precision].limits
    row_limit = limits.max_error
    if parity.agreement is not None and limits.max_row_error is not None:
        row_limit = limits.max_row_error
    for error, limit in ((parity.max_error, row_limit), (probe_error, limits.max_error)):
        if not np.isfinite(error):
            raise GateError("the export answers with NaN or infinity")
        allowed = limit * scale
        if error > allowed:
            raise GateError(f"outputs change by up to {error:.2g}; allowed is {allowed:.2g}")
    free_share = limits.free_rows / parity.rows
    required = min(limits.min_agreement, 1 - free_share)
    if parity.agreement is not None and parity.agreement < required:
        raise GateError(
            f"only {parity.agreement:.2%} of rows are answered alike; "
            f"required is {limits.min_agreement:.2%}"
        )
    points = max(limits.max_points, 100 * free_share)
    if parity.points_changed is not None and not abs(parity.points_changed) <= points:
        score = "R2" if parity.agreement is None else "accuracy"
        raise GateError(
            f"{score} changes by {parity.points_changed:+.2f} points; allowed is {points:g}"
        )

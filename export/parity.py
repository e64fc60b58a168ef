"""Parity: compare a bundle's outputs with PyTorch's, and check the limits of its precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc.contracts.tasks import EMBEDDING, scoring
from bmc.contracts.tasks import task as task_of
from bmc.errors import GateError
from bmc.precision import PRECISIONS

_MIN_SPREAD = 2e-3  # of the largest output: fp32 sums have about six significant digits


@dataclass(frozen=True)
class Parity:
    """Differences between a bundle's outputs and PyTorch's on the same rows.

    Args:
        rows: held-out rows that were compared.
        max_error: largest change of an output, in the outputs' own unit.
        mean_error: mean change of an output, in the same unit.
        cosine: cosine similarity of all outputs together.
        agreement: fraction of rows with the same predicted class, or mean share of common labels;
            None where there are no classes.
        points_changed: change of the task's measure, in points; None for a generator.
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
    names: Sequence[str] = (),
) -> Parity:
    """Compare a bundle's outputs with PyTorch's.

    Args:
        outputs: the bundle's outputs (rows, ...).
        reference: PyTorch's outputs, of the same shape.
        labels: class indices of the rows, or numbers in a regression.
        task: name of the task.
        names: names of the labels, on which the scores of tags depend.
    """
    errors = np.abs(outputs.astype(np.float64) - reference)
    flat, expected = outputs.ravel().astype(np.float64), reference.ravel().astype(np.float64)
    described = task_of(task)
    agreement = points_changed = None
    if described.has_labels:
        points_changed = scoring(task, names).changed(outputs, reference, labels)
    if described.classes:
        agreement = float(described.classes.agreement(outputs, reference).mean())
    norms = np.linalg.norm(flat) * np.linalg.norm(expected)
    return Parity(
        rows=len(outputs),
        max_error=float(errors.max()),
        mean_error=float(errors.mean()),
        cosine=float(flat @ expected / (norms + 1e-30)),
        agreement=agreement,
        points_changed=points_changed,
    )


def check_reference(reference: NDArray[np.float32]) -> None:
    """Refuse a model whose own outputs are not finite: no export could be compared with them.

    Args:
        reference: PyTorch's outputs (rows, ...).

    Raises:
        GateError: an output is NaN or infinite.
    """
    bad_rows = ~np.isfinite(reference).reshape(len(reference), -1).all(axis=1)
    if bad_rows.any():
        raise GateError(
            f"the model itself outputs NaN or infinity in PyTorch, for {int(bad_rows.sum())} of "
            f"{len(reference)} rows: let it return finite numbers, such as -1e4 for a class that "
            "cannot be"
        )


def scale_of(reference: NDArray[np.float32], task: str) -> float:
    """Return the scale that changes of an output are relative to.

    Args:
        reference: PyTorch's outputs, (rows, ...).
        task: name of the task.

    Returns:
        the largest absolute output, at least 1; of sentence embeddings the largest number, since a
        vector of length 1 has small numbers. In a regression, the standard deviation of the
        outputs, which makes the limits independent of their unit and mean.
    """
    largest = float(np.abs(reference).max())
    if task == EMBEDDING:
        return largest or 1.0
    if not task_of(task).is_numeric:
        return max(1.0, largest)
    return max(float(reference.std(dtype=np.float64)), _MIN_SPREAD * largest) or 1.0


def check(
    parity: Parity,
    precision: str,
    scale: float,
    probe_error: float = 0.0,
    task: str = "classification",
    names: Sequence[str] = (),
) -> None:
    """Refuse an export that breaks a limit of its precision.

    Args:
        parity: differences on the held-out rows.
        precision: the bundle's precision, a key of `bmc.precision.PRECISIONS`.
        scale: scale of the outputs, see `scale_of`.
        probe_error: largest change of an output on probe inputs of other shapes.
        task: name of the task, whose score the message names.
        names: names of the labels, on which the score of tags depends.

    Raises:
        GateError: a limit is broken; the message names the limit and the value.
    """
    limits = PRECISIONS[precision].limits
    row_limit = limits.max_error
    if parity.agreement is not None and limits.max_row_error is not None:
        row_limit = limits.max_row_error
    for error, limit in ((parity.max_error, row_limit), (probe_error, limits.max_error)):
        if not np.isfinite(error):
            raise GateError("the export outputs NaN or infinity")
        allowed = limit * scale
        if error > allowed:
            raise GateError(f"outputs change by up to {error:.2g}; allowed is {allowed:.2g}")
    free_share = limits.free_rows / parity.rows
    required = min(limits.min_agreement, 1 - free_share)
    if parity.agreement is not None and parity.agreement < required:
        several = task_of(task).thresholds is not None
        share, minimum = f"{parity.agreement:.2%}", f"{limits.min_agreement:.2%}"
        if several:
            raise GateError(
                f"only {share} of labels of a row are predicted alike; required is {minimum}"
            )
        unit = task_of(task).unit
        raise GateError(f"only {share} of {unit} get the same prediction; required is {minimum}")
    points = max(limits.max_points, 100 * free_share)
    if parity.points_changed is not None and not abs(parity.points_changed) <= points:
        score = scoring(task, names).title
        raise GateError(
            f"{score} changes by {parity.points_changed:+.2f} points; allowed is {points:g}"
        )

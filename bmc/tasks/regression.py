"""Regression: one number for each row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bmc.contracts.tasks import LabelReading, Scoring, Task
from bmc.errors import DataError
from bmc.label_names import as_number
from bmc.measure import scores

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bmc.data import Table

Values = NDArray[np.float32]
Floats = NDArray[np.float64]


_STEPS = 16  # of float32 in the standard deviation of labels


def numbered(table: Table, name: str) -> tuple[tuple[str, ...], NDArray[Any], NDArray[Any]]:
    """Return no classes, and the numbers (rows) of a table and of its official test part.

    Raises:
        DataError: a label is no finite number, all are the same, or they are too close together.
    """
    held = table.official_test.labels if table.official_test else ()
    numbers = _as_numbers(table.labels, name)
    if len(numbers) == 1 or np.ptp(numbers) == 0:
        raise DataError(
            f"data {name!r} has only the label {numbers[0]:g}; a regression needs different ones"
        )
    largest = float(np.abs(numbers).max())
    if numbers.std() < _STEPS * float(np.spacing(np.float32(largest))):
        raise DataError(
            f"data {name!r} has labels up to {largest:g} that differ by {numbers.std():.3g} in the "
            "standard deviation, which float32 hardly tells apart; subtract a constant from them, "
            "such as their mean"
        )
    return (), numbers, _as_numbers(held, f"{name} (test part)")


def check_output(labels: Sequence[str], shape: Sequence[Any]) -> None:
    """Check that there is one output.

    Raises:
        ValueError: there is not.
    """
    if tuple(shape[1:]) != (1,):
        raise ValueError(f"a regression's outputs have shape (batch, 1), not {tuple(shape)}")


def predictions(
    outputs: Values, labels: Sequence[str], limits: Sequence[float] = ()
) -> list[float | None]:
    """Return the number of each row; None where it is not finite."""
    return [float(value) if np.isfinite(value) else None for value in outputs[:, 0]]


def all_scores(outputs: Values, labels: NDArray[Any]) -> dict[str, Any]:
    """Return MAE, MSE and R2."""
    numbers, truth = outputs[:, 0].astype(np.float64), labels.astype(np.float64)
    functions = {
        "mae": scores.mean_absolute_error,
        "mse": scores.mean_squared_error,
        "r2": scores.r2,
    }
    return {name: asdict(score(numbers, truth)) for name, score in functions.items()}


def interval(outputs: Values, labels: NDArray[Any]) -> scores.Interval:
    """Return R2 with its interval."""
    return scores.r2(outputs[:, 0].astype(np.float64), labels.astype(np.float64))


def value(outputs: Values, labels: NDArray[Any]) -> float:
    """Return R2."""
    numbers, truth = outputs[:, 0].astype(np.float64), labels.astype(np.float64)
    return scores.explained(float(((numbers - truth) ** 2).sum()), truth)


def lost(outputs: Values, reference: Values, labels: NDArray[Any]) -> scores.Interval:
    """Return the R2 lost relative to a reference, with a paired interval."""
    truth = labels.astype(np.float64)
    errors, reference_errors = ((values[:, 0] - truth) ** 2 for values in (outputs, reference))

    def loss_of_r2(rows: NDArray[np.int64]) -> float:
        by_model, by_reference = errors[rows].sum(), reference_errors[rows].sum()
        of_rows = truth[rows]
        return scores.explained(by_reference, of_rows) - scores.explained(by_model, of_rows)

    return scores.bootstrap(loss_of_r2, len(truth))


def changed(outputs: Values, reference: Values, labels: NDArray[Any]) -> float | None:
    """Return the change of R2 in points; None where all labels are the same.

    Where the model's squared error exceeds the labels' variance, the change is divided by that
    error instead of the variance.
    """
    truth = labels.astype(np.float64)
    if not truth.var():
        return None
    error, reference_error = (
        float(((values.ravel().astype(np.float64) - truth) ** 2).mean())
        for values in (outputs, reference)
    )
    return 100 * (reference_error - error) / max(float(truth.var()), reference_error)


def scorable(labels: NDArray[Any], classes: int) -> bool:
    """Tell whether labels are numbers (rows)."""
    return labels.ndim == 1 and labels.dtype.kind in "iuf"


def _row_shape(labels: Sequence[str], spec: Mapping[str, Any]) -> tuple[int, ...]:
    return (1,)


def _as_numbers(labels: Sequence[str], name: str) -> Floats:
    numbers = np.empty(len(labels))
    for index, label in enumerate(labels):
        number = as_number(label)
        if number is None:
            raise DataError(
                f"data {name!r}: row {index + 1} has the label {label!r:.40}; "
                "a regression needs a finite number"
            )
        numbers[index] = number
    return numbers


def _strata(codes: NDArray[Any]) -> NDArray[Any]:
    return np.zeros(len(codes), np.int32)


def _counts(codes: NDArray[Any], classes: int) -> NDArray[np.int64]:
    return np.zeros(classes, np.int64)


TASK = Task(
    output="values",
    row_shape=_row_shape,
    check_output=check_output,
    predictions=predictions,
    scoring=Scoring(
        measure="r2",
        title="R2",
        scores=all_scores,
        interval=interval,
        value=value,
        lost=lost,
        changed=changed,
        scorable=scorable,
    ),
    labels=LabelReading(numbered=numbered, strata=_strata, counts=_counts),
    is_numeric=True,
)

"""Classification: one class for each row."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bmc.contracts.tasks import Classes, LabelReading, Scoring, Task
from bmc.errors import DataError
from bmc.label_names import as_number, check_output, is_whole, natural
from bmc.measure import scores
from bmc.predictions import Prediction

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bmc.data import Table

Logits = NDArray[np.float32]
_FRACTIONS = 10  # a label column with more different fractions holds measurements, not classes


def numbered(table: Table, name: str) -> tuple[tuple[str, ...], NDArray[Any], NDArray[Any]]:
    """Return the classes, and class indices (rows) of a table and of its official test part.

    Raises:
        DataError: there is only one class, or the labels are no class names.
    """
    held = table.official_test.labels if table.official_test else ()
    index_of: dict[str, int] = {}
    codes, others = (
        np.fromiter((index_of.setdefault(label, len(index_of)) for label in labels), np.int32)
        for labels in (table.labels, held)
    )
    if not np.ptp(codes):
        raise DataError(
            f"data {name!r} has only the class {table.labels[0]!r} ({len(codes)} rows); "
            "a classifier needs at least two classes"
        )
    _check_names(index_of, name, table.numbers)
    classes = list(table.classes) or sorted(index_of, key=natural)
    if missing := set(classes) ^ set(index_of):
        raise DataError(
            f"data {name!r}: the classes are {', '.join(classes)}, the labels "
            f"{', '.join(sorted(index_of))}; {', '.join(sorted(missing))} is in only one of the two"
        )
    order = np.empty(len(classes), np.int32)
    order[[index_of[label] for label in classes]] = np.arange(len(classes))
    return tuple(classes), order[codes], order[others]


def counts(codes: NDArray[Any], classes: int) -> NDArray[np.int64]:
    """Return the rows of each class."""
    return np.bincount(codes, minlength=classes)


def predictions(
    outputs: Logits, labels: Sequence[str], limits: Sequence[float] = ()
) -> list[Prediction | None]:
    """Return the most probable class of each row; None where an output is not finite."""
    probabilities = _softmax(outputs)
    finite = np.logical_and.reduce(np.isfinite(outputs), axis=1)
    return [
        Prediction(labels[index], float(row[index])) if is_finite else None
        for index, row, is_finite in zip(
            probabilities.argmax(axis=1), probabilities, finite, strict=True
        )
    ]


def predicted(outputs: Logits) -> NDArray[np.int64]:
    """Return the index of the class with the largest logit: (rows)."""
    best: NDArray[np.int64] = outputs.argmax(axis=1)
    return best


def agreement(outputs: Logits, reference: Logits) -> NDArray[np.float64]:
    """Return 1 for each row for which two models predict the same class, else 0."""
    same = np.asarray(predicted(outputs) == predicted(reference))
    return same.astype(np.float64)


def confidence(outputs: Logits) -> NDArray[np.float64]:
    """Return the probability of the predicted class of each row: (rows)."""
    with np.errstate(invalid="ignore"):
        shifted = np.exp(outputs.astype(np.float64) - outputs.max(axis=1, keepdims=True))
    probabilities: NDArray[np.float64] = 1 / shifted.sum(axis=1)
    return probabilities


def margin(outputs: Logits) -> NDArray[Any]:
    """Return half of the distance between the two largest logits: (rows)."""
    if outputs.shape[1] < 2:
        return np.full(len(outputs), np.inf)
    ascending = np.sort(outputs, axis=1)
    half: NDArray[Any] = (ascending[:, -1] - ascending[:, -2]) / 2
    return half


def all_scores(outputs: Logits, labels: NDArray[Any]) -> dict[str, Any]:
    """Return accuracy, macro F1, precision and recall, the same of each class, and calibration."""
    return {
        "accuracy": asdict(scores.accuracy(outputs, labels)),
        "macro_f1": asdict(scores.macro_f1(outputs, labels)),
        **scores.class_scores(predicted(outputs), labels, outputs.shape[1]),
        "calibration_error": scores.calibration_error(outputs, labels),
    }


def value(outputs: Logits, labels: NDArray[Any]) -> float:
    """Return the accuracy."""
    return int((predicted(outputs) == labels).sum()) / len(labels)


def lost(outputs: Logits, reference: Logits, labels: NDArray[Any]) -> scores.Interval:
    """Return the accuracy lost relative to a reference, with a paired interval."""
    correct = (predicted(outputs) == labels).astype(np.float64)
    return scores.mean_of((predicted(reference) == labels) - correct)


def changed(outputs: Logits, reference: Logits, labels: NDArray[Any]) -> float:
    """Return the change of the accuracy in points."""
    accuracy = (predicted(outputs) == labels).mean()
    return 100 * float(accuracy - (predicted(reference) == labels).mean())


def scorable(labels: NDArray[Any], classes: int) -> bool:
    """Tell whether labels are class indices (rows)."""
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        return False
    return bool(labels.min() >= 0 and labels.max() < classes)


def _row_shape(labels: Sequence[str], spec: Mapping[str, Any]) -> tuple[int, ...]:
    return (len(labels),)


def _written(prediction: Prediction) -> str:
    return prediction.label or ""


def _check_names(names: Collection[str], data: str, numbers: bool) -> None:
    """Refuse class names that are fractions, except for a few in a table, such as 4.5 stars."""
    fraction = next((name for name in names if not is_whole(name)), None)
    if fraction is None or any(as_number(name) is None for name in names):
        return
    if numbers or len(names) > _FRACTIONS:
        raise DataError(
            f"data {data!r}: labels such as {fraction} are numbers, not classes ({len(names)} "
            "different ones): use --task regression, or whole numbers or names as classes"
        )


def _strata(codes: NDArray[Any]) -> NDArray[Any]:
    return codes


def _softmax(logits: Logits) -> Logits:
    with np.errstate(invalid="ignore"):  # the caller checks for NaN
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities: Logits = shifted / shifted.sum(axis=1, keepdims=True)
    return probabilities


TASK = Task(
    output="logits",
    row_shape=_row_shape,
    check_output=check_output,
    predictions=predictions,
    scoring=Scoring(
        measure="accuracy",
        title="accuracy",
        scores=all_scores,
        interval=scores.accuracy,
        value=value,
        lost=lost,
        changed=changed,
        scorable=scorable,
        kept=scores.kept,
    ),
    labels=LabelReading(numbered=numbered, strata=_strata, counts=counts),
    classes=Classes(
        agreement=agreement,
        margin=margin,
        written=_written,
        calibration_error=scores.calibration_error,
        confidence=confidence,
    ),
)

"""Several labels a row: each label is predicted or not, by a threshold of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bmc.contracts.tasks import Classes, LabelReading, Scoring, Task
from bmc.errors import DataError
from bmc.label_names import check_output, names_in, natural
from bmc.measure import label_scores, scores
from bmc.predictions import Prediction

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bmc.data import Table

Logits = NDArray[np.float32]
_FEW = 5  # rows with a label; of fewer, a threshold would be chosen by chance


def numbered(table: Table, name: str) -> tuple[tuple[str, ...], NDArray[Any], NDArray[Any]]:
    """Return the labels' names, and 0 or 1, int8 (rows, labels), of a table and its test part.

    Raises:
        DataError: the data has one label a row, or fewer than two different labels.
    """
    if not table.several:
        raise DataError(
            f"data {name!r} has one label per row; --task multilabel reads lists (.jsonl, .json, "
            ".parquet), a|b in one column, or a column of 0 and 1 for each label "
            "(--label-column a,b,c)"
        )
    held = table.official_test.labels if table.official_test else ()
    rows, held_rows = ([names_in(text) for text in texts] for texts in (table.labels, held))
    names = {label for labels in (*rows, *held_rows) for label in labels}
    found = sorted(sorted(names), key=natural)  # 1 and 01 have equal keys
    if len(found) < 2:
        named = f"only the label {found[0]!r}" if found else "no labels"
        raise DataError(
            f"data {name!r} has {named} ({len(rows)} rows); --task multilabel needs two: with "
            "one, use --task classification with two classes"
        )
    classes = tuple(table.classes) or tuple(found)
    if missing := set(found) - set(classes):
        raise DataError(
            f"data {name!r}: the classes are {', '.join(classes)}; the labels "
            f"{', '.join(sorted(missing))} are not among them"
        )
    return classes, _codes(rows, classes), _codes(held_rows, classes)


def strata(codes: NDArray[Any]) -> NDArray[np.int32]:
    """Return for each row its rarest label; a number of its own for rows without a label.

    Source: Sechidis, Tsoumakas and Vlahavas 2011, "On the Stratification of Multi-Label Data",
    section 3 (the rarest label is split first).
    """
    rows_of_label = codes.sum(axis=0)
    rarity = np.where(codes > 0, rows_of_label, np.iinfo(np.int64).max)
    rarest = rarity.argmin(axis=1)
    row_strata: NDArray[np.int32] = np.where(codes.any(axis=1), rarest, codes.shape[1])
    return row_strata.astype(np.int32)


def counts(codes: NDArray[Any], classes: int) -> NDArray[np.int64]:
    """Return the rows with each label."""
    rows: NDArray[np.int64] = codes.reshape(-1, classes).sum(axis=0, dtype=np.int64)
    return rows


def thresholds(outputs: Logits, labels: NDArray[Any]) -> tuple[float, ...]:
    """Return for each label the probability above which it is predicted: that of the best F1.

    A label of fewer than five rows keeps 0.5. A threshold lies between two probabilities that
    occur, so that small changes of the outputs change few predictions.

    Source: Yang 2001, "A Study on Thresholding Strategies for Text Categorization" (SCut).
    """
    probabilities = label_scores.sigmoid(outputs)
    return tuple(
        label_scores.best_threshold(column, truth > 0) if (truth > 0).sum() >= _FEW else 0.5
        for column, truth in zip(probabilities.T, labels.T, strict=True)
    )


def predictions(
    outputs: Logits, labels: Sequence[str], limits: Sequence[float] = ()
) -> list[tuple[Prediction, ...] | None]:
    """Return the labels of each row, most probable first; None where an output is not finite.

    Args:
        outputs: logits (rows, labels).
        labels: names of the labels.
        limits: threshold of each label; 0.5 of all when empty.
    """
    margins = scores.relative_to(outputs, limits)
    probabilities = label_scores.sigmoid(outputs)
    finite = np.logical_and.reduce(np.isfinite(outputs), axis=1)
    order = np.argsort(-probabilities, axis=1, kind="stable")
    return [
        tuple(
            Prediction(labels[label], float(probabilities[row, label]))
            for label in order[row]
            if margins[row, label] > 0
        )
        if finite[row]
        else None
        for row in range(len(outputs))
    ]


def agreement(outputs: Logits, reference: Logits) -> NDArray[np.float64]:
    """Return what share of a row's predicted labels two models have in common, float (rows).

    It is the size of the intersection over that of the union, and 1 where neither predicts a label.
    """
    first, second = outputs > 0, reference > 0
    union = (first | second).sum(axis=1)
    common: NDArray[np.float64] = np.where(
        union, (first & second).sum(axis=1) / np.maximum(union, 1), 1.0
    )
    return common


def margin(outputs: Logits) -> Logits:
    """Return the distance of a row's nearest label to its threshold: (rows)."""
    nearest: Logits = np.abs(outputs).min(axis=1)
    return nearest


def all_scores(outputs: Logits, labels: NDArray[Any]) -> dict[str, Any]:
    """Return micro and macro F1, precision, recall, exact matches, and the same of each label.

    Args:
        outputs: logits relative to the thresholds (rows, labels): above 0 a label is predicted.
        labels: 0 or 1 (rows, labels).
    """
    table = label_scores.Counted.of(outputs, labels)
    precision, recall, f1 = table.precision(), table.recall(), table.f1()
    occurs = table.actual + table.predicted > 0
    return {
        "micro_f1": asdict(label_scores.micro_f1(outputs, labels)),
        "macro_f1": asdict(label_scores.macro_f1(outputs, labels)),
        "macro_precision": label_scores.mean(precision[occurs]),
        "macro_recall": label_scores.mean(recall[occurs]),
        "exact_match": asdict(label_scores.exact_match(outputs, labels)),
        "by_class": {
            "precision": precision.tolist(),
            "recall": recall.tolist(),
            "f1": f1.tolist(),
            "rows": table.actual.tolist(),
        },
    }


def ranked(outputs: Logits, labels: NDArray[Any]) -> dict[str, Any]:
    """Return the average precision of each label, and their mean.

    Args:
        outputs: logits (rows, labels).
        labels: 0 or 1 (rows, labels).
    """
    average_precision = label_scores.average_precision(outputs, labels)
    return {
        "mean_average_precision": label_scores.mean(average_precision[labels.any(axis=0)]),
        "by_class": {"average_precision": average_precision.tolist()},
    }


def value(outputs: Logits, labels: NDArray[Any]) -> float:
    """Return the micro F1 at the thresholds that are best for these rows."""
    margins = scores.relative_to(outputs, thresholds(outputs, labels))
    return label_scores.Counted.of(margins, labels).micro_f1()


def lost(outputs: Logits, reference: Logits, labels: NDArray[Any]) -> scores.Interval:
    """Return the micro F1 lost relative to a reference, with a paired interval."""
    ours, theirs = (label_scores.by_row(each, labels) for each in (outputs, reference))
    return scores.bootstrap(
        lambda rows: label_scores.f1_of(theirs[rows]) - label_scores.f1_of(ours[rows]), len(labels)
    )


def changed(outputs: Logits, reference: Logits, labels: NDArray[Any]) -> float:
    """Return the change of the micro F1 in points."""
    ours, theirs = (label_scores.by_row(each, labels) for each in (outputs, reference))
    return 100 * (label_scores.f1_of(ours) - label_scores.f1_of(theirs))


def scorable(labels: NDArray[Any], classes: int) -> bool:
    """Tell whether labels are 0 or 1 (rows, labels)."""
    has_shape = labels.ndim == 2 and labels.shape[1] == classes
    return has_shape and labels.dtype.kind in "iu" and bool(np.isin(labels, (0, 1)).all())


def _codes(rows: Sequence[Sequence[str]], classes: Sequence[str]) -> NDArray[np.int8]:
    index_of = {label: index for index, label in enumerate(classes)}
    codes = np.zeros((len(rows), len(classes)), np.int8)
    for number, labels in enumerate(rows):
        codes[number, [index_of[label] for label in labels]] = 1
    return codes


def _row_shape(labels: Sequence[str], spec: Mapping[str, Any]) -> tuple[int, ...]:
    return (len(labels),)


def _written(prediction: Sequence[Prediction]) -> str:
    return "|".join(sorted(each.label or "" for each in prediction))


TASK = Task(
    output="logits",
    row_shape=_row_shape,
    check_output=check_output,
    predictions=predictions,
    scoring=Scoring(
        measure="micro_f1",
        title="micro F1",
        scores=all_scores,
        interval=label_scores.micro_f1,
        value=value,
        lost=lost,
        changed=changed,
        scorable=scorable,
        ranked=ranked,
    ),
    labels=LabelReading(numbered=numbered, strata=strata, counts=counts, several=True),
    classes=Classes(
        agreement=agreement,
        margin=margin,
        written=_written,
        calibration_error=label_scores.calibration_error,
    ),
    thresholds=thresholds,
)

"""Scores of models from their outputs on held-out rows, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bmc.contracts import tasks

Floats = NDArray[np.float64]
_DRAWS = 2000
_Z = 1.96  # standard deviations on each side of 95 % of a normal distribution
UNSEEN = 3.69
"""Upper 97.5 % limit of the number of rows that change, where none did: -ln(0.025)."""
_BINS = 15  # of confidence
_MATRIX = 100  # classes of a confusion matrix
_CONFUSIONS = 50  # errors that are listed of more classes
# Sums over resampled rows are products with a matrix (samples, rows) of at most so many numbers,
# 40 MB; of more rows, and of more classes, the rows of each sample are taken one by one.
_MAX_WEIGHTS = 10_000_000
_MAX_CLASSES = 32
_ROUNDING = 1e-20  # share of the squared labels below which their variance is none
_MAX_EXACT = 2**24  # float32 adds whole numbers below it exactly
NAMES = frozenset(
    {
        *("accuracy", "macro_f1", "macro_precision", "macro_recall", "by_class"),
        *("confusion", "confusions"),
        *("calibration_error", "mae", "mse", "r2", "rows"),
        *("micro_f1", "exact_match", "mean_average_precision"),
        *("recall_at_10", "spearman", "spearman_of_labels", "queries", "sentences", "pairs"),
        *("knn_accuracy", "reference_knn_accuracy"),
        *("span_f1", "span_precision", "span_recall", "word_accuracy", "by_type"),
        *("rejected", "accepted_accuracy"),
    }
)
"""Names under which the scores of a task are recorded."""


@dataclass(frozen=True)
class Interval:
    """An estimate and its 95 % interval."""

    value: float
    low: float
    high: float


class Custom(Protocol):
    """A score function of the user; see `bmc.measure.custom`."""

    @property
    def name(self) -> str:
        """The name under which the score is recorded."""

    def interval(self, outputs: NDArray[Any], labels: NDArray[Any]) -> Interval:
        """Return the score of rows, with its 95 % interval."""


def of_task(
    task: str,
    outputs: NDArray[np.float32],
    labels: NDArray[Any],
    custom: Custom | None = None,
    thresholds: Sequence[float] | NDArray[Any] = (),
    names: Sequence[str] = (),
) -> dict[str, Any]:
    """Return all scores of a task on held-out rows, as a JSON object.

    Args:
        task: name of the task; see `bmc/tasks`. Without labels it has no scores.
        outputs: outputs of the model (rows, classes or 1).
        labels: class indices or numbers (rows), or 0 and 1 (rows, labels).
        custom: score function of the user, whose score is returned first; None for none. It takes
            the outputs as they are, as in training.
        thresholds: probability of each label above which it is predicted, for the task's own
            scores; see `relative_to`.
        names: names of the labels, on which the scores of tags depend.
    """
    if not tasks.task(task).has_labels:
        return {}
    scoring = tasks.scoring(task, names)
    scores = {custom.name: asdict(custom.interval(outputs, labels))} if custom else {}
    scores |= scoring.scores(relative_to(outputs, thresholds), labels)
    ranked = scoring.ranked(outputs, labels) if scoring.ranked else {}
    if "by_class" in scores:
        ranked["by_class"] = {**scores["by_class"], **ranked.get("by_class", {})}
    return scores | ranked


def class_scores(
    predicted: NDArray[np.int64], truth: NDArray[np.int64], classes: int
) -> dict[str, Any]:
    """Return macro precision and recall, the same of each class with F1, and the confusions.

    Means are over the classes that occur among labels or predictions. Of at most 100 classes there
    is the confusion matrix, with the true classes as rows; of more, the rows of each class and the
    most frequent errors, each as true class, predicted class and count: a matrix of 10,000 classes
    has 100 million numbers.

    Args:
        predicted: predicted class of each row, int (rows).
        truth: true class of each row, int (rows).
        classes: number of classes.
    """
    correct, actual, predicted_rows = (
        np.bincount(values, minlength=classes)
        for values in (truth[predicted == truth], truth, predicted)
    )
    precision, recall = correct / np.maximum(predicted_rows, 1), correct / np.maximum(actual, 1)
    f1, occurs = 2 * correct / np.maximum(actual + predicted_rows, 1), actual + predicted_rows > 0
    ratios = {"precision": precision, "recall": recall, "f1": f1}
    by_class = {name: values.tolist() for name, values in ratios.items()}
    codes, counts = np.unique(truth * classes + predicted, return_counts=True)
    means = {
        "macro_precision": float(precision[occurs].mean()),
        "macro_recall": float(recall[occurs].mean()),
    }
    if classes <= _MATRIX:
        table = np.zeros(classes**2, np.int64)
        table[codes] = counts
        return {
            **means,
            "by_class": by_class,
            "confusion": table.reshape(classes, classes).tolist(),
        }
    errors = sorted(
        (-int(count), *divmod(int(code), classes))
        for code, count in zip(codes, counts, strict=True)
        if code // classes != code % classes
    )
    confusions = [[true, other, -count] for count, true, other in errors[:_CONFUSIONS]]
    return {**means, "by_class": {**by_class, "rows": actual.tolist()}, "confusions": confusions}


def rows_of_classes(scored: Mapping[str, Any]) -> list[int]:
    """Return the number of rows of each class, from `class_scores`."""
    rows = scored["by_class"].get("rows")
    return list(rows) if rows else [sum(counts) for counts in scored["confusion"]]


def missed_classes(scored: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Return the classes without a correctly predicted row, each with its number of rows.

    Args:
        scored: what `class_scores` returned.
    """
    recalls = zip(scored["by_class"]["recall"], rows_of_classes(scored), strict=True)
    return [(index, rows) for index, (recall, rows) in enumerate(recalls) if rows and not recall]


def worst_confusions(scored: Mapping[str, Any], most: int) -> list[tuple[int, int, int, int]]:
    """Return the most frequent errors: true class, predicted class, count, rows of the class.

    Args:
        scored: what `class_scores` returned.
        most: largest number of errors to return.
    """
    rows = rows_of_classes(scored)
    if "confusions" in scored:
        return [(true, other, n, rows[true]) for true, other, n in scored["confusions"][:most]]
    counts = np.array(scored["confusion"], np.int64)
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:most]
    pairs = (divmod(int(index), len(counts)) for index in order)
    return [
        (true, predicted, int(counts[true, predicted]), int(rows[true]))
        for true, predicted in pairs
        if counts[true, predicted]
    ]


def mean_absolute_error(values: Floats, truth: Floats) -> Interval:
    """Return the mean distance from the truth."""
    return mean_of(np.abs(values - truth))


def mean_squared_error(values: Floats, truth: Floats) -> Interval:
    """Return the mean squared distance from the truth."""
    return mean_of((values - truth) ** 2)


def r2(values: Floats, truth: Floats) -> Interval:
    """Return R2, the fraction of the truth's variance that the values explain."""

    def score(rows: NDArray[np.int64]) -> float:
        return explained(((values[rows] - truth[rows]) ** 2).sum(), truth[rows])

    return bootstrap(score, len(truth))


def explained(squared_error: float, truth: Floats) -> float:
    """Return the fraction of the truth's variance that a model explains, whatever its unit.

    Args:
        squared_error: sum of the squared errors.
        truth: the labels; where all are 0, the result is 1 without an error, else 0.
    """
    spread = float(((truth - truth.mean()) ** 2).sum())
    spread = max(spread, _ROUNDING * float((truth**2).sum()))  # equal labels: what rounding leaves
    return 1 - float(squared_error) / spread if spread else float(not squared_error)


def accuracy(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> Interval:
    """Return the fraction of correctly predicted rows."""
    return share_of((logits.argmax(axis=1) == labels).astype(np.float64))


def macro_f1(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> Interval:
    """Return the mean F1 over the classes that occur among labels or predictions.

    F1 is the harmonic mean of precision and recall.
    """
    predictions = logits.argmax(axis=1)
    classes = logits.shape[1]

    def mean_f1(correct: NDArray[Any], total: NDArray[Any]) -> float:
        return float(np.mean(2 * correct[total > 0] / total[total > 0]))

    if classes <= _MAX_CLASSES:
        names = np.arange(classes)
        true, predicted = labels[:, None] == names, predictions[:, None] == names
        columns = np.hstack([true & predicted, true.astype(np.int64) + predicted])
        resampled = _resampled_sums(columns)
        if resampled is not None:
            scores = [mean_f1(sums[:classes], sums[classes:]) for sums in resampled]
            sums = columns.sum(axis=0)
            return _interval(mean_f1(sums[:classes], sums[classes:]), scores)

    def score(rows: NDArray[np.int64]) -> float:
        true, predicted = labels[rows], predictions[rows]
        correct = np.bincount(true[true == predicted], minlength=classes)
        total = np.bincount(true, minlength=classes) + np.bincount(predicted, minlength=classes)
        return mean_f1(correct, total)

    return bootstrap(score, len(labels))


def calibration_error(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Return the expected calibration error: how far confidence and accuracy are apart, 0 to 1.

    Rows are put into 15 bins by the probability of their predicted class. The error is the mean
    over rows of the distance between accuracy and mean probability in their bin. Logits that are
    NaN or positive infinity have no probability: it counts as 0.

    Args:
        logits: logits of the model (rows, classes).
        labels: class indices (rows).

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", section 2.
    """
    with np.errstate(invalid="ignore"):
        shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    confidence = np.nan_to_num(1 / np.exp(shifted).sum(axis=1), nan=0.0)
    correct = logits.argmax(axis=1) == labels
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    gaps = np.bincount(bins, weights=correct - confidence, minlength=_BINS)
    return float(np.abs(gaps).sum() / max(len(labels), 1))


def agreement(
    logits: NDArray[np.float32],
    reference: NDArray[np.float32],
    task: str = "classification",
    labels: NDArray[Any] | None = None,
) -> Interval:
    """Return how far two models predict the same, the mean over outputs.

    Args:
        logits: logits of a model, (outputs, classes).
        reference: logits of the other model, of the same shape.
        task: name of the task.
        labels: labels of the outputs, which tell the words of a row, so that the interval resamples
            rows; None where each row has one output.

    Raises:
        ValueError: the task has no classes.
    """
    classes = tasks.task(task).classes
    if classes is None:
        raise ValueError(f"{task} predicts no classes")
    values = classes.agreement(logits, reference)
    if classes.row_starts is None or labels is None:
        return share_of(values)
    return mean_of_rows(values, classes.row_starts(labels))


def relative_to(outputs: NDArray[Any], thresholds: Sequence[float] | NDArray[Any]) -> NDArray[Any]:
    """Return logits minus those of the thresholds: above 0 a label is predicted.

    Args:
        outputs: outputs of a model (rows, labels).
        thresholds: probability of each label above which it is predicted (labels), of each row
            where outputs of several models are scored together (rows, labels); none where the task
            has no thresholds, and the outputs stay as they are.
    """
    if not np.size(thresholds):
        return outputs
    probabilities = np.array(thresholds, np.float64)
    logits = np.log(probabilities / (1 - probabilities)).astype(outputs.dtype)
    relative: NDArray[Any] = outputs - logits
    return relative


def kept(
    logits: NDArray[np.float32], reference: NDArray[np.float32], labels: NDArray[np.int64]
) -> Interval:
    """Return the ratio of two models' accuracies on the same rows, with a paired interval.

    Args:
        logits: logits of the model in the numerator (rows, classes).
        reference: logits of the reference (rows, classes).
        labels: class indices (rows).
    """
    correct = (logits.argmax(axis=1) == labels).astype(np.float64)
    reference_correct = (reference.argmax(axis=1) == labels).astype(np.float64)

    count = len(labels)
    resampled = _resampled_sums(np.column_stack([correct, reference_correct]))
    if resampled is not None:
        ratios = (resampled[:, 0] / count) / np.maximum(resampled[:, 1] / count, 1e-9)
        value = float(correct.mean() / max(reference_correct.mean(), 1e-9))
        return _interval(value, ratios)

    def ratio(rows: NDArray[np.int64]) -> float:
        return float(correct[rows].mean() / max(reference_correct[rows].mean(), 1e-9))

    return bootstrap(ratio, count)


def lost(
    task: str,
    outputs: NDArray[np.float32],
    reference: NDArray[np.float32],
    labels: NDArray[Any],
    names: Sequence[str] = (),
) -> Interval:
    """Return how much of a task's measure is lost relative to a reference, with a paired interval.

    Where the outputs differ, and no row is more or less right, the upper end allows for rows that
    were not seen.

    Args:
        task: name of a task with labels.
        outputs: outputs of the model (rows, classes or 1).
        reference: outputs of the reference, of the same shape.
        labels: class indices or numbers (rows).
        names: names of the labels, on which the scores of tags depend.
    """
    interval = tasks.scoring(task, names).lost(outputs, reference, labels)
    if interval.low == interval.high and len(labels) and not np.array_equal(outputs, reference):
        classes = tasks.task(task).classes
        starts = classes.row_starts if classes else None
        rows = len(starts(labels)) if starts else len(labels)
        return replace(interval, high=interval.high + UNSEEN / rows)
    return interval


def share_of(values: Floats) -> Interval:
    """Return the mean of values from 0 to 1 (rows) with its interval.

    Where all rows are right, or all wrong, so is each sample of a bootstrap, which tells nothing
    about other rows; the interval of such a share is Wilson's.

    Source: Wilson 1927, "Probable Inference, the Law of Succession, and Statistical Inference".
    """
    if len(values) and (values == values[0]).all() and values[0] in (0.0, 1.0):
        beyond = _Z**2 / (len(values) + _Z**2)
        low, high = (1 - beyond, 1.0) if values[0] else (0.0, beyond)
        return Interval(float(values[0]), low, high)
    return mean_of(values)


def mean_of(values: Floats) -> Interval:
    """Return the mean of values (rows) with its bootstrap interval."""
    sums = _resampled_sums(values[:, None])
    if sums is not None:
        return _interval(float(values.mean()), sums[:, 0] / len(values))
    return bootstrap(lambda rows: float(values[rows].mean()), len(values))


def mean_of_rows(values: Floats, starts: NDArray[np.int64]) -> Interval:
    """Return the mean of values of rows, with a bootstrap interval that resamples whole rows.

    Args:
        values: one or several values of each row, those of a row one after the other.
        starts: index of the first value of each row.
    """
    if len(np.unique(values)) == 1:
        return share_of(np.full(len(starts), values[0]))
    sums = np.add.reduceat(values, starts)
    counts = np.diff(np.append(starts, len(values)))
    return bootstrap(lambda rows: float(sums[rows].sum() / counts[rows].sum()), len(starts))


def bootstrap(score: Callable[[NDArray[np.int64]], float], rows: int) -> Interval:
    """Return a score of all rows with its 95 % bootstrap interval.

    Args:
        score: function of row indices (rows).
        rows: number of rows.
    """
    generator = np.random.default_rng(0)
    resampled = [score(generator.integers(0, rows, rows)) for _ in range(_DRAWS)]
    return _interval(score(np.arange(rows)), resampled)


def _interval(value: float, resampled: Sequence[float] | Floats) -> Interval:
    low, high = np.percentile(resampled, [2.5, 97.5])
    return Interval(float(value), float(low), float(high))


def _resampled_sums(columns: NDArray[Any]) -> Floats | None:
    """Return the sums of columns over the rows of each bootstrap sample, (samples, columns).

    The samples are those of `bootstrap`, and the sums are exact: all numbers are whole.

    Args:
        columns: a few numbers of each row, (rows, columns).

    Returns:
        None where numbers are not whole, negative or too large, or there are too many rows.
    """
    rows = len(columns)
    if _DRAWS * rows > _MAX_WEIGHTS or columns.size == 0:
        return None
    is_whole = bool((columns >= 0).all()) and bool((columns == np.rint(columns)).all())
    if not is_whole or columns.max() * rows >= _MAX_EXACT:
        return None
    sums: Floats = (_sample_counts(rows) @ columns.astype(np.float32)).astype(np.float64)
    return sums


@lru_cache(maxsize=1)
def _sample_counts(rows: int) -> NDArray[np.float32]:
    """Return how often each row is in each sample of `bootstrap`: (samples, rows)."""
    generator = np.random.default_rng(0)
    counts = np.empty((_DRAWS, rows), np.float32)
    for sample in counts:
        sample[:] = np.bincount(generator.integers(0, rows, rows), minlength=rows)
    return counts

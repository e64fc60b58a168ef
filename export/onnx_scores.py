"""Scores of an ONNX file and of its bundles on labeled samples."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc.errors import DataError, ModelCodeError, UsageError
from bmc.measure.scores import Interval
from bmc.onnx_models.samples import Samples
from bmc.user_code import line_of, summary_of

Arrays = Mapping[str, NDArray[Any]]
ScoreFunction = Callable[[Sequence[Arrays], Sequence[NDArray[Any]]], Any]
"""Function of the outputs and the labels of each sample. It returns a number; higher is better."""
_SMALLEST_SPREAD = 1e-12  # of the squares of labels: rounding
_MATRIX = 2  # axes
_FEW_COLUMNS = 16


class Tally(ABC):
    """What is kept of the outputs until all samples have been computed.

    Args:
        calls: number of samples.
    """

    draws = 1000
    """Number of bootstrap samples."""

    def __init__(self, calls: int) -> None:
        self._calls = calls

    @abstractmethod
    def add(self, index: int, outputs: Arrays) -> None:
        """Take the outputs of a sample."""

    @abstractmethod
    def score(self, calls: NDArray[np.int64]) -> float:
        """Return the score of the samples with these indices."""

    @cached_property
    def value(self) -> float:
        """The score of all samples."""
        return self.score(np.arange(self._calls))

    @cached_property
    def resampled(self) -> NDArray[np.float64]:
        """Scores of bootstrap samples, the same ones in every tally; NaN where there is none."""
        generator = np.random.default_rng(0)
        scores = []
        for _ in range(self.draws):
            calls = generator.integers(0, self._calls, self._calls)
            try:
                scores.append(self.score(calls))
            except ModelCodeError:  # for example, the draw may lack a class
                scores.append(float("nan"))
        return np.array(scores)

    def interval(self) -> Interval:
        """Return the score of all samples, with its 95 % bootstrap interval."""
        return _interval(self.value, self.resampled)

    def lost(self, original: Tally) -> Interval:
        """Return the points that are lost against another tally, with their paired interval.

        Where no bootstrap sample differs from the others, nothing that is rarer than one in a third
        of the samples can be seen: the interval then ends at three samples (the rule of three).
        """
        differences = 100 * (original.resampled - self.resampled)
        lost = _interval(100 * (original.value - self.value), differences)
        if lost.low == lost.high:
            return replace(lost, high=lost.high + 300 / self._calls)
        return lost


def _interval(value: float, resampled: NDArray[np.float64]) -> Interval:
    scores = resampled[np.isfinite(resampled)]
    low, high = np.percentile(scores, [2.5, 97.5]) if scores.size else (value, value)
    return Interval(value, float(low), float(high))


@dataclass(frozen=True)
class Scorer:
    """How outputs are scored.

    Args:
        name: name of the score, such as "accuracy".
        tally: function that returns an empty tally.
        output: the output that is scored; "" for a function, which takes all outputs.
        baseline: score of the same answer for every label; None where it is not known.
    """

    name: str
    tally: Callable[[], Tally]
    output: str = ""
    baseline: float | None = None


def scorer_of(
    samples: Samples,
    outputs: Arrays,
    logits: Collection[str],
    function: ScoreFunction | None = None,
    thresholds: Mapping[str, float] = MappingProxyType({}),
) -> Scorer:
    """Return how the outputs of labeled samples are scored.

    Whole numbers are class indices, and are scored by accuracy; negative ones are ignored. Floats
    are values, and are scored by R2.

    Args:
        samples: samples with labels.
        outputs: outputs of the first sample.
        logits: names of outputs that hold logits; they are scored before others.
        function: score function of the user, in place of accuracy and R2.
        thresholds: outputs that tell two classes apart with one value, and the value above which
            the class is 1.

    Raises:
        UsageError: the labels fit no output.
        DataError: a label is not a class of the output.
    """
    if function is not None:
        name = getattr(function, "__name__", "score")
        return Scorer(name, partial(_FunctionTally, name, function, samples.labels))
    first = samples.labels[0]
    is_class = first.dtype.kind in "biu"
    if not is_class and first.dtype.kind != "f":
        raise DataError(f"the labels are {first.dtype}; give class indices or numbers")
    for name in sorted(outputs, key=lambda name: name not in logits):
        values = outputs[name]
        if is_class and (classes := _classes_of(values, first)) is not None:
            _check_classes(samples, name, classes)
            tally = partial(_Accuracy, name, samples.labels)
            return Scorer("accuracy", tally, name, _most_frequent(samples))
        if is_class and name in thresholds and _are_binary(values, samples):
            _check_classes(samples, name, 2)
            tally = partial(_Accuracy, name, samples.labels, thresholds[name])
            return Scorer("accuracy", tally, name, _most_frequent(samples))
        if not is_class and values.size == first.size and values.dtype.kind == "f":
            columns = values.shape[1] if values.ndim == _MATRIX else 1
            return Scorer("r2", partial(_R2, name, columns, samples.labels), name, 0.0)
    shapes = ", ".join(f"{name} {array.shape}" for name, array in outputs.items())
    raise UsageError(
        f"labels of shape {first.shape} a sample fit no output ({shapes:.200}): class indices have "
        "the shape of an output without its axis of classes, numbers (floats) that of an output. "
        "In Python, quantize(score=FUNCTION) scores outputs of any shape"
    )


def _classes_of(values: NDArray[Any], labels: NDArray[Any]) -> int | None:
    """Return an output's number of classes, 0 where it holds class indices; None if none fits."""
    if values.dtype.kind in "iu" and values.size == labels.size:
        return 0
    axis = _class_axis(values, labels) if values.dtype.kind == "f" else None
    return None if axis is None else int(values.shape[axis])


def _class_axis(values: NDArray[Any], labels: NDArray[Any]) -> int | None:
    """Return the axis of the classes: the last one, or 1 as in maps of a segmentation.

    Without it the output has the shape of the labels, apart from axes of one entry. Rows of a
    matrix may be labels of several axes.

    Returns:
        None where there is no such axis.
    """
    for axis in (values.ndim - 1, 1):
        if 0 <= axis < values.ndim and values.shape[axis] > 1:
            rest = values.shape[:axis] + values.shape[axis + 1 :]
            if _without_ones(rest) == _without_ones(labels.shape):
                return axis
    is_flat = values.ndim == 2 and values.shape[1] > 1 and len(values) == labels.size
    return 1 if is_flat else None


def _without_ones(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)


def _are_binary(values: NDArray[Any], samples: Samples) -> bool:
    """Tell whether labels are 0 and 1 (or ignored), one for each value of an output."""
    if _without_ones(values.shape) != _without_ones(samples.labels[0].shape):
        return False
    return all(int(labels.max(initial=0)) <= 1 for labels in samples.labels)


def _most_frequent(samples: Samples) -> float:
    """Return the share of the most frequent label."""
    labels = np.concatenate([each.ravel() for each in samples.labels]).astype(np.int64)
    counts = np.bincount(labels[labels >= 0])
    return float(counts.max() / counts.sum())


def _check_classes(samples: Samples, output: str, classes: int) -> None:
    largest = max(int(labels.astype(np.int64).max(initial=-1)) for labels in samples.labels)
    if classes and largest >= classes:
        raise DataError(f"a label is {largest}, and output {output!r} has {classes} classes")
    if all((labels < 0).all() for labels in samples.labels):
        raise DataError("all labels are negative, so there is nothing to score")


class _Accuracy(Tally):
    """The share of labels that the largest value predicts, or a value above a threshold."""

    def __init__(
        self, output: str, labels: Sequence[NDArray[Any]], threshold: float | None = None
    ) -> None:
        super().__init__(len(labels))
        self._output, self._labels, self._threshold = output, labels, threshold
        self._correct, self._counts = (np.zeros(len(labels), np.int64) for _ in range(2))

    def add(self, index: int, outputs: Arrays) -> None:
        labels = self._labels[index].astype(np.int64)
        predicted = self._predicted(outputs[self._output], labels)
        self._counts[index] = (labels >= 0).sum()
        if predicted is not None and predicted.size == labels.size:
            is_right = predicted.ravel() == labels.ravel()
            self._correct[index] = is_right[labels.ravel() >= 0].sum()

    def _predicted(self, values: NDArray[Any], labels: NDArray[Any]) -> NDArray[Any] | None:
        if self._threshold is not None:
            return values > self._threshold
        if values.dtype.kind != "f":
            return values
        axis = _class_axis(values, labels)
        return None if axis is None else values.argmax(axis=axis)

    def score(self, calls: NDArray[np.int64]) -> float:
        return float(self._correct[calls].sum() / max(int(self._counts[calls].sum()), 1))


class _R2(Tally):
    """The share of the labels' variance that the values explain, the mean over columns.

    Each column of an output (rows, columns) counts alike, so that a price beside a number of rooms
    does not hide it; labels that are all the same count 1 without an error, and 0 with one, as in
    scikit-learn's `r2_score`.

    Args:
        output: name of the output.
        columns: its number of columns.
        labels: labels of each sample.
    """

    def __init__(self, output: str, columns: int, labels: Sequence[NDArray[Any]]) -> None:
        super().__init__(len(labels))
        self._output = output
        fits = all(each.size % columns == 0 for each in labels)
        self._columns = columns if fits and columns <= _FEW_COLUMNS else 1
        self._truth = [each.astype(np.float64).reshape(-1, self._columns) for each in labels]
        self._center = np.concatenate(self._truth).mean(axis=0)
        # Of each sample and column: squared errors; number, sum and squares of centered labels.
        self._sums = np.zeros((len(labels), 4, self._columns))

    def add(self, index: int, outputs: Arrays) -> None:
        values, truth = outputs[self._output].astype(np.float64).ravel(), self._truth[index]
        errors = np.full(self._columns, np.inf)
        if values.size == truth.size:
            errors = ((values.reshape(truth.shape) - truth) ** 2).sum(axis=0)
        centered = truth - self._center
        self._sums[index, 0] = errors
        self._sums[index, 1] = len(truth)
        self._sums[index, 2:] = centered.sum(axis=0), (centered**2).sum(axis=0)

    def score(self, calls: NDArray[np.int64]) -> float:
        error, count, total, squares = self._sums[calls].sum(axis=0)
        spread = squares - total**2 / np.maximum(count, 1)
        varies = spread > _SMALLEST_SPREAD * np.maximum(squares, _SMALLEST_SPREAD)
        explained = 1 - np.divide(error, spread, out=(error > 0).astype(np.float64), where=varies)
        return float(explained.mean())


class _FunctionTally(Tally):
    """The outputs of all samples, for a function of the user."""

    draws = 100  # the function may be slow

    def __init__(self, name: str, function: ScoreFunction, labels: Sequence[NDArray[Any]]) -> None:
        super().__init__(len(labels))
        self._name, self._function, self._labels = name, function, labels
        self._outputs: dict[int, Arrays] = {}

    def add(self, index: int, outputs: Arrays) -> None:
        self._outputs[index] = outputs

    def score(self, calls: NDArray[np.int64]) -> float:
        outputs = [self._outputs[index] for index in calls.tolist()]
        labels = [self._labels[index] for index in calls.tolist()]
        try:
            score = float(self._function(outputs, labels))
        except Exception as error:  # the user's code may raise any error
            where = line_of(error) or "its own code"
            raise ModelCodeError(
                f"the score function {self._name} fails in {where}: {summary_of(error)}"
            ) from error
        if not np.isfinite(score):
            raise ModelCodeError(
                f"the score function {self._name} returns {score}; it must return a finite number"
            )
        return score

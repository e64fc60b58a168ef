"""Scores of an ONNX file and of its bundles on labeled samples."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bmc.errors import DataError, ModelCodeError, UsageError
from bmc.measure.scores import Interval, bootstrap, r2
from bmc.onnx_models.samples import Samples
from bmc.user_code import line_of, summary_of

Arrays = Mapping[str, NDArray[Any]]
ScoreFunction = Callable[[Sequence[Arrays], Sequence[NDArray[Any]]], Any]
"""Function of the outputs and the labels of each sample. It returns a number; higher is better."""
_DRAWS = 100  # bootstrap samples of a user's function, which may be slow


class Tally(Protocol):
    """What is kept of the outputs until all samples have been computed."""

    def add(self, index: int, outputs: Arrays) -> None:
        """Take the outputs of a sample."""

    def interval(self) -> Interval:
        """Return the score of all samples, with its 95 % bootstrap interval."""


@dataclass(frozen=True)
class Scorer:
    """How outputs are scored.

    Args:
        name: name of the score, such as "accuracy".
        tally: function that returns an empty tally.
    """

    name: str
    tally: Callable[[], Tally]


def scorer_of(
    samples: Samples,
    outputs: Arrays,
    logits: Collection[str],
    function: ScoreFunction | None = None,
) -> Scorer:
    """Return how the outputs of labeled samples are scored.

    Whole numbers are class indices, and are scored by accuracy; negative ones are ignored. Floats
    are values, and are scored by R2.

    Args:
        samples: samples with labels.
        outputs: outputs of the first sample.
        logits: names of outputs that hold logits; they are scored before others.
        function: score function of the user, in place of accuracy and R2.

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
            return Scorer("accuracy", partial(_Accuracy, name, samples.labels))
        if not is_class and values.size == first.size and values.dtype.kind == "f":
            return Scorer("r2", partial(_R2, name, samples.labels))
    shapes = ", ".join(f"{name} {array.shape}" for name, array in outputs.items())
    raise UsageError(
        f"labels of shape {first.shape} a sample fit no output ({shapes:.200}): class indices have "
        "the shape of an output without its axis of classes, numbers that of an output. In Python, "
        "quantize(score=FUNCTION) scores outputs of any shape"
    )


def _classes_of(values: NDArray[Any], labels: NDArray[Any]) -> int | None:
    """Return an output's number of classes, 0 where it holds class indices; None if none fits."""
    if values.dtype.kind in "iu" and values.size == labels.size:
        return 0
    if values.dtype.kind == "f" and values.ndim:
        axis = _class_axis(values, labels)
        classes = int(values.shape[axis])
        if classes > 1 and values.size == classes * labels.size:
            return classes
    return None


def _class_axis(values: NDArray[Any], labels: NDArray[Any]) -> int:
    """Return the axis of the classes: 1 for the maps of a segmentation, else the last one."""
    is_map = values.ndim > 2 and values.shape[2:] == labels.shape[1:]
    return 1 if is_map and values.shape[:-1] != labels.shape else -1


def _check_classes(samples: Samples, output: str, classes: int) -> None:
    largest = max(int(labels.max(initial=-1)) for labels in samples.labels)
    if classes and largest >= classes:
        raise DataError(f"a label is {largest}, and output {output!r} has {classes} classes")
    if all((labels < 0).all() for labels in samples.labels):
        raise DataError("all labels are negative, so there is nothing to score")


class _Accuracy:
    """The share of labels that the largest value predicts."""

    def __init__(self, output: str, labels: Sequence[NDArray[Any]]) -> None:
        self._output, self._labels = output, labels
        self._correct, self._counts = (np.zeros(len(labels), np.int64) for _ in range(2))

    def add(self, index: int, outputs: Arrays) -> None:
        values, labels = outputs[self._output], self._labels[index]
        if values.dtype.kind == "f":
            values = values.argmax(axis=_class_axis(values, labels))
        predicted, truth = values.ravel(), labels.ravel().astype(np.int64)
        self._correct[index] = (predicted == truth)[truth >= 0].sum()
        self._counts[index] = (truth >= 0).sum()

    def interval(self) -> Interval:
        def accuracy(calls: NDArray[np.int64]) -> float:
            return float(self._correct[calls].sum() / max(int(self._counts[calls].sum()), 1))

        return bootstrap(accuracy, len(self._labels))


class _R2:
    """The share of the labels' variance that the values explain."""

    def __init__(self, output: str, labels: Sequence[NDArray[Any]]) -> None:
        self._output = output
        self._truth = np.concatenate([each.ravel() for each in labels]).astype(np.float64)
        self._values: dict[int, NDArray[np.float64]] = {}

    def add(self, index: int, outputs: Arrays) -> None:
        self._values[index] = outputs[self._output].astype(np.float64).ravel()

    def interval(self) -> Interval:
        return r2(np.concatenate([self._values[index] for index in sorted(self._values)]),
                  self._truth)  # fmt: skip


class _FunctionTally:
    """The outputs of all samples, for a function of the user."""

    def __init__(self, name: str, function: ScoreFunction, labels: Sequence[NDArray[Any]]) -> None:
        self._name, self._function, self._labels = name, function, labels
        self._outputs: dict[int, Arrays] = {}

    def add(self, index: int, outputs: Arrays) -> None:
        self._outputs[index] = outputs

    def interval(self) -> Interval:
        value = self._value(range(len(self._labels)))
        generator = np.random.default_rng(0)
        resampled = []
        for _ in range(_DRAWS):
            calls = generator.integers(0, len(self._labels), len(self._labels))
            try:
                resampled.append(self._value(calls.tolist()))
            except ModelCodeError:  # for example, the draw may lack a class
                continue
        low, high = np.percentile(resampled, [2.5, 97.5]) if resampled else (value, value)
        return Interval(value, float(low), float(high))

    def _value(self, calls: Sequence[int]) -> float:
        outputs = [self._outputs[index] for index in calls]
        labels = [self._labels[index] for index in calls]
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

"""Contracts of tasks: what the labels are, and what outputs, losses, scores and answers follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from bmc.contracts.base import Contract, function, instance_of, value
from bmc.plugins import Kind

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from bmc.data import Labels as LabelsOfRows
    from bmc.data import Table
    from bmc.inputs.words import Words
    from bmc.measure.scores import Interval
    from bmc.model import Loss
    from bmc.training.settings import TrainingSettings

    Numbered = tuple[tuple[str, ...], NDArray[Any], NDArray[Any]]
    Outputs = NDArray[np.float32]
    Labels = NDArray[Any]

GENERATION = "generation"
"""The task of generators: their family sets it, whatever labels the data has."""
EMBEDDING = "embedding"
"""The task of sentence embeddings, whose outputs are compared with a reference model's vectors."""
TOKENS = "tokens"
"""The task of rows of words with a tag each."""
TENSORS = "tensors"
"""The task of ONNX files of other tools; only bundles have it."""


@dataclass(frozen=True, kw_only=True)
class Scoring(Contract):
    """The scores of a task whose rows have labels.

    Args:
        measure: name of the score by which models are chosen and compared, such as "accuracy".
        title: the same for people, such as "R2".
        scores: function that returns all scores of outputs (rows, ...) and labels (rows, ...), as
            a JSON object.
        interval: function that returns the measure with its 95 % interval.
        value: function that returns the measure alone, which is fast.
        lost: function that returns how much lower the measure of outputs is than that of reference
            outputs, with a paired interval.
        changed: function that returns the change of the measure from reference outputs, in points;
            None where it is not defined.
        scorable: function of the labels (rows, ...) that a bundle records, and the number of
            classes, that tells whether outputs can be scored by them.
        kept: function that returns the ratio of the measure of outputs to that of reference
            outputs, with a paired interval; None where no report shows such a ratio.
        ranked: function of outputs as they are and labels that returns the scores that do not
            depend on thresholds, in the form of `scores`; None where there are none.
    """

    measure: str = field(metadata=value(str))
    title: str = field(metadata=value(str))
    scores: Callable[[Outputs, Labels], dict[str, Any]] = field(
        metadata=function("outputs", "labels")
    )
    interval: Callable[[Outputs, Labels], Interval] = field(metadata=function("outputs", "labels"))
    value: Callable[[Outputs, Labels], float] = field(metadata=function("outputs", "labels"))
    lost: Callable[[Outputs, Outputs, Labels], Interval] = field(
        metadata=function("outputs", "reference", "labels")
    )
    changed: Callable[[Outputs, Outputs, Labels], float | None] = field(
        metadata=function("outputs", "reference", "labels")
    )
    scorable: Callable[[Labels, int], bool] = field(metadata=function("labels", "classes"))
    kept: Callable[[Outputs, Outputs, Labels], Interval] | None = field(
        default=None, metadata=function("outputs", "reference", "labels")
    )
    ranked: Callable[[Outputs, Labels], dict[str, Any]] | None = field(
        default=None, metadata=function("outputs", "labels")
    )


@dataclass(frozen=True, kw_only=True)
class LabelReading(Contract):
    """How the labels of a table become numbers.

    Args:
        numbered: function that returns the names of the classes, and as numbers the labels of a
            table and of its official test part. It takes the table and the data's name.
        strata: function of labels as numbers (rows, ...) that returns a number for each row; the
            rows of each number are split in the same shares.
        counts: function of labels as numbers (rows, ...) and the number of classes that returns
            the rows of each class: int (classes).
        several: whether a row has a set of labels, which readers write as one text; see
            `bmc.label_names.joined`.
        optional: whether data without a column of labels is read, too; a missing label is "".
        of_rows: function of labels as numbers that returns the labels of `Examples`; None where
            they are class indices, numbers, or 0 and 1 for each label.
    """

    numbered: Callable[[Table, str], Numbered] = field(metadata=function("table", "name"))
    strata: Callable[[Labels], Labels] = field(metadata=function("codes"))
    counts: Callable[[Labels, int], Labels] = field(metadata=function("codes", "classes"))
    several: bool = field(default=False, metadata=value(bool))
    optional: bool = field(default=False, metadata=value(bool))
    of_rows: Callable[[Labels], LabelsOfRows] | None = field(
        default=None, metadata=function("codes")
    )


@dataclass(frozen=True, kw_only=True)
class Classes(Contract):
    """The predictions of a task whose outputs are logits of classes.

    Args:
        agreement: function of the outputs of two models that returns how far their predictions of
            each row agree: float (rows), 0 to 1.
        margin: function of outputs that returns how far each of a row's outputs may change without
            changing the prediction: float (rows).
        written: function of one row's prediction that returns it as text.
        calibration_error: function of outputs and labels that returns how far probabilities and
            frequencies are apart, 0 to 1.
        row_starts: function of labels that returns the index of the first output of each row; None
            where each row has one output.
        confidence: function of outputs that returns the probability of each row's predicted class:
            float64 (rows). Below a threshold, a bundle predicts no class. None where a row does
            not have exactly one class.
    """

    agreement: Callable[[Outputs, Outputs], Labels] = field(
        metadata=function("outputs", "reference")
    )
    margin: Callable[[Outputs], Outputs] = field(metadata=function("outputs"))
    written: Callable[[Any], str] = field(metadata=function("prediction"))
    calibration_error: Callable[[Outputs, Labels], float] = field(
        metadata=function("outputs", "labels")
    )
    row_starts: Callable[[Labels], Labels] | None = field(default=None, metadata=function("labels"))
    confidence: Callable[[Outputs], NDArray[np.float64]] | None = field(
        default=None, metadata=function("outputs")
    )


@dataclass(frozen=True, kw_only=True)
class Task(Contract):
    """Describe a task; the file `bmc/tasks/NAME.py` ends with `TASK = Task(...)`.

    The file must not import torch: on a device it turns a bundle's outputs into predictions.

    Args:
        output: name of the output tensor, such as "logits".
        row_shape: function of the labels' names and the model's spec that returns the shape of the
            output of one row; a dynamic axis has its name.
        check_output: function of the labels' names and the shape of a bundle's output that raises
            a ValueError if they do not fit.
        predictions: function of outputs (rows, ...), the labels' names and the thresholds that
            returns the prediction of each row; None for a row with an output that is not finite.
        scoring: scores of the task; None where rows have no labels.
        labels: how labels are read; None where rows have no labels.
        classes: predictions of classes; None where outputs are no logits.
        is_numeric: whether a label is a number of any scale, which training standardizes.
        thresholds: function of outputs and labels of validation rows that returns for each label
            the probability above which it is predicted; None where the largest output decides.
            Scores and classes take outputs relative to them; see `bmc.measure.scores.relative_to`.
        scoring_of: function of the labels' names that returns the scores, where these depend on
            the names; None where `scoring` holds for all.
        unit: what has an output each, in messages: "rows" or "words".
        of_words: function of the words of a row, of the prediction of each and of the labels'
            names that returns the prediction of the row; None where a row has one output.
    """

    output: str = field(metadata=value(str))
    row_shape: Callable[[Sequence[str], Mapping[str, Any]], tuple[int | str, ...]] = field(
        metadata=function("labels", "spec")
    )
    check_output: Callable[[Sequence[str], Sequence[Any]], None] = field(
        metadata=function("labels", "shape")
    )
    predictions: Callable[[Outputs, Sequence[str], Sequence[float]], list[Any]] = field(
        metadata=function("outputs", "labels", "limits")
    )
    scoring: Scoring | None = field(default=None, metadata=value(Scoring))
    labels: LabelReading | None = field(default=None, metadata=value(LabelReading))
    classes: Classes | None = field(default=None, metadata=value(Classes))
    is_numeric: bool = field(default=False, metadata=value(bool))
    thresholds: Callable[[Outputs, Labels], tuple[float, ...]] | None = field(
        default=None, metadata=function("outputs", "labels")
    )
    scoring_of: Callable[[Sequence[str]], Scoring] | None = field(
        default=None, metadata=function("labels")
    )
    unit: str = field(default="rows", metadata=value(str))
    of_words: Callable[[Words, Sequence[Any], Sequence[str]], Any] | None = field(
        default=None, metadata=function("words", "predictions", "labels")
    )

    @property
    def has_labels(self) -> bool:
        """Tell whether rows have labels, by which models are trained and scored."""
        return self.scoring is not None


@dataclass(frozen=True, kw_only=True)
class Objective(Contract):
    """What a task trains on; the file `bmc/objectives/NAME.py` ends with `OBJECTIVE = ...`.

    Labels are int64 class indices (rows) with -1 for a row without a label, or float32 (rows, ...)
    with NaN for one. Where words have labels, rows are words: int64 (words, 2), the tag and the
    number of the word's row.

    Args:
        loss: function that returns the loss of a task, a function of outputs and a batch: that of
            the rows with a label, divided by the number of all rows. It takes the training
            settings, the labels of the training rows, and the number of classes.
        labeled: function of labels that tells which rows have one: bool (rows).
        soft_loss: function of a student's outputs, a teacher's and a temperature that returns how
            far they are apart, the mean over rows.
        divergence: function of outputs and reference outputs that returns how far they are apart:
            (rows).
        same: function of a student's outputs and a teacher's that tells which rows have the same
            prediction: bool (rows); None without classes.
        mixture: function of the logits of several teachers, (teachers, rows, classes), and of
            their shares, (teachers, 1, 1), that returns the logits of their mean probabilities;
            None without classes.
        likelihood: function of such logits and of labels that returns which probability each
            teacher gives to each label, (teachers, ...); None without classes.
    """

    loss: Callable[[TrainingSettings, Sequence[Any], int], Loss] = field(
        metadata=function("settings", "labels", "classes")
    )
    labeled: Callable[[Tensor], Tensor] = field(metadata=function("labels"))
    soft_loss: Callable[[Tensor, Tensor, float], Tensor] = field(
        metadata=function("student", "teacher", "temperature")
    )
    divergence: Callable[[Tensor, Tensor], Tensor] = field(
        metadata=function("outputs", "reference")
    )
    same: Callable[[Tensor, Tensor], Tensor] | None = field(
        default=None, metadata=function("student", "teacher")
    )
    mixture: Callable[[Tensor, Tensor], Tensor] | None = field(
        default=None, metadata=function("logits", "shares")
    )
    likelihood: Callable[[Tensor, Tensor], Tensor] | None = field(
        default=None, metadata=function("logits", "labels")
    )


TASKS = Kind("task", "bmc.tasks", "bmc.tasks", "TASK", instance_of(Task, "TASK"))
OBJECTIVES = Kind(
    "objective",
    "bmc.objectives",
    "bmc.objectives",
    "OBJECTIVE",
    instance_of(Objective, "OBJECTIVE"),
)


@lru_cache(maxsize=16)
def task(name: str) -> Task:
    """Return a task by its name; see `Kind.load` for the errors."""
    return TASKS.load(name)


@lru_cache(maxsize=16)
def objective(name: str) -> Objective:
    """Return what a task trains on, by the task's name; see `Kind.load` for the errors."""
    return OBJECTIVES.load(name)


def scoring(name: str, labels: Sequence[str] = ()) -> Scoring:
    """Return the scores of a task whose rows have labels.

    Args:
        name: name of the task.
        labels: names of the labels, on which the scores of tags depend.

    Raises:
        ValueError: its rows have none.
    """
    described = task(name)
    if described.scoring is None:
        raise ValueError(f"the rows of {name} have no labels")
    return described.scoring_of(labels) if described.scoring_of else described.scoring


def label_reading(name: str) -> LabelReading:
    """Return how the labels of a task are read.

    Raises:
        ValueError: its rows have none.
    """
    labels = task(name).labels
    if labels is None:
        raise ValueError(f"the rows of {name} have no labels")
    return labels


def labeled_tasks() -> list[str]:
    """Return the tasks that learn from labels, without importing them."""
    return [name for name in TASKS.names() if name not in (GENERATION, TENSORS)]


def model_tasks() -> list[str]:
    """Return the tasks of model directories, without importing them."""
    return [name for name in TASKS.names() if name != TENSORS]

"""What workflows that write a model directory return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bmc.workflows.sizes import Size


@dataclass(frozen=True)
class WrittenModel:
    """A model directory that a workflow wrote.

    Args:
        path: the model directory.
        scores: scores of the validation rows, by name; see `bmc.model.Model.scores`.
        labels: names of the classes, in the order of the outputs; empty in a regression.
        seconds: wall time.
        code: module:function that builds the model, where that is a user's own code.
    """

    path: Path
    scores: Mapping[str, Any]
    labels: tuple[str, ...]
    seconds: float
    code: str | None


@dataclass(frozen=True)
class Trained(WrittenModel):
    """A trained baseline.

    Args:
        validation_rows: rows that chose the best epoch.
    """

    validation_rows: int


@dataclass(frozen=True)
class Distilled(WrittenModel):
    """A trained student.

    Args:
        validation_rows: rows that chose the best epoch.
        teacher: the teacher's model directory.
        teacher_score: the teacher's own validation score; None where it has none.
        against_teacher: agreement with the teachers, and calibration of both; empty in a
            regression. See `bmc.workflows.against_teacher`.
    """

    validation_rows: int
    teacher: Path
    teacher_score: float | None
    against_teacher: Mapping[str, Any]


@dataclass(frozen=True)
class Compressed(WrittenModel):
    """A pruned, shared or quantized model.

    Args:
        before: size of the model that it was made from.
        applied: size right after the step, before any fine-tuning.
        after: size of the written model.
    """

    before: Size
    applied: Size
    after: Size


@dataclass(frozen=True)
class CrossValidated:
    """Held-out scores of a k-fold cross-validation.

    Args:
        scores: accuracy of each fold; micro F1 of several labels a row; in a regression R2.
        mean: mean of the folds' scores.
        standard_deviation: standard deviation of the folds' scores, with n - 1.
        pooled: scores of all held-out predictions together; see `bmc.measure.scores.of_task`.
        labels: names of the classes.
        measure: "accuracy", "micro F1" or "R2".
    """

    scores: tuple[float, ...]
    mean: float
    standard_deviation: float
    pooled: Mapping[str, Any]
    labels: tuple[str, ...]
    measure: str

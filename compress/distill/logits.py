"""Distillation from logits: the student imitates the teacher's softened probabilities."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, log_softmax, mse_loss, softmax

from bmc.compress.distill._parts import LossParts
from bmc.data import Dataset
from bmc.errors import SettingError
from bmc.model import Model, Record, Work
from bmc.training.batches import Batch
from bmc.training.custom import custom_loss
from bmc.training.ensemble import AVERAGES, WEIGHTINGS, Ensemble
from bmc.training.work import mean_and_scale


@dataclass(frozen=True)
class Logits:
    """Train a student on T^2 KL(teacher/T || student/T), plus cross-entropy with the true labels.

    The cross-entropy counts the rows that have labels. In a regression both losses are mean squared
    errors, and there is no temperature. A loss of the caller's own (`bmc.wrap`) takes the place of
    the loss on the true labels.

    Args:
        teacher: reference of a trained model with the same labels, in any order.
        teacher_sha256: of the teacher's weights.
        temperature: T, which divides the logits of teacher and student; above 0.
        hard: hard-label weight: what the loss on the true labels is multiplied by, 0 or more.
        more_teachers: reference and weights' sha256 of each further teacher.
        average: what is averaged over several teachers: "probabilities" or "logits".
        weighting: weights of several teachers: "equal", or "validation": those under which their
            mean answers the validation rows best.

    Raises:
        SettingError: a setting is out of range.

    Source: Hinton, Vinyals and Dean 2015, "Distilling the Knowledge in a Neural Network",
    sections 2 and 3 (an ensemble as the teacher).
    """

    teacher: str
    teacher_sha256: str
    temperature: float = 2.0
    hard: float = 0.5
    more_teachers: tuple[tuple[str, str], ...] = ()
    average: str = "probabilities"
    weighting: str = "equal"

    def __post_init__(self) -> None:
        if not 0 < self.temperature < math.inf:
            raise SettingError(f"temperature is {self.temperature}; it must be a number above 0")
        if not 0 <= self.hard < math.inf:
            raise SettingError(f"hard is {self.hard}; it must be a number, 0 or more")
        for name, value, possible in (
            ("average", self.average, AVERAGES),
            ("weighting", self.weighting, WEIGHTINGS),
        ):
            if value not in possible:
                raise SettingError(f"{name} is {value!r}; possible: {', '.join(possible)}")

    def apply(self, model: Model, work: Work) -> Record:
        """Train the student; its structure stays the same, so that the record is empty."""
        unlabeled = work.unlabeled
        answers = self.ensemble().answers(model, work, unlabeled)
        parts_of, parts = self.parts_of(model, work.data), LossParts()

        def loss(student: Tensor, batch: Batch) -> Tensor:
            teacher = answers(batch)
            return parts.total(parts_of(student, teacher, batch.labels), student, teacher)

        model.scores = work.fit(model, loss=loss, unlabeled=unlabeled, metrics=parts.metrics)
        return {}

    def ensemble(self) -> Ensemble:
        """Return all teachers as one."""
        first = (self.teacher, self.teacher_sha256)
        return Ensemble((first, *self.more_teachers), self.average, self.weighting)

    def parts_of(
        self, model: Model, data: Dataset
    ) -> Callable[[Tensor, Tensor, Tensor], dict[str, Tensor]]:
        """Return the function from a student's outputs, its teacher's, and labels to the losses.

        Args:
            model: the student; a loss of its own takes the place of the true labels' cross-entropy.
            data: in whose units a regression is trained.
        """
        of_values = model.task == "regression"
        soft_loss = mse_loss if of_values else self.soft_loss
        own = custom_loss(model, *mean_and_scale(data.train.labels))
        label_loss = own or (_of_values if of_values else _of_classes)

        def parts(student: Tensor, teacher: Tensor, labels: Tensor) -> dict[str, Tensor]:
            losses = {"logits": soft_loss(student, teacher)}
            if self.hard:
                losses["labels"] = self.hard * label_loss(student, labels)
            return losses

        return parts

    def soft_loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return T^2 KL(teacher/T || student/T), the mean over rows.

        Args:
            student: logits (rows, classes).
            teacher: logits (rows, classes).
        """
        temperature = self.temperature
        target = softmax(teacher / temperature, dim=1)
        logs = log_softmax(student / temperature, dim=1)
        return temperature**2 * kl_div(logs, target, reduction="batchmean")

    @staticmethod
    def rebuild(model: Model, record: Record) -> None:
        """Do nothing: the student's own spec builds it."""


def _of_classes(student: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy over rows; a row without a label has -1 and adds nothing."""
    return cross_entropy(student, labels, ignore_index=-1, reduction="sum") / len(labels)


def _of_values(student: Tensor, labels: Tensor) -> Tensor:
    """Return the mean squared error of values (rows, 1); a row without a label has NaN."""
    labeled = ~labels.isnan()
    return ((student[:, 0] - labels)[labeled] ** 2).sum() / len(labels)


STEP = Logits

"""Distillation from logits: the student imitates the teacher's softened probabilities."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, log_softmax, mse_loss, softmax

from bmc.data import Dataset
from bmc.errors import SettingError, UsageError
from bmc.model import Model, Record, Work
from bmc.training.batches import Batch
from bmc.training.custom import custom_loss
from bmc.training.teacher_logits import cached_logits, live_logits
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

    Raises:
        SettingError: a setting is out of range.

    Source: Hinton, Vinyals and Dean 2015, "Distilling the Knowledge in a Neural Network",
    section 2.
    """

    teacher: str
    teacher_sha256: str
    temperature: float = 2.0
    hard: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.temperature < math.inf:
            raise SettingError(f"temperature is {self.temperature}; it must be a number above 0")
        if not 0 <= self.hard < math.inf:
            raise SettingError(f"hard is {self.hard}; it must be a number, 0 or more")

    def apply(self, model: Model, work: Work) -> Record:
        """Train the student; its structure stays the same, so that the record is empty."""
        unlabeled = tuple((text,) for text in work.transfer)
        teacher = work.load(self.teacher)
        check_classes(self.teacher, teacher, model)
        aligned = aligned_logits(teacher, model, work.data)
        if work.data.kind == "image" and work.augment:
            live = live_logits(teacher, work.device)  # augmented images are new in every epoch

            def teacher_logits(batch: Batch) -> Tensor:
                return aligned(live(batch))

        else:
            rows = (*work.data.train.rows, *unlabeled) if unlabeled else work.data.train.rows
            logits = cached_logits(teacher, self.teacher_sha256, rows, work.cache, work.device)
            logits = aligned(logits)
            del teacher

            def teacher_logits(batch: Batch) -> Tensor:
                return logits[batch.rows.cpu()].to(batch.rows.device)

        loss_of = self.loss_of(model, work.data)

        def loss(student: Tensor, batch: Batch) -> Tensor:
            return loss_of(student, teacher_logits(batch), batch.labels)

        model.scores = work.fit(model, loss=loss, unlabeled=unlabeled)
        return {}

    def loss_of(self, model: Model, data: Dataset) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        """Return the loss of a student's outputs, its teacher's, and the labels.

        Args:
            model: the student; a loss of its own takes the place of the true labels' cross-entropy.
            data: in whose units a regression is trained.
        """
        of_values = model.task == "regression"
        loss_of = self._of_values if of_values else self._of_classes
        soft_loss = mse_loss if of_values else self.soft_loss
        custom = custom_loss(model, *mean_and_scale(data.train.labels))
        if custom is None:
            return loss_of

        def loss(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
            return soft_loss(student, teacher) + self.hard * custom(student, labels)

        return loss

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

    def _of_classes(self, student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of a classifier; rows without a label have -1."""
        hard = cross_entropy(student, labels, ignore_index=-1, reduction="sum")
        return self.soft_loss(student, teacher) + self.hard * hard / len(labels)

    def _of_values(self, student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of a regression, with values (rows, 1); rows without a label have NaN."""
        labeled = ~labels.isnan()
        errors = (student[:, 0] - labels)[labeled] ** 2
        return mse_loss(student, teacher) + self.hard * errors.sum() / len(labels)

    @staticmethod
    def rebuild(model: Model, record: Record) -> None:
        """Do nothing: the student's own spec builds it."""


def check_classes(reference: str, teacher: Model, student: Model) -> None:
    """Refuse a teacher of another task or other classes.

    Raises:
        UsageError: it is one.
    """
    if teacher.task != student.task or set(teacher.labels) != set(student.labels):
        raise UsageError(
            f"the teacher {reference} answers {', '.join(teacher.labels) or 'numbers'}; the "
            f"student {', '.join(student.labels) or 'numbers'}: both need the same classes"
        )


def aligned_logits(teacher: Model, student: Model, data: Dataset) -> Callable[[Tensor], Tensor]:
    """Return a function that reorders a teacher's logits as the student's classes.

    In a regression it scales the teacher's values as the labels are in training: to mean 0 and
    deviation 1.
    """
    if student.task == "regression":
        mean, scale = mean_and_scale(data.train.labels)
        return lambda values: (values - mean.to(values.device)) / scale.to(values.device)
    order = [teacher.labels.index(label) for label in student.labels]
    return lambda logits: logits[:, order]


STEP = Logits

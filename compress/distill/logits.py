"""Distillation from logits: the student imitates the teacher's softened probabilities."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from bmc.compress.distill._parts import LossParts
from bmc.contracts.tasks import objective
from bmc.errors import SettingError
from bmc.model import Form, Model, Record, Work
from bmc.training.batches import Batch
from bmc.training.ensemble import AVERAGES, WEIGHTINGS, Ensemble
from bmc.training.mixkd import MixedTexts
from bmc.training.settings import MIXKD


@dataclass(frozen=True)
class Logits:
    """Train a student on T^2 KL(teacher/T || student/T), plus cross-entropy with the true labels.

    Only rows with labels add to the cross-entropy. In a regression both losses are mean squared
    errors, and there is no temperature. A custom loss of the model (`bmc.wrap`) replaces the loss
    on the true labels.

    Args:
        teacher: reference of a trained model with the same labels, in any order.
        teacher_sha256: sha256 of the teacher's weights.
        temperature: T, which divides the logits of teacher and student; above 0.
        hard: hard-label weight: factor of the loss on the true labels, 0 or more.
        more_teachers: reference, and sha256 of the weights, of each further teacher.
        average: what is averaged over several teachers: "probabilities" or "logits".
        weighting: weights of several teachers: "equal", or "validation": those under which their
            mean predicts the validation rows best.

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
        """Train the student; return an empty record, because its structure stays the same.

        Raises:
            UsageError: texts are to be mixed, and the student or a teacher cannot read mixtures.
        """
        if MIXKD not in work.augment:
            self._fit(model, work, self.ensemble().answers(model, work, work.unlabeled))
            return {}
        with MixedTexts(model, work.device) as texts:
            answers = self.ensemble().live_answers(model, work, texts.answers_of)
            self._fit(model, work, answers, texts.batch, texts.outputs)
        return {}

    def _fit(
        self,
        model: Model,
        work: Work,
        teacher_logits: Callable[[Batch], Tensor],
        as_read: Callable[[Batch], Batch] = lambda batch: batch,
        form: Form | None = None,
    ) -> None:
        """Train the student on the teacher's logits and the true labels.

        Args:
            model: the student.
            work: the data.
            teacher_logits: function from a batch to the teacher's logits.
            as_read: function from a batch to the batch as the student read it.
            form: function that computes the student's outputs; None for the default.
        """
        parts_of, parts = self.parts_of(model, work), LossParts(model.task)

        def loss(student: Tensor, batch: Batch) -> Tensor:
            batch = as_read(batch)
            teacher = teacher_logits(batch)
            return parts.total(parts_of(student, teacher, batch), student, teacher)

        model.scores = work.fit(
            model, loss=loss, unlabeled=work.unlabeled, form=form, metrics=parts.metrics
        )

    def ensemble(self) -> Ensemble:
        """Return all teachers as one."""
        first = (self.teacher, self.teacher_sha256)
        return Ensemble((first, *self.more_teachers), self.average, self.weighting)

    def parts_of(
        self, model: Model, work: Work
    ) -> Callable[[Tensor, Tensor, Batch], dict[str, Tensor]]:
        """Return a function of the student's outputs, the teacher's outputs and the batch.

        The function returns the losses by name, scalars.

        Args:
            model: the student; its custom loss, if any, replaces the cross-entropy with the true
                labels.
            work: the data, and the loss on its labels.
        """
        label_loss = work.label_loss(model) if self.hard else None

        def parts(student: Tensor, teacher: Tensor, batch: Batch) -> dict[str, Tensor]:
            losses = {"logits": self.soft_loss(student, teacher, model.task)}
            if label_loss:
                losses["labels"] = self.hard * label_loss(student, batch)
            return losses

        return parts

    def soft_loss(self, student: Tensor, teacher: Tensor, task: str = "classification") -> Tensor:
        """Return how far a student's outputs are from its teacher's, the mean over rows.

        Args:
            student: the student's logits (rows, classes), or values (rows, 1).
            teacher: the teacher's logits or values, in the same shape.
            task: name of the task, which decides the loss; see `bmc/objectives`.
        """
        return objective(task).soft_loss(student, teacher, self.temperature)

    @staticmethod
    def rebuild(model: Model, record: Record) -> None:
        """Do nothing: the student's own spec builds it."""


STEP = Logits

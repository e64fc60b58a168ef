"""Logits of one or several teachers, as a student's classes are ordered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bmc import console
from bmc.contracts.tasks import objective, task
from bmc.data import Dataset
from bmc.errors import UsageError
from bmc.inputs import Many
from bmc.model import Model, Work
from bmc.training.batches import Batch
from bmc.training.teacher_logits import cached_logits, live_logits
from bmc.training.work import joined, mean_and_scale

AVERAGES = ("probabilities", "logits")
WEIGHTINGS = ("equal", "validation")
_CHANGING = ("image", "audio")
"""Kinds of rows that augmentation makes new in every epoch, so that a teacher answers each batch.
Texts without some words keep the cached logits of the whole text."""
_ROUNDS = 200
_LEAST = 1e-12


def answers_are_kept(kind: str, augment: Sequence[str]) -> bool:
    """Tell whether teachers predict each training row once, and not anew in every epoch.

    Args:
        kind: kind of the rows.
        augment: names of the random changes of the rows.
    """
    return kind not in _CHANGING or not augment


@dataclass(frozen=True)
class Ensemble:
    """Teachers whose answers a student learns from, as one.

    Args:
        teachers: reference of each, and the sha256 of its weights.
        average: "probabilities": the logarithm of the mean probabilities; or "logits": their mean.
        weighting: "equal", or "validation": weights under which the mean answers the validation
            rows best.
    """

    teachers: Sequence[tuple[str, str]]
    average: str = "probabilities"
    weighting: str = "equal"

    def answers(self, student: Model, work: Work, unlabeled: Many) -> Callable[[Batch], Tensor]:
        """Return a function from a batch to logits (rows, classes), or standardized values.

        They are cached by teacher. Of augmented images and sound they are computed for every batch.

        Args:
            student: whose classes they are ordered by.
            work: data and cache.
            unlabeled: rows after the training rows.

        Raises:
            UsageError: a teacher has another task or other classes.
        """
        if not answers_are_kept(work.data.kind, work.augment):
            return self.live_answers(
                student, work, lambda _, teacher: live_logits(teacher, student, work.device)
            )
        models, orders = self._load(student, work)
        weights = self._weights(models, orders, work)
        self._say(weights, work)
        rows = joined(work.data.train.rows, unlabeled)
        logits = self.combined(self._cached(models, orders, work, rows), weights, student.task)

        def cached(batch: Batch) -> Tensor:
            return logits[batch.rows.cpu()].to(batch.rows.device)

        return cached

    def live_answers(
        self,
        student: Model,
        work: Work,
        answers_of: Callable[[str, Model], Callable[[Batch], Tensor]],
    ) -> Callable[[Batch], Tensor]:
        """Return a function from a batch to logits that teachers compute of every batch.

        Args:
            student: whose classes they are ordered by.
            work: data and cache.
            answers_of: function from a teacher's reference and the teacher to a function from a
                batch to the teacher's logits.

        Raises:
            UsageError: a teacher has another task or other classes.
        """
        models, orders = self._load(student, work)
        weights = self._weights(models, orders, work)
        self._say(weights, work)
        pairs = zip(self.teachers, models, strict=True)
        functions = [answers_of(reference, teacher) for (reference, _), teacher in pairs]

        def live(batch: Batch) -> Tensor:
            every = zip(orders, functions, strict=True)
            answers = [order(answer(batch)) for order, answer in every]
            return self.combined(answers, weights, student.task)

        return live

    def logits(self, student: Model, work: Work, rows: Many) -> Tensor:
        """Return logits (rows, classes) of any rows, ordered as the student's classes.

        Args:
            student: whose classes they are ordered by.
            work: data and cache.
            rows: rows to predict.
        """
        models, orders = self._load(student, work)
        weights = self._weights(models, orders, work)
        return self.combined(self._cached(models, orders, work, rows), weights, student.task)

    def combined(
        self, logits: Sequence[Tensor], weights: Tensor, task: str = "classification"
    ) -> Tensor:
        """Return the mean of several teachers' logits, or of their values, by weight.

        Args:
            logits: of each teacher, (rows, classes), or values (rows, 1).
            weights: of the teachers, with sum 1.
            task: name of the task, which says what a logit is the logit of.
        """
        if len(logits) == 1:
            return logits[0]
        every = torch.stack(list(logits))
        shares = weights.to(every.device)[:, None, None]
        mixture = objective(task).mixture
        if self.average == "logits" or mixture is None or every.shape[2] == 1:
            return (every * shares).sum(0)
        return mixture(every, shares)

    def _load(
        self, student: Model, work: Work
    ) -> tuple[list[Model], list[Callable[[Tensor], Tensor]]]:
        """Return the teachers, and for each a function that orders its logits."""
        models = [work.load(reference) for reference, _ in self.teachers]
        orders = []
        for (reference, _), teacher in zip(self.teachers, models, strict=True):
            check_classes(reference, teacher, student)
            orders.append(aligned_logits(teacher, student, work.data))
        return models, orders

    def _weights(
        self, models: Sequence[Model], orders: Sequence[Callable[[Tensor], Tensor]], work: Work
    ) -> Tensor:
        """Return the weights of the teachers, with sum 1."""
        count = len(models)
        if self.weighting == "equal" or count == 1:
            return torch.full((count,), 1 / count)
        rows = work.data.validation
        logits = torch.stack(self._cached(models, orders, work, rows.rows))
        if logits.shape[2] == 1:
            mean, scale = mean_and_scale(work.data.train.labels)
            weights = weights_of_values(logits, (torch.tensor(rows.labels) - mean) / scale)
        else:
            labels = torch.from_numpy(np.array(rows.labels))
            weights = weights_of_classes(logits, labels, work.data.task)
        return weights

    def _say(self, weights: Tensor, work: Work) -> None:
        """Say the weights of the teachers that were found on validation rows."""
        if self.weighting == "equal" or len(weights) == 1:
            return
        pairs = zip(self.teachers, weights.tolist(), strict=True)
        named = ", ".join(f"{reference} {weight:.3f}" for (reference, _), weight in pairs)
        rows = len(work.data.validation)
        console.note(f"weights of the teachers, by {rows} validation rows: {named}")

    def _cached(
        self,
        models: Sequence[Model],
        orders: Sequence[Callable[[Tensor], Tensor]],
        work: Work,
        rows: Many,
    ) -> list[Tensor]:
        every = zip(self.teachers, models, orders, strict=True)
        return [
            order(cached_logits(teacher, sha256, rows, work.cache, work.device))
            for (_, sha256), teacher, order in every
        ]


def weights_of_classes(logits: Tensor, labels: Tensor, task: str = "classification") -> Tensor:
    """Return the weights of the mixture of probabilities that makes labels most likely.

    Args:
        logits: of each teacher, (teachers, rows, classes).
        labels: class indices (rows), or 0 and 1 (rows, labels).
        task: name of a task with classes.

    Source: Dempster, Laird and Rubin 1977, section 4.3 (mixture proportions by EM); Bishop 2006,
    "Pattern Recognition and Machine Learning", section 9.2.
    """
    likelihood_of = objective(task).likelihood
    if likelihood_of is None:
        raise ValueError(f"{task} has no classes")
    likelihood = likelihood_of(logits, labels)
    weights = torch.full((len(logits), 1), 1 / len(logits), dtype=torch.float64)
    for _ in range(_ROUNDS):
        shares = weights * likelihood
        weights = (shares / shares.sum(0).clamp(min=_LEAST)).mean(1, keepdim=True)
    return (weights / weights.sum()).flatten().float()


def weights_of_values(values: Tensor, labels: Tensor) -> Tensor:
    """Return weights inverse to the mean squared errors.

    Args:
        values: of each teacher, (teachers, rows, 1).
        labels: (rows).
    """
    errors = (values[:, :, 0] - labels).pow(2).mean(1).clamp(min=_LEAST)
    return (1 / errors) / (1 / errors).sum()


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
    if task(student.task).is_numeric:
        mean, scale = mean_and_scale(data.train.labels)
        return lambda values: (values - mean.to(values.device)) / scale.to(values.device)
    order = [teacher.labels.index(label) for label in student.labels]
    return lambda logits: logits[:, order]

"""What classification trains on: cross-entropy, and KL divergence from a teacher."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, log_softmax, softmax

from bmc.contracts.tasks import Objective

if TYPE_CHECKING:
    from bmc.model import Loss
    from bmc.training.batches import Batch
    from bmc.training.settings import TrainingSettings

_LEAST = 1e-12


def loss_of(settings: TrainingSettings, labels: Sequence[Any], classes: int) -> Loss:
    """Return the cross-entropy, with label smoothing and class weights from the settings.

    The weighted sum is divided by the number of rows: divided by the weights of the rows, as
    PyTorch does, a batch in parts would weigh its rows otherwise than a whole one.
    """
    weights = class_weights(labels, classes) if settings.class_weights == "balanced" else None
    smoothing = settings.label_smoothing

    def loss(logits: Tensor, batch: Batch) -> Tensor:
        weight = None if weights is None else weights.to(logits.device)
        return batch.label_loss(lambda labels: weighted_loss(logits, labels, weight, smoothing))

    return loss


def weighted_loss(
    logits: Tensor, labels: Tensor, weight: Tensor | None, smoothing: float
) -> Tensor:
    """Return the sum of the weighted cross-entropies, divided by the number of rows.

    Args:
        logits: (rows, classes).
        labels: class indices (rows); -1 means no label and adds 0.
        weight: weights of the classes, whose mean over the training rows is 1; None for none.
        smoothing: label smoothing.
    """
    losses = cross_entropy(
        *(logits, labels),
        weight=weight,
        label_smoothing=smoothing,
        ignore_index=-1,
        reduction="sum",
    )
    return losses / len(labels)


def class_weights(labels: Sequence[Any], classes: int) -> Tensor:
    """Return balanced class weights: rows / (classes x rows of the class), float (classes)."""
    counts = Counter(labels)
    return torch.tensor(
        [len(labels) / (classes * max(counts[label], 1)) for label in range(classes)]
    )


def soft_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return T^2 KL(teacher/T || student/T), the mean over rows.

    Source: Hinton, Vinyals and Dean 2015, "Distilling the Knowledge in a Neural Network".
    """
    target = softmax(teacher / temperature, dim=1)
    logs = log_softmax(student / temperature, dim=1)
    return temperature**2 * kl_div(logs, target, reduction="batchmean")


def divergence(outputs: Tensor, reference: Tensor) -> Tensor:
    """Return KL(reference || outputs): (rows)."""
    logs = log_softmax(outputs, dim=1)
    return kl_div(logs, softmax(reference, dim=1), reduction="none").sum(1)


def mixture(logits: Tensor, shares: Tensor) -> Tensor:
    """Return the logarithm of the teachers' mean probabilities.

    Args:
        logits: of each teacher, (teachers, rows, classes).
        shares: weights of the teachers, with sum 1: (teachers, 1, 1).
    """
    return (log_softmax(logits, dim=2) + shares.clamp(min=_LEAST).log()).logsumexp(0)


def likelihood(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the probability of each row's label, float64 (teachers, rows).

    Args:
        logits: of each teacher, (teachers, rows, classes).
        labels: class indices (rows).
    """
    rows = torch.arange(len(labels))
    return log_softmax(logits.double(), dim=2)[:, rows, labels].exp()


def _labeled(labels: Tensor) -> Tensor:
    return labels >= 0


def _same(student: Tensor, teacher: Tensor) -> Tensor:
    return student.argmax(1) == teacher.argmax(1)


OBJECTIVE = Objective(
    loss=loss_of,
    labeled=_labeled,
    soft_loss=soft_loss,
    divergence=divergence,
    same=_same,
    mixture=mixture,
    likelihood=likelihood,
)

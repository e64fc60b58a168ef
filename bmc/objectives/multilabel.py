"""What several labels a row train on: binary cross-entropy, and KL divergence of each label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from bmc.contracts.tasks import Objective

if TYPE_CHECKING:
    from bmc.model import Loss
    from bmc.training.batches import Batch
    from bmc.training.settings import TrainingSettings


def loss_of(settings: TrainingSettings, labels: Sequence[Any], classes: int) -> Loss:
    """Return the binary cross-entropy, the mean over labels and rows; one without labels adds 0.

    Args:
        settings: label smoothing moves 1 and 0 towards a half; balanced class weights weigh the
            rows with a label by rows without / rows with it.
        labels: 0 or 1 of the training rows, (rows, labels).
        classes: number of labels.
    """
    weights = positive_weights(labels) if settings.class_weights == "balanced" else None
    smoothing = settings.label_smoothing

    def of_labels(logits: Tensor, labels: Tensor) -> Tensor:
        labeled = _labeled(labels)
        targets = labels[labeled] * (1 - smoothing) + smoothing / 2
        weight = None if weights is None else weights.to(logits.device)
        losses = binary_cross_entropy_with_logits(
            logits[labeled], targets, pos_weight=weight, reduction="none"
        )
        return losses.mean(1).sum() / len(labels)

    def loss(logits: Tensor, batch: Batch) -> Tensor:
        return batch.label_loss(lambda labels: of_labels(logits, labels))

    return loss


def positive_weights(labels: Sequence[Any]) -> Tensor:
    """Return rows without each label over rows with it, float (labels)."""
    counts = torch.tensor(labels, dtype=torch.float32).sum(0)
    return (len(labels) - counts).clamp(min=1) / counts.clamp(min=1)


def soft_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return T^2 KL(teacher/T || student/T) of each label, the mean over labels and rows."""
    divergence_of_rows = divergence(student / temperature, teacher / temperature)
    return temperature**2 * divergence_of_rows.mean() / student.shape[1]


def divergence(outputs: Tensor, reference: Tensor) -> Tensor:
    """Return the sum over labels of KL(reference || outputs): (rows)."""
    target = reference.sigmoid()
    losses, entropy = (
        binary_cross_entropy_with_logits(logits, target, reduction="none")
        for logits in (outputs, reference)
    )
    return (losses - entropy).sum(1)


def mixture(logits: Tensor, shares: Tensor) -> Tensor:
    """Return the logits of the teachers' mean probabilities.

    Args:
        logits: of each teacher, (teachers, rows, labels).
        shares: weights of the teachers, with sum 1: (teachers, 1, 1).
    """
    probabilities = (logits.double().sigmoid() * shares.double()).sum(0)
    return torch.logit(probabilities, eps=1e-12).to(logits.dtype)


def likelihood(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the probability that each teacher gives to each label of each row as it is.

    Args:
        logits: of each teacher, (teachers, rows, labels).
        labels: 0 or 1 (rows, labels).

    Returns:
        float64 (teachers, rows x labels).
    """
    signs = 2 * labels.double() - 1
    return (logits.double() * signs).sigmoid().flatten(1)


def _labeled(labels: Tensor) -> Tensor:
    return ~labels.isnan().any(dim=1)


def _same(student: Tensor, teacher: Tensor) -> Tensor:
    return ((student > 0) == (teacher > 0)).all(1)


OBJECTIVE = Objective(
    loss=loss_of,
    labeled=_labeled,
    soft_loss=soft_loss,
    divergence=divergence,
    same=_same,
    mixture=mixture,
    likelihood=likelihood,
)

"""The loss function of each task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss

from bmc.model import Loss
from bmc.training.batches import Batch
from bmc.training.settings import TrainingSettings


def loss_of(
    settings: TrainingSettings, task: str, labels: Sequence[int] | Sequence[float], classes: int
) -> Loss:
    """Return the loss of a task: cross-entropy, or mean squared error in a regression.

    Args:
        settings: training settings, of which label smoothing and class weights are used.
        task: "classification" or "regression".
        labels: labels of the training rows, from which class weights are computed.
        classes: number of classes.
    """
    if task == "regression":
        return _squared_error
    weights = class_weights(labels, classes) if settings.class_weights == "balanced" else None
    smoothing = settings.label_smoothing

    def loss(logits: Tensor, batch: Batch) -> Tensor:
        weight = None if weights is None else weights.to(logits.device)
        return batch.label_loss(
            lambda labels: cross_entropy(
                logits, labels, weight=weight, label_smoothing=smoothing, ignore_index=-1
            )
        )

    return loss


def class_weights(labels: Sequence[int] | Sequence[float], classes: int) -> Tensor:
    """Return balanced class weights: rows / (classes x rows of the class), float (classes)."""
    counts = Counter(labels)
    return torch.tensor(
        [len(labels) / (classes * max(counts[label], 1)) for label in range(classes)]
    )


def _squared_error(values: Tensor, batch: Batch) -> Tensor:
    return batch.label_loss(lambda labels: mse_loss(values.squeeze(1), labels))

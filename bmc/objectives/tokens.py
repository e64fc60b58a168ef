"""What tags of words train on: cross-entropy, and KL divergence from a teacher, of each word.

Only the first token of a word has outputs here, so other tokens and padding add nothing. Labels are
the tag and the number of the row of each word, int64 (words, 2); the tag is -1 for no tag.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from bmc.contracts.tasks import Objective
from bmc.objectives import classification

if TYPE_CHECKING:
    from bmc.model import Loss
    from bmc.training.batches import Batch
    from bmc.training.settings import TrainingSettings


def loss_of(settings: TrainingSettings, labels: Sequence[Any], classes: int) -> Loss:
    """Return the cross-entropy of words, with label smoothing and class weights from the settings.

    Args:
        settings: training settings.
        labels: tags of the training rows, from which class weights are computed.
        classes: number of tags.
    """
    weights = None
    if settings.class_weights == "balanced":
        weights = classification.class_weights(np.array(labels)[:, 0].tolist(), classes)

    def of_words(logits: Tensor, labels: Tensor) -> Tensor:
        weight = None if weights is None else weights.to(logits.device)
        smoothing = settings.label_smoothing
        return classification.weighted_loss(logits, labels[:, 0], weight, smoothing)

    def loss(logits: Tensor, batch: Batch) -> Tensor:
        return batch.label_loss(lambda labels: of_words(logits, labels))

    return loss


def likelihood(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the probability of each word's tag, float64 (teachers, words).

    Args:
        logits: logits of each teacher, (teachers, words, tags).
        labels: tags and numbers of rows, (words, 2).
    """
    return classification.likelihood(logits, labels[:, 0])


def _labeled(labels: Tensor) -> Tensor:
    return labels[:, 0] >= 0


def _same(student: Tensor, teacher: Tensor) -> Tensor:
    return student.argmax(1) == teacher.argmax(1)


OBJECTIVE = Objective(
    loss=loss_of,
    labeled=_labeled,
    soft_loss=classification.soft_loss,
    divergence=classification.divergence,
    same=_same,
    mixture=classification.mixture,
    likelihood=likelihood,
)

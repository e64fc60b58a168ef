"""What sentence embeddings train on: a teacher's vectors, and the similarities between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import mse_loss, normalize

from bmc.contracts.tasks import Objective
from bmc.errors import UsageError

if TYPE_CHECKING:
    from bmc.model import Loss
    from bmc.training.settings import TrainingSettings


def loss_of(settings: TrainingSettings, labels: Sequence[Any], classes: int) -> Loss:
    """Refuse to train vectors without a teacher: texts have no labels that say what they are.

    Raises:
        UsageError: always.
    """
    raise UsageError(
        "sentence embeddings have no labels to be trained on; they learn from a teacher's vectors: "
        "add --distill or name one with --teacher; pruning chooses by --set criterion=l2"
    )


def soft_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return the squared distance of vectors, the mean over rows; there is no temperature."""
    return mse_loss(student, teacher) * student.shape[1]


def similarity_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the mean squared change of the cosine similarities between the rows of a batch.

    Args:
        student: vectors (rows, width).
        teacher: vectors (rows, any width).

    Source: Park et al. 2019, "Relational Knowledge Distillation"; Tung and Mori 2019, "Similarity-
    Preserving Knowledge Distillation" (similarities within a batch).
    """
    ours, theirs = (normalize(vectors.float(), dim=1) for vectors in (student, teacher))
    rows = len(ours)
    changes: Tensor = (ours @ ours.T - theirs @ theirs.T).pow(2).sum() / max(rows * (rows - 1), 1)
    return changes


def divergence(outputs: Tensor, reference: Tensor) -> Tensor:
    """Return 1 - cosine similarity: (rows)."""
    return 1 - torch.cosine_similarity(outputs, reference, dim=1)


def _labeled(labels: Tensor) -> Tensor:
    return torch.zeros(len(labels), dtype=torch.bool, device=labels.device)


OBJECTIVE = Objective(
    loss=loss_of,
    labeled=_labeled,
    soft_loss=soft_loss,
    divergence=divergence,
)

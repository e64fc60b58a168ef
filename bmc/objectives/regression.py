"""What regression trains on: squared errors, of labels and of a teacher's values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.nn.functional import mse_loss

from bmc.contracts.tasks import Objective

if TYPE_CHECKING:
    from bmc.model import Loss
    from bmc.training.batches import Batch
    from bmc.training.settings import TrainingSettings


def loss_of(settings: TrainingSettings, labels: Sequence[Any], classes: int) -> Loss:
    """Return the mean squared error; no setting changes it."""
    return _squared_error


def soft_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return the mean squared error of a student's values; numbers have no temperature."""
    return mse_loss(student, teacher)


def divergence(outputs: Tensor, reference: Tensor) -> Tensor:
    """Return the squared errors: (rows)."""
    return (outputs - reference).pow(2).sum(1)


def _squared_error(values: Tensor, batch: Batch) -> Tensor:
    def of_labels(labels: Tensor) -> Tensor:
        labeled = _labeled(labels)
        return ((values[:, 0] - labels)[labeled] ** 2).sum() / len(labels)

    return batch.label_loss(of_labels)


def _labeled(labels: Tensor) -> Tensor:
    return ~labels.isnan()


OBJECTIVE = Objective(
    loss=loss_of,
    labeled=_labeled,
    soft_loss=soft_loss,
    divergence=divergence,
)

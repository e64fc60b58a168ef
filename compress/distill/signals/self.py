"""Self-distillation signal: a student learns from its own logits of earlier epochs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bmc.contracts.signals import Signal, View
from bmc.contracts.tasks import objective

_MOMENTUM = 0.6


class Self(nn.Module):
    """KL(earlier || now) of the student's own probabilities; squared errors in a regression.

    The target of a row is the exponential moving average of its logits in all earlier epochs, with
    bias correction. The weight of the row grows from 0 in the first epoch towards 1. The averages
    are buffers, so a checkpoint contains them.

    Args:
        rows: number of training rows.
        outputs: number of classes; 1 in a regression.
        task: name of the task, which says how far outputs are apart.

    Source: Laine and Aila 2017, "Temporal Ensembling for Semi-Supervised Learning", section 2.2;
    Kim et al. 2021, "Self-Knowledge Distillation with Progressive Refinement of Targets".
    """

    average: Tensor
    epochs: Tensor

    def __init__(self, rows: int, outputs: int, task: str = "classification") -> None:
        super().__init__()
        self._divergence = objective(task).divergence
        self.register_buffer("average", torch.zeros(rows, outputs))
        self.register_buffer("epochs", torch.zeros(rows))

    def forward(self, student: View, teacher: View) -> Tensor:
        """Return the loss, a scalar, and add the student's logits to the averages."""
        rows, logits = student.rows, student.logits.float()
        weight = 1 - _MOMENTUM ** self.epochs[rows]
        earlier = self.average[rows] / weight.clamp(min=1 - _MOMENTUM)[:, None]
        if logits.shape[1] == 1:
            errors = (logits - earlier).pow(2).sum(1)
        else:
            errors = self._divergence(logits, earlier)
        with torch.no_grad():
            self.average[rows] = _MOMENTUM * self.average[rows] + (1 - _MOMENTUM) * logits
            self.epochs[rows] += 1
        return (weight * errors).mean()


def bind(student: View, teacher: View, layers: Sequence[int]) -> Self:
    """Return the signal for two networks; see `bmc.contracts.signals.Signal`."""
    return Self(student.total, student.logits.shape[-1], student.task)


SIGNAL = Signal(
    about="the student's own logits, averaged over its earlier epochs",
    needs=("rows",),
    bind=bind,
    with_logits=True,
)

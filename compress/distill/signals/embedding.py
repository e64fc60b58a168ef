"""Embedding signal: the student learns the inputs of its teacher's first layer."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from bmc.compress.distill.signals._states import state_error
from bmc.contracts.signals import Signal, View


class Embedding(nn.Module):
    """Mean squared error between projected embeddings and the teacher's, over tokens.

    Args:
        student: width of the student's embeddings.
        teacher: width of the teacher's embeddings.

    Source: Jiao et al. 2020, "TinyBERT", section 3.1 (embedding-layer distillation).
    """

    def __init__(self, student: int, teacher: int) -> None:
        super().__init__()
        self.projection = nn.Linear(student, teacher)

    def forward(self, student: View, teacher: View) -> Tensor:
        """Return the loss, a scalar."""
        projected = self.projection(student.hidden[0].float())
        return state_error(projected, teacher.hidden[0], student.mask)


def bind(student: View, teacher: View, layers: Sequence[int]) -> Embedding:
    """Return the signal for two networks; see `bmc.contracts.signals.Signal`."""
    return Embedding(student.hidden[0].shape[-1], teacher.hidden[0].shape[-1])


SIGNAL = Signal(about="embeddings, projected to the teacher's width", needs=("hidden",), bind=bind)

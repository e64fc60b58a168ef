"""Hidden-state signal: each layer of the student learns the output of a teacher's layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bmc.compress.distill.signals._states import state_error
from bmc.contracts.signals import Signal, View


class Hidden(nn.Module):
    """Mean squared error between projected hidden states and the teacher's, over layers and tokens.

    One linear projection for each layer is learned, to the teacher's width. The error is in units
    of the teacher's variance, which gives all layers the same weight.

    Args:
        student: width of the student's hidden states.
        teacher: width of the teacher's hidden states.
        layers: for each layer of the student, the index of the teacher's layer.

    Source: Jiao et al. 2020, "TinyBERT", section 3.1 (hidden states based distillation).
    """

    def __init__(self, student: int, teacher: int, layers: Sequence[int]) -> None:
        super().__init__()
        self._layers = tuple(layers)
        self.projections = nn.ModuleList(nn.Linear(student, teacher) for _ in layers)

    def forward(self, student: View, teacher: View) -> Tensor:
        """Return the loss, a scalar."""
        pairs = zip(self.projections, self._layers, strict=True)
        errors = [  # the hidden states of the embeddings come before those of the layers
            state_error(
                project(student.hidden[layer].float()), teacher.hidden[index + 1], student.mask
            )
            for layer, (project, index) in enumerate(pairs, start=1)
        ]
        return torch.stack(errors).mean()


def bind(student: View, teacher: View, layers: Sequence[int]) -> Hidden:
    """Return the signal for two networks; see `bmc.contracts.signals.Signal`."""
    return Hidden(student.hidden[0].shape[-1], teacher.hidden[0].shape[-1], layers)


SIGNAL = Signal(
    about="hidden states of each layer, projected to the teacher's width",
    needs=("hidden",),
    bind=bind,
)

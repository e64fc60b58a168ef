"""Attention: a token of the student attends to the tokens that its teacher's attends to."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bmc.compress.distill.signals._states import divergence
from bmc.contracts.signals import Signal, View

_LEAST = 1e-6


class Attention(nn.Module):
    """KL between attention probabilities, over layers, heads and tokens.

    Where the two have other numbers of heads, the mean over each side's heads is compared.

    Args:
        layers: for each layer of the student, the index of the teacher's.

    Source: Wang et al. 2020, "MiniLM", section 3.1 (self-attention distributions).
    """

    def __init__(self, layers: Sequence[int]) -> None:
        super().__init__()
        self._layers = tuple(layers)

    def forward(self, student: View, teacher: View) -> Tensor:
        """Return the loss, a scalar."""
        losses = []
        for place, index in enumerate(self._layers):
            ours, its = student.attentions[place].float(), teacher.attentions[index].float()
            if ours.shape[1] != its.shape[1]:
                ours, its = ours.mean(1, keepdim=True), its.mean(1, keepdim=True)
            ours, its = ours.clamp(min=_LEAST).log(), its.clamp(min=_LEAST).log()
            losses.append(divergence(ours, its, student.mask))
        return torch.stack(losses).mean()


def bind(student: View, teacher: View, layers: Sequence[int]) -> Attention:
    """Return the signal for two networks; see `bmc.contracts.signals.Signal`."""
    return Attention(layers)


SIGNAL = Signal(about="attention probabilities of each layer", needs=("attentions",), bind=bind)

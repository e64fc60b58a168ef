"""Attention signal: the student learns the teacher's attention probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bmc.compress.distill.signals._states import divergence
from bmc.contracts.signals import Signal, View

_EPSILON = 1e-6


class Attention(nn.Module):
    """KL divergence between attention probabilities, the mean over layers, heads and tokens.

    If student and teacher differ in their number of heads, the means over heads are compared.

    Args:
        layers: for each layer of the student, the index of the teacher's layer.

    Source: Wang et al. 2020, "MiniLM", section 3.1 (self-attention distributions).
    """

    def __init__(self, layers: Sequence[int]) -> None:
        super().__init__()
        self._layers = tuple(layers)

    def forward(self, student: View, teacher: View) -> Tensor:
        """Return the loss, a scalar."""
        losses = []
        for layer, index in enumerate(self._layers):
            pair = (student.attentions[layer].float(), teacher.attentions[index].float())
            if pair[0].shape[1] != pair[1].shape[1]:
                pair = (pair[0].mean(1, keepdim=True), pair[1].mean(1, keepdim=True))
            student_logs, teacher_logs = (values.clamp(min=_EPSILON).log() for values in pair)
            losses.append(divergence(student_logs, teacher_logs, student.mask))
        return torch.stack(losses).mean()


def bind(student: View, teacher: View, layers: Sequence[int]) -> Attention:
    """Return the signal for two networks; see `bmc.contracts.signals.Signal`."""
    return Attention(layers)


SIGNAL = Signal(about="attention probabilities of each layer", needs=("attentions",), bind=bind)

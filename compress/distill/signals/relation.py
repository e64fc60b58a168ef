"""Relation signal: the student learns the dot products of tokens in queries, keys and values."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bmc.compress.distill.signals._states import divergence
from bmc.contracts.signals import Signal, View

_MAX_HEADS = 12
_PARTS = ("queries", "keys", "values")


class Relation(nn.Module):
    """KL divergence between relations of tokens: softmax of scaled dot products in the last layer.

    The relations are those of the queries, of the keys and of the values. The units of student and
    teacher are split into the same number of relation heads, independent of their attention heads,
    so the two may differ in width.

    Args:
        heads: number of relation heads; the units of both networks are divisible by it.
        layer: index of the teacher's layer that the student's last layer learns from.

    Source: Wang et al. 2021, "MiniLMv2", section 3.
    """

    def __init__(self, heads: int, layer: int) -> None:
        super().__init__()
        self._heads, self._layer = heads, layer

    def forward(self, student: View, teacher: View) -> Tensor:
        """Return the loss, a scalar."""
        losses = [
            divergence(
                self._relations(getattr(student, part)[-1]),
                self._relations(getattr(teacher, part)[self._layer]),
                student.mask,
            )
            for part in _PARTS
        ]
        return torch.stack(losses).sum()

    def _relations(self, units: Tensor) -> Tensor:
        """Return the scaled dot products of tokens, (rows, heads, length, length)."""
        split = units.float().unflatten(-1, (self._heads, -1)).transpose(1, 2)  # type: ignore[no-untyped-call]
        products: Tensor = split @ split.transpose(-1, -2) / math.sqrt(split.shape[-1])
        return products


def bind(student: View, teacher: View, layers: Sequence[int]) -> Relation:
    """Return the signal for two networks; see `bmc.contracts.signals.Signal`."""
    common = math.gcd(student.queries[-1].shape[-1], teacher.queries[layers[-1]].shape[-1])
    heads = max(count for count in range(1, _MAX_HEADS + 1) if common % count == 0)
    return Relation(heads, layers[-1])


SIGNAL = Signal(
    about="relations between tokens in queries, keys and values of the last layer (MiniLMv2)",
    needs=("queries", "keys", "values"),
    bind=bind,
)

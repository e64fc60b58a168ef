"""Spatial-attention signal: the student learns where in the image its teacher responds."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from bmc.compress.distill.signals._maps import same_size
from bmc.contracts.signals import Signal, View


class SpatialAttention(nn.Module):
    """Squared distance between attention maps, the mean over rows and maps.

    An attention map is the sum of a feature map's squares over its channels, divided by the norm
    of the sums. So the two networks may differ in channels without a projection. The distance of
    one row is between 0 and 2.

    Args:
        layers: for each map of the student, the index of the teacher's map.

    Source: Zagoruyko and Komodakis 2017, "Paying More Attention to Attention", section 3.1 (p = 2).
    """

    def __init__(self, layers: Sequence[int]) -> None:
        super().__init__()
        self._layers = tuple(layers)

    def forward(self, student: View, teacher: View) -> Tensor:
        """Return the loss, a scalar."""
        distances = []
        for maps, index in zip(student.maps, self._layers, strict=True):
            pair = same_size(_energy(maps), _energy(teacher.maps[index]))
            student_map, teacher_map = (normalize(energy.flatten(1)) for energy in pair)
            distances.append((student_map - teacher_map).pow(2).sum(1).mean())
        return torch.stack(distances).mean()


def _energy(maps: Tensor) -> Tensor:
    """Return the mean of the squares over channels, (rows, 1, height, width)."""
    return maps.float().pow(2).mean(1, keepdim=True)


def bind(student: View, teacher: View, layers: Sequence[int]) -> SpatialAttention:
    """Return the signal for two networks; see `bmc.contracts.signals.Signal`."""
    return SpatialAttention(layers)


SIGNAL = Signal(
    about="where a convolutional network responds: normalized squares of its feature maps",
    needs=("maps",),
    bind=bind,
)

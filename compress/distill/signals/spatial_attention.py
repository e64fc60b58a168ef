"""Spatial attention: a convolutional student responds where in the image its teacher does."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from bmc.compress.distill.signals._maps import same_size
from bmc.contracts.signals import Signal, View


class SpatialAttention(nn.Module):
    """Squared distance between attention maps, the mean over rows and maps.

    An attention map is the sum of a feature map's squares over its channels, divided by its norm;
    so the two networks may have any channels, and nothing is projected. The distance of one row
    lies in 0 to 2.

    Args:
        layers: for each map of the student, the index of the teacher's.

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
            ours, its = (normalize(each.flatten(1)) for each in pair)
            distances.append((ours - its).pow(2).sum(1).mean())
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

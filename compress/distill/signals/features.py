"""Feature signal: the student's feature maps, projected, learn those of its teacher."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bmc.compress.distill.signals._maps import same_size
from bmc.compress.distill.signals._states import state_error
from bmc.contracts.signals import Signal, View


class Features(nn.Module):
    """Mean squared error between projected feature maps and the teacher's, over the maps.

    A learned 1x1 convolution projects each map to the teacher's channels. The larger of two maps
    is average-pooled to the size of the smaller. The error is in units of the teacher's variance,
    which gives all maps the same weight.

    Args:
        student: feature maps of the student, (rows, channels, height, width).
        teacher: feature maps of the teacher, (rows, channels, height, width).
        layers: for each map of the student, the index of the teacher's map.

    Source: Romero et al. 2015, "FitNets: Hints for Thin Deep Nets", section 2.2; all maps are
    learned together, and the regressor is a 1x1 convolution.
    """

    def __init__(
        self, student: Sequence[Tensor], teacher: Sequence[Tensor], layers: Sequence[int]
    ) -> None:
        super().__init__()
        self._layers = tuple(layers)
        self.projections = nn.ModuleList(
            nn.Conv2d(maps.shape[1], teacher[index].shape[1], 1)
            for maps, index in zip(student, layers, strict=True)
        )

    def forward(self, student: View, teacher: View) -> Tensor:
        """Return the loss, a scalar."""
        errors = []
        for maps, project, index in zip(student.maps, self.projections, self._layers, strict=True):
            student_map, teacher_map = same_size(maps.float(), teacher.maps[index].float())
            errors.append(state_error(project(student_map), teacher_map, None))
        return torch.stack(errors).mean()


def bind(student: View, teacher: View, layers: Sequence[int]) -> Features:
    """Return the signal for two networks; see `bmc.contracts.signals.Signal`."""
    return Features(student.maps, teacher.maps, layers)


SIGNAL = Signal(
    about="feature maps of a convolutional network, projected to the teacher's channels (FitNets)",
    needs=("maps",),
    bind=bind,
)

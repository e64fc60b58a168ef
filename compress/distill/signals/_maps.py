"""Resize the feature maps of two networks to one size, for the signals that compare maps."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d


def same_size(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Return both maps at the smaller height and the smaller width of the two, by average pooling.

    Args:
        student: a feature map (rows, channels, height, width).
        teacher: a feature map of any number of channels and any size.
    """
    pairs = zip(student.shape[-2:], teacher.shape[-2:], strict=True)
    height, width = (min(pair) for pair in pairs)
    student, teacher = (
        maps if maps.shape[-2:] == (height, width) else adaptive_avg_pool2d(maps, (height, width))
        for maps in (student, teacher)
    )
    return student, teacher

"""What signals of feature maps share: maps of two networks brought to one size."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d


def same_size(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Return two maps with the smaller height and width of both, by averaging.

    Args:
        student: (rows, channels, height, width).
        teacher: likewise, of any channels and size.
    """
    pairs = zip(student.shape[-2:], teacher.shape[-2:], strict=True)
    height, width = (min(pair) for pair in pairs)
    ours, its = (
        maps if maps.shape[-2:] == (height, width) else adaptive_avg_pool2d(maps, (height, width))
        for maps in (student, teacher)
    )
    return ours, its

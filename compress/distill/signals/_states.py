"""What several signals compute: errors over the tokens that are no padding."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import kl_div

_LEAST = 1e-6


def state_error(student: Tensor, teacher: Tensor, mask: Tensor | None) -> Tensor:
    """Return the mean squared error over tokens, in units of the teacher's variance.

    Args:
        student: (rows, length, width).
        teacher: (rows, length, width).
        mask: which tokens count, bool (rows, length); all when None.
    """
    student, teacher = student.float(), teacher.float()
    if mask is not None:
        student, teacher = student[mask], teacher[mask]
    return (student - teacher).pow(2).mean() / teacher.var(correction=0).clamp(min=_LEAST)


def divergence(student: Tensor, teacher: Tensor, mask: Tensor | None) -> Tensor:
    """Return KL(teacher || student) of distributions over tokens, the mean over heads and tokens.

    Args:
        student: scores before the softmax, (rows, heads, length, length).
        teacher: likewise.
        mask: which tokens count, bool (rows, length); all when None.
    """
    if mask is not None:
        hidden = ~mask[:, None, None, :]
        low = torch.finfo(student.dtype).min
        student, teacher = student.masked_fill(hidden, low), teacher.masked_fill(hidden, low)
    logs, target = student.log_softmax(-1), teacher.softmax(-1)
    each = kl_div(logs, target, reduction="none").sum(-1).mean(1)  # (rows, length)
    return each[mask].mean() if mask is not None else each.mean()

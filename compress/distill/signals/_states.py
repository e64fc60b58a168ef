"""Losses over the tokens that are not padding, which several signals share."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import kl_div

_EPSILON = 1e-6


def state_error(student: Tensor, teacher: Tensor, mask: Tensor | None) -> Tensor:
    """Return the mean squared error over tokens, in units of the teacher's variance.

    Args:
        student: hidden states (rows, length, width); without a mask, any shape.
        teacher: hidden states of the same shape.
        mask: True for tokens that count, bool (rows, length); None if all count.
    """
    student, teacher = student.float(), teacher.float()
    if mask is not None:
        student, teacher = student[mask], teacher[mask]
    return (student - teacher).pow(2).mean() / teacher.var(correction=0).clamp(min=_EPSILON)


def divergence(student: Tensor, teacher: Tensor, mask: Tensor | None) -> Tensor:
    """Return KL(teacher || student) of distributions over tokens, the mean over heads and tokens.

    Args:
        student: the student's scores before the softmax, (rows, heads, length, length).
        teacher: the teacher's scores, in the same shape.
        mask: True for tokens that count, bool (rows, length); None if all count.
    """
    if mask is not None:
        padding = ~mask[:, None, None, :]
        low = torch.finfo(student.dtype).min
        student, teacher = student.masked_fill(padding, low), teacher.masked_fill(padding, low)
    logs, target = student.log_softmax(-1), teacher.softmax(-1)
    by_token = kl_div(logs, target, reduction="none").sum(-1).mean(1)  # (rows, length)
    return by_token[mask].mean() if mask is not None else by_token.mean()

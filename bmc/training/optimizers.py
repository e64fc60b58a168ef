"""Optimizers and learning rate schedules."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from bmc.training.settings import TrainingSettings

_EXPONENTIAL_END = 0.01  # share of the peak learning rate


def optimizer_of(
    parameters: Iterable[nn.Parameter], settings: TrainingSettings
) -> torch.optim.Optimizer:
    """Return the optimizer of the settings for some parameters.

    Source: Duchi, Hazan and Singer 2011, "Adaptive Subgradient Methods for Online Learning and
    Stochastic Optimization" (adagrad); Loshchilov and Hutter 2019, "Decoupled Weight Decay
    Regularization" (adamw).
    """
    rate, decay = settings.learning_rate, settings.weight_decay
    if settings.optimizer == "sgd":
        momentum = settings.momentum
        return torch.optim.SGD(
            parameters, rate, momentum, weight_decay=decay, nesterov=momentum > 0, fused=True
        )
    if settings.optimizer == "adagrad":
        return torch.optim.Adagrad(parameters, rate, weight_decay=decay, fused=True)
    kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
    return kind(parameters, lr=rate, weight_decay=decay, fused=True)


def rate_at(step: int, total: int, settings: TrainingSettings) -> float:
    """Return the learning rate of a step as a share of the peak.

    Args:
        step: number of the step, from 0.
        total: number of steps of the whole run.
        settings: training settings, of which schedule and warm-up are used.
    """
    warmup_steps = round(settings.warmup * total)
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if settings.schedule == "linear":
        return (total - step) / max(1, total - warmup_steps)
    done = (step - warmup_steps) / max(1, total - warmup_steps)
    if settings.schedule == "cosine":
        return (1 + math.cos(math.pi * done)) / 2
    if settings.schedule == "exponential":
        return float(_EXPONENTIAL_END**done)
    if settings.schedule == "step":
        return 1.0 if done < 0.5 else 0.1 if done < 0.75 else 0.01
    return 1.0

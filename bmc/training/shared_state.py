"""The state that all processes of a training start from: that of the first process."""

from __future__ import annotations

from dataclasses import asdict

import torch
from torch import Tensor, nn

from bmc import processes
from bmc.training import checkpoint, collective
from bmc.training.checkpoint import Progress


def of_first(progress: Progress, networks: nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
    """Give all processes the first one's weights, optimizer state and random numbers.

    Only the first process reads a checkpoint, so others need not see its files.

    Args:
        progress: progress of this process.
        networks: module of all networks that are trained.
        optimizer: optimizer of its trainable parameters.

    Returns:
        the progress of the first process.
    """
    if processes.count() == 1:
        return progress
    progress = Progress(**collective.from_first(lambda: asdict(progress)))
    collective.copy_from_first(list(checkpoint.tensors_of(networks).values()))
    for _, parameter in checkpoint.trainable(networks):
        _copy_optimizer_state(parameter, optimizer)
    state = torch.get_rng_state()
    collective.copy_from_first([state])
    torch.set_rng_state(state)
    if torch.cuda.is_available():
        state = torch.cuda.get_rng_state()
        collective.copy_from_first([state])
        torch.cuda.set_rng_state(state)
    return progress


def _copy_optimizer_state(parameter: nn.Parameter, optimizer: torch.optim.Optimizer) -> None:
    """Give all processes the first one's optimizer state of a parameter, which may be empty."""
    state = optimizer.state.get(parameter, {})
    keys = collective.from_first(lambda: [key for key in state if isinstance(state[key], Tensor)])
    if not keys:
        return
    if not processes.is_first():
        is_count = {key: key == "step" for key in keys}
        state = {
            key: torch.zeros((), device=parameter.device)
            if is_count[key]
            else torch.empty_like(parameter, requires_grad=False)
            for key in keys
        }
        optimizer.state[parameter] = state
    collective.copy_from_first([state[key] for key in keys])

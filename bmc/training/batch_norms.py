"""Batch norms whose mean and variance are those of the whole batch, which processes share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm
from torch.nn.modules.batchnorm import _BatchNorm

from bmc import processes
from bmc.training import collective


@contextmanager
def of_whole_batches(module: nn.Module) -> Iterator[None]:
    """Let batch norms use the mean and variance of all processes' rows while the block runs.

    The code of a TorchScript network is not changed: its batch norms use those of their own rows.

    Args:
        module: network in training; its batch norms are changed, and changed back.

    Source: Ioffe and Szegedy 2015, "Batch Normalization", algorithms 1 and 2 (gradients).
    """
    is_scripted = isinstance(module, torch.jit.ScriptModule)
    layers = [layer for layer in module.modules() if isinstance(layer, _BatchNorm)]
    layers = [] if is_scripted or processes.count() == 1 else layers
    for layer in layers:
        layer.forward = partial(_forward, layer, layer.forward)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


@contextmanager
def divided(rows: int) -> Iterator[None]:
    """Say in the block that the processes compute their shares of a batch of so many rows."""
    _rows.append(rows)
    try:
        yield
    finally:
        _rows.pop()


_rows: list[int] = []


def _forward(layer: _BatchNorm, alone: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """Compute a batch norm as `alone` does, with statistics of the rows of all processes."""
    if not layer.training or not _rows or not processes.is_divided(_rows[-1]):
        return alone(inputs)
    mean, variance, count = _statistics(inputs)
    if layer.track_running_stats and layer.running_mean is not None:
        layer.num_batches_tracked.add_(1)  # type: ignore[union-attr]
        share = layer.momentum
        if share is None:
            share = 1 / float(layer.num_batches_tracked)  # type: ignore[arg-type]
        layer.running_mean.lerp_(mean, share)
        layer.running_var.lerp_(variance * count / max(count - 1, 1), share)  # type: ignore[union-attr]
    return _Normalize.apply(  # type: ignore[no-any-return, no-untyped-call]
        inputs, layer.weight, layer.bias, mean, variance, count, layer.eps
    )


def _statistics(inputs: Tensor) -> tuple[Tensor, Tensor, float]:
    """Return mean and variance of each channel over all processes, and the number of values."""
    values, axes = inputs.detach().float(), _axes(inputs)
    own_count = values.numel() // values.shape[1]
    variance, mean = torch.var_mean(values, axes, correction=0)
    own = torch.stack([torch.full_like(mean, own_count), mean, variance])[None]
    every = collective.gather(own, processes.count())  # (processes, 3, channels)
    counts, means, variances = every.unbind(1)
    total = counts.sum(0)
    whole = (counts * means).sum(0) / total
    spread = variances + (means - whole).pow(2)
    return whole, (counts * spread).sum(0) / total, float(total[0])


class _Normalize(torch.autograd.Function):
    """Batch norm with given statistics, whose gradient knows that they depend on the inputs."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        variance: Tensor,
        count: float,
        epsilon: float,
    ) -> Tensor:
        ctx.save_for_backward(inputs, weight, mean, variance)
        ctx.count, ctx.epsilon, ctx.has_bias = count, epsilon, bias is not None
        return batch_norm(inputs, mean, variance, weight, bias, training=False, eps=epsilon)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        inputs, weight, mean, variance = ctx.saved_tensors
        gradient, axes = gradients[0].float(), _axes(inputs)
        shape = (1, -1, *([1] * (inputs.ndim - 2)))
        scale = (variance + ctx.epsilon).rsqrt()
        normal = (inputs.float() - mean.view(shape)) * scale.view(shape)
        own = torch.stack([gradient.sum(axes), (gradient * normal).sum(axes)])
        sums = own.clone()
        collective.sum_tensor(sums)
        plain, along = (sums / ctx.count).unbind(0)
        factor = scale if weight is None else scale * weight
        of_inputs = gradient - plain.view(shape) - normal * along.view(shape)
        of_inputs = (of_inputs * factor.view(shape)).to(inputs.dtype)
        of_weight = None if weight is None else own[1].to(weight.dtype)
        of_bias = own[0] if ctx.has_bias else None
        return of_inputs, of_weight, of_bias, None, None, None, None


def _axes(inputs: Tensor) -> list[int]:
    """Return all axes but that of the channels."""
    return [axis for axis in range(inputs.ndim) if axis != 1]

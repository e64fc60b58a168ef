"""GPTQ: round 4-bit weights such that the outputs of their layer change least.

First, each scale is chosen for the least squared error of the weights. Then the columns of a
weight (of a linear layer or an embedding) are rounded one after the other, and the columns not yet
rounded compensate for each error. Finally the scales are fitted again, for fixed integers.
Rounding and fitting are done twice.

Source: Frantar et al. 2023, "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
Transformers", section 3; the order of the columns follows the authors' code (`act-order`).
The use for embeddings is bmc's (docs/decisions/0018-four-bits-are-rounded-to-what-is-read.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from bmc import console
from bmc.inference.layers import unshared
from bmc.inference.quantized_form import quantize_layers
from bmc.inference.quantizers import WeightQuantizer, integer_range
from bmc.model import Model, Record
from bmc.quantization.hessian import hessians
from bmc.quantization.observers import check_samples

_PASSES = 2
_SCALE_DAMPING = 1e-3
_ROWS_AT_ONCE = 512  # rows of a weight in one batch of least-squares problems
_TINY = torch.finfo(torch.float32).tiny
_BLOCK = 128  # columns that are rounded before their errors are passed on to later columns
_DAMPING = 0.01  # of the Hessian's mean diagonal: keeps the Hessian of constant-0 inputs regular
_MIN_SCALE_FRACTION, _CANDIDATES = 0.4, 61
_MAX_COLUMNS = 8192  # the Hessian then has 256 MB


def quantize_fitted(
    model: Model, record: Record, layers: Mapping[str, nn.Module], rows: Sequence[Any]
) -> Record:
    """Quantize layers as a record says, with GPTQ for 4-bit weights, and return the record.

    Args:
        model: a model whose module is an inference form, in float.
        record: entries of a record, by path of the layer.
        layers: the layers of the record, by path.
        rows: calibration samples: raw rows of the training split.

    Returns:
        the record, with the 4-bit layers marked `fitted`.

    Raises:
        UsageError: there are fewer than two samples.
        DataError: an input of a layer is NaN or infinite.
    """
    check_samples(rows)
    with_4_bits = [path for path, entry in record.items() if entry["bits"] == 4]
    kinds = (nn.Linear, nn.Embedding)
    candidates = unshared(model.module, {path: layers[path] for path in with_4_bits}, kinds)
    rounded_layers = {
        path: layer for path, layer in candidates.items() if layer.weight.shape[1] <= _MAX_COLUMNS
    }
    hessian_of = hessians(model.module, rounded_layers, model.encoder, rows)
    record = {
        path: {**entry, "fitted": True} if path in with_4_bits else entry
        for path, entry in record.items()
    }
    quantize_layers(model.module, record)
    with console.progress("rounding", len(with_4_bits)) as advance:
        for path in with_4_bits:
            layer: Any = model.module.get_submodule(path)
            scales = fit_scales(layer.weight_quantizer, layer.weight)
            if path in hessian_of:
                layer.weight.data, scales = round_and_fit(
                    layer.weight.data,
                    scales.view(len(layer.weight), -1),
                    hessian_of[path].to(layer.weight.dtype),
                )
            layer.weight_quantizer.scales.copy_(scales.flatten())
            advance(1)
    return record


@torch.no_grad()
def fit_scales(quantizer: WeightQuantizer, weight: Tensor) -> Tensor:
    """Return the scale of each channel or group (n) with the least squared error of a weight."""
    groups = quantizer.grouped(weight)
    scales = max_scales = WeightQuantizer(quantizer.bits, quantizer.group).scales_of(groups)
    least_error = torch.full_like(max_scales, float("inf"))
    for fraction in torch.linspace(1.0, _MIN_SCALE_FRACTION, _CANDIDATES).tolist():
        candidate = max_scales * fraction
        error = (groups - _quantized(groups, candidate[:, None])).square().sum(dim=1)
        scales = torch.where(error < least_error, candidate, scales)
        least_error = least_error.minimum(error)
    return scales


def round_and_fit(weight: Tensor, scales: Tensor, hessian: Tensor) -> tuple[Tensor, Tensor]:
    """Round a weight to integers times scales, and fit the scales.

    Args:
        weight: the weight (out, in).
        scales: initial scales (out, groups).
        hessian: Hessian of the weight's columns (in, in).

    Returns:
        the rounded weight (out, in), and the scales (out, groups).
    """
    size = weight.shape[1] // scales.shape[1]
    integers = torch.zeros_like(weight)
    for _ in range(_PASSES):
        column_scales = scales.repeat_interleave(size, dim=1)
        integers = (round_in_turn(weight, scales, hessian) / column_scales).round()
        scales = refit_scales(weight, integers, scales, hessian)
    return integers * scales.repeat_interleave(size, dim=1), scales


@torch.no_grad()
def refit_scales(weight: Tensor, integers: Tensor, scales: Tensor, hessian: Tensor) -> Tensor:
    """Return the scales (out, groups) with the least output error for fixed integers.

    Each row is a least-squares problem. A scale whose solution lies outside half to twice its
    value is left unchanged.

    Args:
        weight: the weight before rounding (out, in).
        integers: integers of the rounded weight (out, in).
        scales: current scales (out, groups).
        hessian: Hessian of the weight's columns (in, in).
    """
    parts = [
        _refit(weight[start:end], integers[start:end], scales[start:end], hessian)
        for start, end in pairwise([*range(0, len(weight), _ROWS_AT_ONCE), len(weight)])
    ]
    return torch.cat(parts)


def _refit(weight: Tensor, integers: Tensor, scales: Tensor, hessian: Tensor) -> Tensor:
    groups = scales.shape[1]
    size = weight.shape[1] // groups
    normal_matrix = torch.stack(
        [
            _group_sums(integers[:, at : at + size] @ hessian[at : at + size] * integers, groups)
            for at in range(0, weight.shape[1], size)
        ],
        dim=1,
    )  # (out, groups, groups)
    target = _group_sums(weight @ hessian * integers, groups)
    residual = target - (normal_matrix @ scales[..., None])[..., 0]
    mean = normal_matrix.diagonal(dim1=1, dim2=2).mean(dim=1, keepdim=True)
    normal_matrix.diagonal(dim1=1, dim2=2).add_((_SCALE_DAMPING * mean).clamp(min=_TINY))
    refitted = scales + torch.linalg.solve(normal_matrix, residual)
    return torch.where((refitted > scales / 2) & (refitted < scales * 2), refitted, scales)


@torch.no_grad()
def round_in_turn(weight: Tensor, scales: Tensor, hessian: Tensor) -> Tensor:
    """Round a weight column by column; later columns compensate for each column's error.

    Args:
        weight: the weight (out, in).
        scales: scales (out, groups).
        hessian: Hessian of the weight's columns (in, in).

    Returns:
        the rounded weight (out, in).
    """
    width = weight.shape[1]
    order = hessian.diagonal().argsort(descending=True)
    damping = (
        _DAMPING
        * hessian.diagonal().mean().clamp(min=1e-12)
        * torch.eye(width, dtype=hessian.dtype)
    )
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian[order][:, order] + damping))
    factor = torch.linalg.cholesky(inverse, upper=True)
    columns = weight[:, order].clone()
    scales = scales.repeat_interleave(width // scales.shape[1], dim=1)[:, order]
    for start in range(0, width, _BLOCK):
        end = min(start + _BLOCK, width)
        errors = weight.new_zeros(len(weight), end - start)
        for at in range(start, end):
            column = columns[:, at].clone()
            columns[:, at] = _quantized(column, scales[:, at])
            error = errors[:, at - start] = (column - columns[:, at]) / factor[at, at]
            columns[:, at + 1 : end] -= error[:, None] * factor[at, at + 1 : end]
        columns[:, end:] -= errors @ factor[start:end, end:]
    return columns[:, order.argsort()]


def _group_sums(values: Tensor, groups: int) -> Tensor:
    """Return the sum of each group of values (out, in), as (out, groups)."""
    return values.view(len(values), groups, -1).sum(dim=2)


def _quantized(values: Tensor, scales: Tensor) -> Tensor:
    """Return values rounded to integers of 4 bits times scales."""
    return (values / scales).round().clamp(*integer_range(4)) * scales

"""GPTQ: round weights of 4 bits so that a layer's outputs change least.

First each scale is the one with the least squared error of the weights. Then the columns of a
weight (of a linear layer, or of an embedding) are rounded in turn, and the columns still to come
make up for each error. Once all values are integers, the scales are fitted again; both happen
twice.

Source: Frantar et al. 2023, "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
Transformers", section 3; the order of columns is that of its authors' code (`act-order`).
Embeddings are ours (docs/decisions/0018-four-bits-are-rounded-to-what-is-read.md).
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
_ROWS_AT_ONCE = 512  # whose scales are solved for together
_TINY = torch.finfo(torch.float32).tiny
_BLOCK = 128  # columns whose errors are passed on together to the columns behind them
_DAMPING = 0.01  # of the Hessian's mean diagonal: a column that is always 0 must not weigh nothing
_NARROWEST, _CANDIDATES = 0.4, 61
_WIDEST = 8192  # columns: a Hessian of 256 MB


def quantize_fitted(
    model: Model, record: Record, layers: Mapping[str, nn.Module], rows: Sequence[Any]
) -> Record:
    """Quantize layers as a record says, with weights of 4 bits fitted, and return the record.

    Args:
        model: its module is its inference form, in float.
        record: how each of the layers is quantized.
        layers: those layers, by path.
        rows: calibration samples: raw rows of the training part.

    Raises:
        UsageError: there are fewer than two samples.
        DataError: a layer read NaN or infinity.
    """
    check_samples(rows)
    with_4_bits = [path for path, entry in record.items() if entry["bits"] == 4]
    kinds = (nn.Linear, nn.Embedding)
    alone = unshared(model.module, {path: layers[path] for path in with_4_bits}, kinds)
    fitted = {path: layer for path, layer in alone.items() if layer.weight.shape[1] <= _WIDEST}
    hessian = hessians(model.module, fitted, model.encoder, rows) if fitted else {}
    record = {
        path: {**entry, "fitted": True} if path in with_4_bits else entry
        for path, entry in record.items()
    }
    quantize_layers(model.module, record)
    with console.progress("rounding", len(with_4_bits)) as advance:
        for path in with_4_bits:
            layer: Any = model.module.get_submodule(path)
            scales = fit_scales(layer.weight_quantizer, layer.weight)
            if path in hessian:
                layer.weight.data, scales = rounded(
                    layer.weight.data,
                    scales.view(len(layer.weight), -1),
                    hessian[path].to(layer.weight.dtype),
                )
            layer.weight_quantizer.scales.copy_(scales.flatten())
            advance(1)
    return record


@torch.no_grad()
def fit_scales(quantizer: WeightQuantizer, weight: Tensor) -> Tensor:
    """Return the scale of each channel or group (n) with the least squared error of a weight."""
    groups = quantizer.grouped(weight)
    scales = widest = WeightQuantizer(quantizer.bits, quantizer.group).scales_of(groups)
    least = torch.full_like(widest, float("inf"))
    for share in torch.linspace(1.0, _NARROWEST, _CANDIDATES).tolist():
        candidate = widest * share
        error = (groups - _quantized(groups, candidate[:, None])).square().sum(dim=1)
        scales = torch.where(error < least, candidate, scales)
        least = least.minimum(error)
    return scales


def rounded(weight: Tensor, scales: Tensor, hessian: Tensor) -> tuple[Tensor, Tensor]:
    """Return a weight (out, in) whose values are integers times scales, and the scales.

    Args:
        weight: (out, in).
        scales: to begin with, (out, groups).
        hessian: (in, in).
    """
    size = weight.shape[1] // scales.shape[1]
    integers = torch.zeros_like(weight)
    for _ in range(_PASSES):
        by_column = scales.repeat_interleave(size, dim=1)
        integers = (round_in_turn(weight, scales, hessian) / by_column).round()
        scales = refit_scales(weight, integers, scales, hessian)
    return integers * scales.repeat_interleave(size, dim=1), scales


@torch.no_grad()
def refit_scales(weight: Tensor, integers: Tensor, scales: Tensor, hessian: Tensor) -> Tensor:
    """Return the scales (out, groups) with the least output error for a weight's integers.

    They are the solution of least squares for each row; a scale that would leave half to twice its
    value stays.

    Args:
        weight: (out, in).
        integers: of its values, (out, in).
        scales: so far, (out, groups).
        hessian: (in, in).
    """
    parts = [
        _refit(weight[start:end], integers[start:end], scales[start:end], hessian)
        for start, end in pairwise([*range(0, len(weight), _ROWS_AT_ONCE), len(weight)])
    ]
    return torch.cat(parts)


def _refit(weight: Tensor, integers: Tensor, scales: Tensor, hessian: Tensor) -> Tensor:
    groups = scales.shape[1]
    size = weight.shape[1] // groups
    between = torch.stack(
        [
            _group_sums(integers[:, at : at + size] @ hessian[at : at + size] * integers, groups)
            for at in range(0, weight.shape[1], size)
        ],
        dim=1,
    )  # (out, groups, groups)
    target = _group_sums(weight @ hessian * integers, groups)
    residual = target - (between @ scales[..., None])[..., 0]
    mean = between.diagonal(dim1=1, dim2=2).mean(dim=1, keepdim=True)
    between.diagonal(dim1=1, dim2=2).add_((_SCALE_DAMPING * mean).clamp(min=_TINY))
    refitted = scales + torch.linalg.solve(between, residual)
    return torch.where((refitted > scales / 2) & (refitted < scales * 2), refitted, scales)


@torch.no_grad()
def round_in_turn(weight: Tensor, scales: Tensor, hessian: Tensor) -> Tensor:
    """Return a weight (out, in) rounded column by column; later columns make up for each error.

    Args:
        weight: (out, in).
        scales: (out, groups).
        hessian: (in, in).
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
    """Return the sums (out, groups) of values (out, in)."""
    return values.view(len(values), groups, -1).sum(dim=2)


def _quantized(values: Tensor, scales: Tensor) -> Tensor:
    """Return values rounded to integers of 4 bits times scales."""
    return (values / scales).round().clamp(*integer_range(4)) * scales

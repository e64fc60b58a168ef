"""Weights of 4 bits whose rounding is fitted to what the layers read, and to what comes of it.

Scales are those with the least squared error of the weights. Then each weight of a linear layer,
and each value of a table's row, is rounded in turn, and what the outputs lose by it is made good by
the ones still to come. Once all are whole numbers, the scales are fitted anew; both happen twice.

Source: Frantar et al. 2023, "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
Transformers", section 3; the order of columns is that of its authors' code (`act-order`). Tables
are ours (docs/decisions/0018-four-bits-are-rounded-to-what-is-read.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from bmc import console
from bmc.compress.quantize._form import alone, place
from bmc.compress.quantize._points import Grid, levels
from bmc.compress.quantize._products import products_of
from bmc.compress.quantize._watching import check_rows
from bmc.model import Model, Record

_PASSES = 2
_SCALE_DAMPING = 1e-3
_AT_ONCE = 512  # rows, whose scales are solved for together
_TINY = torch.finfo(torch.float32).tiny
_BLOCK = 128  # columns whose errors are passed on at once to those behind them
_DAMPING = 0.01  # of the mean square: what nothing was read from must not weigh nothing
_NARROWEST, _CANDIDATES = 0.4, 61
_WIDEST = 8192  # products of 256 MB


def place_fitted(
    model: Model, record: Record, found: Mapping[str, nn.Module], rows: Sequence[Any]
) -> Record:
    """Quantize layers as a record says, weights of 4 bits fitted, and return what was done.

    Args:
        model: its own inference form, in float.
        record: how each of the layers is quantized.
        found: those layers, by path.
        rows: raw rows, of the training part.

    Raises:
        UsageError: there are fewer than two rows.
        DataError: a layer read NaN or infinity.
    """
    check_rows(rows)
    few = {path: own for path, own in record.items() if own["bits"] == 4}
    kinds = (nn.Linear, nn.Embedding)
    own_weights = alone(model.module, {path: found[path] for path in few}, kinds)
    fitted = {path: own for path, own in own_weights.items() if own.weight.shape[1] <= _WIDEST}
    products = products_of(model.module, fitted, model.encoder, rows) if fitted else {}
    done = {path: {**own, "fitted": True} if path in few else own for path, own in record.items()}
    place(model.module, done)
    with console.progress("rounding", len(few)) as advance:
        for path in few:
            layer: Any = found[path]
            scales = fit_scales(layer.grid, layer.weight)
            if path in products:
                scales = scales.view(len(layer.weight), -1)
                layer.weight.data, scales = rounded(
                    layer.weight.data, scales, products[path].to(layer.weight.dtype)
                )
            layer.grid.scales.copy_(scales.flatten())
            advance(1)
    return done


@torch.no_grad()
def fit_scales(grid: Grid, weight: Tensor) -> Tensor:
    """Return the scale of each channel or group (n) with the least squared error of a weight."""
    rows = grid.rows(weight)
    scales = widest = Grid(grid.bits, grid.group).scales_of(rows)
    least = torch.full_like(widest, float("inf"))
    for share in torch.linspace(1.0, _NARROWEST, _CANDIDATES).tolist():
        tried = widest * share
        error = (rows - _on_grid(rows, tried[:, None])).square().sum(dim=1)
        scales = torch.where(error < least, tried, scales)
        least = least.minimum(error)
    return scales


def rounded(weight: Tensor, scales: Tensor, products: Tensor) -> tuple[Tensor, Tensor]:
    """Return a weight (out, in) on its grid, and the grid's scales (out, groups).

    Args:
        weight: (out, in).
        scales: (out, groups), to begin with.
        products: (in, in), how errors of two columns count together.
    """
    size = weight.shape[1] // scales.shape[1]
    whole = torch.zeros_like(weight)
    for _ in range(_PASSES):
        by_column = scales.repeat_interleave(size, dim=1)
        whole = (round_in_turn(weight, scales, products) / by_column).round()
        scales = refit_scales(weight, whole, scales, products)
    return whole * scales.repeat_interleave(size, dim=1), scales


@torch.no_grad()
def refit_scales(weight: Tensor, whole: Tensor, scales: Tensor, products: Tensor) -> Tensor:
    """Return the scales (out, groups) with the least error of whole numbers (out, in).

    Least squares by row; a scale that would leave half to twice its size stays.
    """
    parts = [
        _refit(weight[start:end], whole[start:end], scales[start:end], products)
        for start, end in pairwise([*range(0, len(weight), _AT_ONCE), len(weight)])
    ]
    return torch.cat(parts)


def _refit(weight: Tensor, whole: Tensor, scales: Tensor, products: Tensor) -> Tensor:
    groups = scales.shape[1]
    size = weight.shape[1] // groups
    between = torch.stack(
        [
            _sums(whole[:, at : at + size] @ products[at : at + size] * whole, groups)
            for at in range(0, weight.shape[1], size)
        ],
        dim=1,
    )  # (out, groups, groups)
    wanted = _sums(weight @ products * whole, groups)
    left = wanted - (between @ scales[..., None])[..., 0]
    mean = between.diagonal(dim1=1, dim2=2).mean(dim=1, keepdim=True)
    between.diagonal(dim1=1, dim2=2).add_((_SCALE_DAMPING * mean).clamp(min=_TINY))
    found = scales + torch.linalg.solve(between, left)
    return torch.where((found > scales / 2) & (found < scales * 2), found, scales)


@torch.no_grad()
def round_in_turn(weight: Tensor, scales: Tensor, products: Tensor) -> Tensor:
    """Return a weight (out, in) on its grid, each column's error made good by the columns after it.

    Args:
        weight: (out, in).
        scales: (out, groups).
        products: (in, in), the mean products of what the layer reads.
    """
    width = weight.shape[1]
    order = products.diagonal().argsort(descending=True)
    damping = (
        _DAMPING
        * products.diagonal().mean().clamp(min=1e-12)
        * torch.eye(width, dtype=products.dtype)
    )
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(products[order][:, order] + damping))
    spread = torch.linalg.cholesky(inverse, upper=True)
    left = weight[:, order].clone()
    scales = scales.repeat_interleave(width // scales.shape[1], dim=1)[:, order]
    for start in range(0, width, _BLOCK):
        end = min(start + _BLOCK, width)
        errors = weight.new_zeros(len(weight), end - start)
        for at in range(start, end):
            column = left[:, at].clone()
            left[:, at] = _on_grid(column, scales[:, at])
            error = errors[:, at - start] = (column - left[:, at]) / spread[at, at]
            left[:, at + 1 : end] -= error[:, None] * spread[at, at + 1 : end]
        left[:, end:] -= errors @ spread[start:end, end:]
    return left[:, order.argsort()]


def _sums(values: Tensor, groups: int) -> Tensor:
    """Return the sums (out, groups) of values (out, in)."""
    return values.view(len(values), groups, -1).sum(dim=2)


def _on_grid(values: Tensor, scales: Tensor) -> Tensor:
    return (values / scales).round().clamp(*levels(4)) * scales

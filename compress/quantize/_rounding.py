"""Weights of 4 bits whose rounding is fitted to what the layers read.

Scales are those with the least squared error of the weights. Then each weight of a linear layer is
rounded in turn, and what the layer's outputs lose by it is made good by the weights still to come.

Source: Frantar et al. 2023, "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
Transformers", section 3; the order of columns is that of its authors' code (`act-order`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bmc import console
from bmc.compress.quantize._form import alone, place
from bmc.compress.quantize._points import Grid, levels
from bmc.compress.quantize._watching import check_rows, no_number, watch
from bmc.inputs import Encoder
from bmc.model import Model, Record

_BLOCK = 128  # columns whose errors are passed on at once to those behind them
_DAMPING = 0.01  # of the mean square: what nothing was read from must not weigh nothing
_NARROWEST, _CANDIDATES = 0.4, 61
_MOST_INPUTS = 8192  # products of 256 MB


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
    linears = alone(model.module, {path: found[path] for path in few})
    narrow = {path: own for path, own in linears.items() if own.in_features <= _MOST_INPUTS}
    products = products_of(model.module, narrow, model.encoder, rows) if narrow else {}
    for path, own in products.items():
        if not own.isfinite().all():
            raise no_number(path)
    done = {path: {**own, "fitted": True} if path in few else own for path, own in record.items()}
    place(model.module, done)
    with console.progress("rounding", len(few)) as advance:
        for path in few:
            layer: Any = found[path]
            layer.grid.scales.copy_(fit_scales(layer.grid, layer.weight))
            if path in products:
                scales = layer.grid.scales.view(len(layer.weight), -1)
                layer.weight.data = round_in_turn(layer.weight.data, scales, products[path])
            advance(1)
    return done


@torch.inference_mode()
def products_of(
    form: nn.Module, linears: Mapping[str, nn.Module], encoder: Encoder, rows: Sequence[Any]
) -> dict[str, Tensor]:
    """Return the mean products of what linear layers read, (in, in), by path.

    Args:
        form: in float.
        linears: its layers, by path.
        encoder: of the rows.
        rows: raw rows, of the training part.
    """
    found: dict[str, Tensor] = {}
    counts = dict.fromkeys(linears, 0)

    def add(path: str, values: Tensor) -> None:
        values = values.flatten(0, -2).float()
        counts[path] += len(values)
        products = values.t() @ values
        found[path] = found[path] + products if path in found else products

    watch(form, linears, encoder, rows, add, "what layers read")
    return {path: own / max(counts[path], 1) for path, own in found.items()}


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
    damping = _DAMPING * products.diagonal().mean().clamp(min=1e-12) * torch.eye(width)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(products[order][:, order] + damping))
    spread = torch.linalg.cholesky(inverse, upper=True)
    left = weight[:, order].clone()
    scales = scales.repeat_interleave(width // scales.shape[1], dim=1)[:, order]
    for start in range(0, width, _BLOCK):
        end = min(start + _BLOCK, width)
        errors = torch.zeros(len(weight), end - start)
        for at in range(start, end):
            column = left[:, at].clone()
            left[:, at] = _on_grid(column, scales[:, at])
            error = errors[:, at - start] = (column - left[:, at]) / spread[at, at]
            left[:, at + 1 : end] -= error[:, None] * spread[at, at + 1 : end]
        left[:, end:] -= errors @ spread[start:end, end:]
    return left[:, order.argsort()]


def _on_grid(values: Tensor, scales: Tensor) -> Tensor:
    return (values / scales).round().clamp(*levels(4)) * scales

"""Weights of 4 bits whose rounding is fitted to what the layers read, and to what comes of it.

Scales are those with the least squared error of the weights. Then each weight of a linear layer,
and each value of a table's row, is rounded in turn, and what the outputs lose by it is made good by
the ones still to come. How errors of two columns count together is found in one pass over rows.
Once all are whole numbers, the scales are fitted anew; both happen twice.

Source: Frantar et al. 2023, "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
Transformers", section 3; the order of columns is that of its authors' code (`act-order`). That what
is read counts by its gradients: Kim et al. 2025, "GuidedQuant", section 3; tables are ours
(docs/decisions/0018-four-bits-are-rounded-to-what-is-read.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from bmc import console, inputs
from bmc.compress.quantize._form import alone, place
from bmc.compress.quantize._points import Grid, levels
from bmc.compress.quantize._watching import check_rows, no_number
from bmc.inputs import Encoder
from bmc.model import Model, Record, output_of

_ROWS, _STEPS = 16, 2048  # a batch, whose activations are kept for the way back
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


def products_of(
    form: nn.Module, layers: Mapping[str, nn.Module], encoder: Encoder, rows: Sequence[Any]
) -> dict[str, Tensor]:
    """Return how errors of two of a weight's columns count together, (columns, columns), by path.

    For a linear layer that is the products of what it reads: half with all of it alike, half by how
    far the network's outputs move with the layer's, since of a sentence some words count more. For
    a table it is the products of the gradients themselves, and half as much for every column alike.

    Args:
        form: in float.
        layers: its linear layers and tables, by path.
        encoder: of the rows.
        rows: raw rows, of the training part.

    Raises:
        DataError: a layer read NaN or infinity.
    """
    read: dict[str, Tensor] = {}
    moved: dict[str, Tensor] = {}

    def see(path: str, values: Tensor) -> None:
        if not isinstance(layers[path], nn.Embedding):
            values = _flat(values)
            read[path] = read.get(path, 0) + values.t() @ values

    def feel(path: str, values: Tensor, gradient: Tensor) -> None:
        gradient = _flat(gradient)
        if isinstance(layers[path], nn.Embedding):
            moved[path] = moved.get(path, 0) + gradient.t() @ gradient
        else:
            values, counts = _flat(values), gradient.square().sum(dim=1, keepdim=True)
            moved[path] = moved.get(path, 0) + (values * counts).t() @ values

    _watch_gradients(form, layers, encoder, rows, see, feel)
    found: dict[str, Tensor] = {}
    for path in layers:
        alike, own = read.pop(path, None), moved.pop(path, None)
        if alike is not None and not alike.isfinite().all():
            raise no_number(path)
        if own is not None and not own.isfinite().all():
            own = None  # a gradient may be infinite where all answers are numbers
        if alike is None and own is not None:
            alike = torch.eye(len(own))
        parts = [_scaled(one) for one in (alike, own) if one is not None]
        if parts:
            found[path] = torch.stack(parts).sum(dim=0)
    return found


def _watch_gradients(
    form: nn.Module,
    layers: Mapping[str, nn.Module],
    encoder: Encoder,
    rows: Sequence[Any],
    see: Callable[[str, Tensor], None],
    feel: Callable[[str, Tensor, Tensor], None],
) -> None:
    """Show what layers read (..., in), and with it the gradient of what they made (..., out).

    The gradient is that of a sum of the outputs, their signs drawn at random: its mean square is
    that of all outputs' together. Where outputs do not depend on a layer there is none.
    """

    def hook_of(path: str) -> Any:
        def hook(_: nn.Module, given: tuple[Tensor, ...], made: Tensor) -> Tensor | None:
            if not given:
                return None  # called by the name of its argument
            values = given[0].detach().clone()  # what it read may be written into later
            see(path, values)
            made = made if made.requires_grad else made.detach().requires_grad_()

            def of(gradient: Tensor) -> None:
                feel(path, values, gradient)

            made.register_hook(of)  # type: ignore[no-untyped-call]
            return made.clone()  # whatever follows may write into it

        return hook

    learning = {name: own.requires_grad for name, own in form.named_parameters()}
    hooks = [part.register_forward_hook(hook_of(path)) for path, part in layers.items()]
    signs = torch.Generator().manual_seed(0)
    size = max(1, min(_ROWS, _STEPS // max(encoder.longest().values(), default=1)))
    try:
        form.requires_grad_(False)
        with console.progress("what its weights change", len(rows)) as advance, torch.enable_grad():
            for places, arrays in inputs.ordered_batches(encoder, encoder.encode(rows), size):
                tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
                made = output_of(form, tensors)
                sign = 2.0 * torch.randint(0, 2, made.shape, generator=signs) - 1
                if made.requires_grad:
                    (made * sign).sum().backward()  # type: ignore[no-untyped-call]
                advance(len(places))
    finally:
        for hook in hooks:
            hook.remove()
        for name, own in form.named_parameters():
            own.requires_grad_(learning[name])


def _flat(values: Tensor) -> Tensor:
    return values.reshape(-1, values.shape[-1]).float()


def _scaled(products: Tensor) -> Tensor:
    """Return products whose mean square is 1; none stay none."""
    return products / products.diagonal().mean().clamp(min=_TINY)


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
    count, groups = scales.shape
    size = weight.shape[1] // groups
    between = torch.stack(
        [
            (whole[:, at : at + size] @ products[at : at + size] * whole)
            .view(count, groups, -1)
            .sum(2)
            for at in range(0, weight.shape[1], size)
        ],
        dim=1,
    )  # (out, groups, groups)
    wanted = (weight @ products * whole).view(count, groups, -1).sum(2)
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

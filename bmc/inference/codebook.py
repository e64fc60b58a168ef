"""Layers whose weight comes from a codebook: a few values, and an index for each weight."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, pad

from bmc.errors import UsageError
from bmc.inference.replacing import rebuilt_as

_MAX_VALUES = 256
_MAX_PAIRED_VALUES = 16


class Codebook(nn.Module):
    """A weight as trainable values and fixed indices into them.

    With up to 16 values, each byte is the index of a pair of weights in a table of all pairs of
    values. Runtimes then look up both weights at once and need no operator that unpacks bytes.

    Args:
        shape: shape of the weight; its first axis is the rows.
        values: number of values of each codebook, 2 to 256.
        groups: number of codebooks, each for an equal part of the rows.

    Raises:
        ValueError: `values` is out of range, or the rows are not divisible by `groups`.
    """

    indices: Tensor

    def __init__(self, shape: tuple[int, ...], values: int, groups: int) -> None:
        super().__init__()
        if not 2 <= values <= _MAX_VALUES or groups < 1 or shape[0] % groups:
            raise ValueError(f"{groups} codebooks of {values} values do not fit a weight {shape}")
        self.shape = tuple(shape)
        self.columns = math.prod(shape[1:])
        self.paired = values <= _MAX_PAIRED_VALUES
        self.values = nn.Parameter(torch.zeros(groups, values))
        width = (self.columns + 1) // 2 if self.paired else self.columns
        self.register_buffer("indices", torch.zeros(shape[0], width, dtype=torch.uint8))

    def forward(self) -> Tensor:
        """Return the weight in its original shape."""
        return self._look_up(self.indices, self.offsets()).view(self.shape)

    def rows(self, row_indices: Tensor) -> Tensor:
        """Return rows (..., columns) of a weight with one codebook.

        Args:
            row_indices: int64 indices (...) of the rows.
        """
        return self._look_up(self.indices[row_indices])

    @torch.no_grad()
    def fill(self, values: Tensor, indices: Tensor) -> None:
        """Set the values (groups, values) and the index of each weight, uint8 (rows, columns)."""
        self.values.copy_(values)
        if self.paired:
            padded = pad(indices, (0, indices.shape[1] % 2))
            indices = padded[:, ::2] + values.shape[1] * padded[:, 1::2]
        self.indices.copy_(indices)

    def table(self) -> Tensor:
        """Return the values as a table (values, 1), or of pairs of values (pairs, 2)."""
        return _table(self.values.detach(), self.paired)

    def offsets(self) -> Tensor | None:
        """Return the start of each row's codebook in the table (rows, 1); None for one."""
        groups, values = self.values.shape
        if groups == 1:
            return None
        size = values**2 if self.paired else values
        starts = torch.arange(groups, dtype=torch.int32, device=self.values.device) * size
        return starts.repeat_interleave(self.shape[0] // groups)[:, None]

    def _look_up(self, indices: Tensor, offsets: Tensor | None = None) -> Tensor:
        codes = indices.int() if offsets is None else indices.int() + offsets
        if torch.is_grad_enabled() and self.values.requires_grad:
            every = codes if indices is self.indices else self.indices
            weights: Tensor = _Lookup.apply(self.values, codes, every, self.columns, self.paired)  # type: ignore[no-untyped-call]
        else:
            weights = embedding(codes, _table(self.values, self.paired))
        flat = weights.flatten(-2)
        return flat[..., : self.columns] if flat.shape[-1] > self.columns else flat


class _Lookup(torch.autograd.Function):
    """Look up codes; the gradient of a value is the mean of the gradients of its weights.

    A training step then moves each value as far as its weights would move on average, and the
    learning rate of an unclustered layer suits a codebook. The true gradient, the sum over the
    weights, diverges under SGD. The mean is over all weights of the layer, also those that are not
    looked up, whose gradients are 0: so the gradients of a batch's parts add up to its own.
    """

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, codes: Tensor, every: Tensor, columns: int, paired: bool
    ) -> Tensor:
        ctx.save_for_backward(codes, every)
        ctx.shape, ctx.columns, ctx.paired = values.shape, columns, paired
        return embedding(codes, _table(values, paired))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None, None]:
        codes, every = ctx.saved_tensors
        groups, values = ctx.shape
        looked_up, counted = [(codes, gradient[..., 0])], [every]
        if ctx.paired:  # where the number of columns is odd, the last byte holds only one weight
            pairs = ctx.columns // 2
            looked_up.append((codes[..., :pairs], gradient[..., :pairs, 1]))
            counted.append(every[..., :pairs])
        entries = groups * values ** (2 if ctx.paired else 1)
        sums = [torch.bincount(c.flatten(), g.flatten().double(), entries) for c, g in looked_up]
        uses = [torch.bincount(c.flatten(), minlength=entries).double() for c in counted]
        if ctx.paired:
            sums, uses = (_marginals(tables, groups, values) for tables in (sums, uses))
        mean = torch.stack(sums).sum(dim=0) / torch.stack(uses).sum(dim=0).clamp(min=1)
        return mean.view(groups, values).to(gradient.dtype), None, None, None, None


def _table(values: Tensor, paired: bool) -> Tensor:
    """Return a codebook as a table of values (values, 1), or of pairs of values (pairs, 2)."""
    if not paired:
        return values.view(-1, 1)
    groups, count = values.shape
    first = values[:, None, :].expand(groups, count, count)
    second = values[:, :, None].expand(groups, count, count)
    return torch.stack([first, second], dim=-1).view(-1, 2)


def _marginals(tables: list[Tensor], groups: int, values: int) -> list[Tensor]:
    """Sum the tables of first and of second weights over the other weight of each pair.

    Returns:
        two tensors (groups, values): for values as first weight and as second weight of a pair.
    """
    first, second = (table.view(groups, values, values) for table in tables)
    return [first.sum(dim=1), second.sum(dim=2)]


class ClusteredLayer(nn.Module):
    """A layer whose weight comes from a codebook."""

    codebook: Codebook

    @property
    def weight(self) -> Tensor:
        """The weight, computed at each access; writing into the returned tensor has no effect."""
        return self.codebook()  # type: ignore[no-any-return]


class ClusteredLinear(ClusteredLayer, nn.Linear):  # type: ignore[override]
    """A linear layer with a codebook."""


class ClusteredConv2d(ClusteredLayer, nn.Conv2d):  # type: ignore[override]
    """A convolution with a codebook."""


class ClusteredEmbedding(ClusteredLayer, nn.Embedding):  # type: ignore[override]
    """A lookup table with a codebook; only the rows that are read are computed."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  as in PyTorch
        """Return rows (..., width) for int64 indices (...)."""
        return self.codebook.rows(input)


CLUSTERED: Mapping[type[nn.Module], type[nn.Module]] = {
    nn.Linear: ClusteredLinear,
    nn.Conv2d: ClusteredConv2d,
    nn.Embedding: ClusteredEmbedding,
}


def clustered_layer(layer: nn.Module, codebook: Codebook) -> nn.Module:
    """Return a copy of a layer whose weight is replaced by a codebook."""
    clustered = rebuilt_as(CLUSTERED[type(layer)], layer)
    del clustered._parameters["weight"]
    clustered.codebook = codebook
    return clustered


def is_clustered(module: nn.Module, inside: bool = True) -> bool:
    """Tell whether a module, or with `inside` also one of its submodules, is a clustered layer."""
    parts = module.modules() if inside else [module]
    return any(isinstance(part, ClusteredLayer) for part in parts)


def refuse_clustered(module: nn.Module, method: str) -> None:
    """Refuse a technique that changes weights or shapes for a model with codebooks.

    Args:
        module: the network.
        method: name of the technique, for the message.

    Raises:
        UsageError: a layer of the model is clustered.
    """
    for name, part in module.named_modules():
        if isinstance(part, ClusteredLayer):
            raise UsageError(
                f"{method} cannot change {name!r}: its weights are indices into a codebook and "
                f"cannot change one by one; apply {method} to the model before clustering, and "
                "cluster last"
            )

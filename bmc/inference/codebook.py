"""Layers whose weight comes from a codebook: few values, and an index for each weight."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, pad

from bmc.errors import UsageError
from bmc.inference.replacing import rebuilt_as

_MOST_VALUES = 256
_MOST_PAIRED_VALUES = 16


class Codebook(nn.Module):
    """A weight as values, which training moves, and indices, which stay.

    With up to 16 values, a byte is the index of a pair of weights in a table of all pairs, so that
    no run time has to unpack bytes.

    Args:
        shape: of the weight; its first axis is the rows.
        values: number of values of each codebook, 2 to 256.
        groups: number of codebooks, each for an equal part of the rows.

    Raises:
        ValueError: the number of values is out of range, or groups do not divide the rows.
    """

    indices: Tensor

    def __init__(self, shape: tuple[int, ...], values: int, groups: int) -> None:
        super().__init__()
        if not 2 <= values <= _MOST_VALUES or groups < 1 or shape[0] % groups:
            raise ValueError(f"{groups} codebooks of {values} values do not fit a weight {shape}")
        self.shape = tuple(shape)
        self.columns = math.prod(shape[1:])
        self.paired = values <= _MOST_PAIRED_VALUES
        self.values = nn.Parameter(torch.zeros(groups, values))
        width = (self.columns + 1) // 2 if self.paired else self.columns
        self.register_buffer("indices", torch.zeros(shape[0], width, dtype=torch.uint8))

    def forward(self) -> Tensor:
        """Return the weight, of its shape."""
        return self._looked_up(self.indices, self._offsets()).view(self.shape)

    def rows(self, places: Tensor) -> Tensor:
        """Return rows of a weight with one codebook, (..., columns), at int64 places (...)."""
        return self._looked_up(self.indices[places])

    @torch.no_grad()
    def fill(self, values: Tensor, indices: Tensor) -> None:
        """Set the values (groups, values) and the index of each weight, uint8 (rows, columns)."""
        self.values.copy_(values)
        if self.paired:
            both = pad(indices, (0, indices.shape[1] % 2))
            indices = both[:, ::2] + values.shape[1] * both[:, 1::2]
        self.indices.copy_(indices)

    def _looked_up(self, indices: Tensor, offsets: Tensor | None = None) -> Tensor:
        codes = indices.int() if offsets is None else indices.int() + offsets
        if torch.is_grad_enabled() and self.values.requires_grad:
            found: Tensor = _Lookup.apply(self.values, codes, self.columns, self.paired)  # type: ignore[no-untyped-call]
        else:
            found = embedding(codes, _table(self.values, self.paired))
        flat = found.flatten(-2)
        return flat[..., : self.columns] if flat.shape[-1] > self.columns else flat

    def _offsets(self) -> Tensor | None:
        """Return where the table of each row's group starts, (rows, 1)."""
        groups, values = self.values.shape
        if groups == 1:
            return None
        size = values**2 if self.paired else values
        starts = torch.arange(groups, dtype=torch.int32, device=self.values.device) * size
        return starts.repeat_interleave(self.shape[0] // groups)[:, None]


class _Lookup(torch.autograd.Function):
    """Look up codes; a value's gradient is the mean of its weights' gradients.

    A step of training then moves each value as far as its weights would move on average, so that
    the same learning rate suits both. Their sum, the true gradient, diverges under SGD.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, codes: Tensor, columns: int, paired: bool) -> Tensor:
        ctx.save_for_backward(codes)
        ctx.shape, ctx.columns, ctx.paired = values.shape, columns, paired
        return embedding(codes, _table(values, paired))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        (codes,) = ctx.saved_tensors
        groups, values = ctx.shape
        looked_up = [(codes, gradient[..., 0])]
        if ctx.paired:  # an odd row's last byte has no second weight
            both = ctx.columns // 2
            looked_up.append((codes[..., :both], gradient[..., :both, 1]))
        entries = groups * values ** (2 if ctx.paired else 1)
        sums = [torch.bincount(c.flatten(), g.flatten().double(), entries) for c, g in looked_up]
        uses = [torch.bincount(c.flatten(), minlength=entries).double() for c, _ in looked_up]
        if ctx.paired:
            sums, uses = (_of_each(pairs, groups, values) for pairs in (sums, uses))
        mean = torch.stack(sums).sum(dim=0) / torch.stack(uses).sum(dim=0).clamp(min=1)
        return mean.view(groups, values).to(gradient.dtype), None, None, None


def _table(values: Tensor, paired: bool) -> Tensor:
    """Return the values of all codes (codes, 1), or of all pairs (codes, 2), row by row."""
    if not paired:
        return values.view(-1, 1)
    groups, count = values.shape
    first = values[:, None, :].expand(groups, count, count)
    second = values[:, :, None].expand(groups, count, count)
    return torch.stack([first, second], dim=-1).view(-1, 2)


def _of_each(pairs: list[Tensor], groups: int, values: int) -> list[Tensor]:
    """Return the sums of pairs (groups, values) over their second value, and over their first."""
    first, second = (table.view(groups, values, values) for table in pairs)
    return [first.sum(dim=1), second.sum(dim=2)]


class ClusteredLayer(nn.Module):
    """A layer whose weight comes from a codebook."""

    codebook: Codebook

    @property
    def weight(self) -> Tensor:
        """The weight, computed at each access: what is written into it is lost."""
        return self.codebook()  # type: ignore[no-any-return]


class ClusteredLinear(ClusteredLayer, nn.Linear):  # type: ignore[override]
    """A linear layer with a codebook."""


class ClusteredConv2d(ClusteredLayer, nn.Conv2d):  # type: ignore[override]
    """A convolution with a codebook."""


class ClusteredEmbedding(ClusteredLayer, nn.Embedding):  # type: ignore[override]
    """A lookup table with a codebook; only the rows that are read are computed."""

    def forward(self, places: Tensor) -> Tensor:
        """Return rows (..., width) at int64 places (...)."""
        return self.codebook.rows(places)


CLUSTERED: Mapping[type[nn.Module], type[nn.Module]] = {
    nn.Linear: ClusteredLinear,
    nn.Conv2d: ClusteredConv2d,
    nn.Embedding: ClusteredEmbedding,
}


def clustered_layer(layer: nn.Module, codebook: Codebook) -> nn.Module:
    """Return a layer whose weight comes from a codebook, for one with a weight of its own."""
    clustered = rebuilt_as(CLUSTERED[type(layer)], layer)
    del clustered._parameters["weight"]
    clustered.codebook = codebook
    return clustered


def is_clustered(module: nn.Module, inside: bool = True) -> bool:
    """Tell whether a layer, or a layer inside a module, has a codebook for its weight."""
    parts = module.modules() if inside else [module]
    return any(isinstance(part, ClusteredLayer) for part in parts)


def refuse_clustered(module: nn.Module, method: str) -> None:
    """Refuse to change weights or shapes of a model with codebooks.

    Args:
        module: the network.
        method: for messages.

    Raises:
        UsageError: a layer of the model is clustered.
    """
    for name, part in module.named_modules():
        if isinstance(part, ClusteredLayer):
            raise UsageError(
                f"{method} cannot change {name!r}: its weights are indices into a codebook, which "
                "no longer move one by one; cluster last: take the model from before it"
            )

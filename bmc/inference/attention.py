"""Attention for inference forms: fewer, larger operations than in the trained modules."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

MASKED = -1e4  # exp(-1e4) is 0 in fp32, and -1e4 is finite in fp16


def additive_mask(attention_mask: Tensor, hidden: Tensor) -> Tensor:
    """Return the mask that is added to attention scores, (rows, 1, 1, length).

    Args:
        attention_mask: int64 (rows, length), 0 at padding.
        hidden: tensor whose dtype the mask gets.
    """
    return (1.0 - attention_mask[:, None, None, :].to(hidden.dtype)) * MASKED


def attend(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor, heads: int, queries: int
) -> Tensor:
    """Compute multi-head attention of each row's queries to the row's tokens.

    Args:
        query: scaled queries (rows x queries, width).
        key: keys (rows x length, width).
        value: values (rows x length, width).
        mask: additive mask of the scores, (rows, 1 or heads, 1 or queries, length).
        heads: number of heads.
        queries: number of queries of a row.

    Returns:
        (rows x queries, width).
    """
    rows, length = mask.shape[0], mask.shape[-1]
    query, key = (
        query.to(value.dtype),
        key.to(value.dtype),
    )  # query and key may come from fp32 layers
    query = query.view(rows, queries, heads, -1).transpose(1, 2)
    key, value = (part.view(rows, length, heads, -1).transpose(1, 2) for part in (key, value))
    # The softmax is always computed in fp32; in an fp32 network the casts do nothing.
    weights = torch.softmax((query @ key.transpose(-1, -2) + mask).float(), dim=-1).to(value.dtype)
    width = heads * value.shape[-1]
    return (weights @ value).transpose(1, 2).reshape(-1, width)


def first_tokens(hidden: Tensor, mask: Tensor) -> Tensor:
    """Return the first token's vector of each row, (rows, width).

    Args:
        hidden: vectors of all tokens (rows x length, width).
        mask: additive mask (rows, ..., length).
    """
    return hidden.view(mask.shape[0], mask.shape[-1], hidden.shape[-1])[:, 0]


class Gelu(nn.Module):
    """The exact GELU, as the sequence of operators that ONNX Runtime fuses."""

    def forward(self, hidden: Tensor) -> Tensor:
        """Return the activation of each value."""
        return hidden * (1.0 + torch.erf(hidden / math.sqrt(2.0))) * 0.5


def fusable_activation(activation: Any) -> Any:
    """Return the activation to export: `Gelu` for an exact GELU, otherwise the same activation."""
    # The large values tell a GELU that is clipped apart.
    probe = torch.cat([torch.linspace(-4.0, 4.0, 33), torch.tensor([-100.0, 100.0])])
    return Gelu() if torch.equal(activation(probe), nn.functional.gelu(probe)) else activation


def fused_projection(
    linears: list[nn.Module], scale: float, tied: frozenset[int] = frozenset()
) -> nn.Module:
    """Return one module that applies several linear layers to an input.

    The layers stay separate where a weight is tied to another module, since fusing would store the
    weight twice, and where only some of the weights come from codebooks.

    Args:
        linears: the linear layers, for example of query, key and value.
        scale: factor of the first layer's outputs.
        tied: identities of the parameters that several modules hold.
    """
    fusable = [
        linear
        for linear in linears
        if isinstance(linear, nn.Linear)
        and linear.bias is not None
        and id(linear.weight) not in tied
    ]
    is_plain = {type(linear) is nn.Linear for linear in fusable}
    if len(fusable) < len(linears) or len(is_plain) > 1:
        return _Separate(linears, scale)
    return (_Fused if is_plain == {True} else _FusedAtLoading)(fusable, scale)


def projection_part(projection: nn.Module, start: int, stop: int) -> nn.Module:
    """Return the layers start..stop of a projection as one module that shares their weights."""
    if isinstance(projection, _Fused):
        return ProjectionSlice(projection, start, stop)
    linears = list(projection.linears)  # type: ignore[arg-type]
    scale = projection.scale if start == 0 else 1.0
    return type(projection)(linears[start:stop], scale)


class _Fused(nn.Module):
    def __init__(self, linears: list[nn.Linear], scale: float) -> None:
        super().__init__()
        factors = [scale] + [1.0] * (len(linears) - 1)
        self.sizes = [linear.out_features for linear in linears]
        self.linear = nn.Linear(linears[0].in_features, sum(self.sizes))
        pairs = list(zip(linears, factors, strict=True))
        with torch.no_grad():
            weights = [linear.weight * factor for linear, factor in pairs]
            self.linear.weight.copy_(torch.cat(weights))
            self.linear.bias.copy_(torch.cat([linear.bias * factor for linear, factor in pairs]))

    def forward(self, hidden: Tensor) -> tuple[Tensor, ...]:
        return self.linear(hidden).split(self.sizes, dim=-1)  # type: ignore[no-any-return]


class ProjectionSlice(nn.Module):
    """Some layers of a fused projection, computed with rows of the fused weight."""

    def __init__(self, projection: _Fused, start: int, stop: int) -> None:
        super().__init__()
        self.whole = projection.linear
        self.first = sum(projection.sizes[:start])
        self.sizes = projection.sizes[start:stop]

    def forward(self, hidden: Tensor) -> tuple[Tensor, ...]:
        """Return each layer's outputs (rows, out) of vectors (rows, in)."""
        part = slice(self.first, self.first + sum(self.sizes))
        if type(self.whole) is nn.Linear:
            outputs = nn.functional.linear(hidden, self.whole.weight[part], self.whole.bias[part])
        else:  # a packed weight cannot be sliced
            outputs = self.whole(hidden)[..., part]
        return outputs.split(self.sizes, dim=-1)  # type: ignore[no-any-return, no-untyped-call]


class _FusedAtLoading(nn.Module):
    """Linear layers with codebooks: the graph concatenates their weights.

    Runtimes fold that concatenation when they load the file, which stores the codebooks alone.
    """

    def __init__(self, linears: list[nn.Linear], scale: float) -> None:
        super().__init__()
        self.linears = nn.ModuleList(linears)
        self.sizes = [linear.out_features for linear in linears]
        self.scale = scale

    def forward(self, hidden: Tensor) -> tuple[Tensor, ...]:
        factors = [self.scale] + [1.0] * (len(self.linears) - 1)
        pairs: list[Any] = list(zip(self.linears, factors, strict=True))
        weight = torch.cat(
            [linear.weight * factor if factor != 1 else linear.weight for linear, factor in pairs]
        )
        bias = torch.cat([linear.bias * factor for linear, factor in pairs])
        outputs = nn.functional.linear(hidden.to(weight.dtype), weight, bias)
        return outputs.split(self.sizes, dim=-1)  # type: ignore[no-any-return, no-untyped-call]


class _Separate(nn.Module):
    def __init__(self, linears: list[nn.Module], scale: float) -> None:
        super().__init__()
        self.linears = nn.ModuleList(linears)
        self.scale = scale

    def forward(self, hidden: Tensor) -> tuple[Tensor, ...]:
        first, *rest = (linear(hidden) for linear in self.linears)
        return first * self.scale, *rest

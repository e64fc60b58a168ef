"""Attention as it is exported: fewer, larger operations, which inference forms share."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

MASKED = -1e4  # exp() of it is 0 in fp32, and it still is a number in fp16


def additive_mask(attention_mask: Tensor, hidden: Tensor) -> Tensor:
    """Return the mask that is added to attention scores, (rows, 1, 1, length).

    Args:
        attention_mask: int64 (rows, length), 0 at padding.
        hidden: a tensor of the dtype that the mask gets.
    """
    return (1.0 - attention_mask[:, None, None, :].to(hidden.dtype)) * MASKED


def attend(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor, heads: int, queries: int
) -> Tensor:
    """Let each row's queries attend to its tokens.

    Args:
        query: scaled, (rows x queries, width).
        key: (rows x length, width).
        value: (rows x length, width).
        mask: added to the scores, (rows, 1 or heads, 1 or queries, length).
        heads: number of heads.
        queries: of a row.

    Returns:
        (rows x queries, width).
    """
    rows, length = mask.shape[0], mask.shape[-1]
    query, key = query.to(value.dtype), key.to(value.dtype)  # some layers may be left in fp32
    query = query.view(rows, queries, heads, -1).transpose(1, 2)
    key, value = (part.view(rows, length, heads, -1).transpose(1, 2) for part in (key, value))
    # The softmax is in fp32 whatever the rest is in; in an fp32 network the casts are no operation.
    weights = torch.softmax((query @ key.transpose(-1, -2) + mask).float(), dim=-1).to(value.dtype)
    width = heads * value.shape[-1]
    return (weights @ value).transpose(1, 2).reshape(-1, width)


def first_tokens(hidden: Tensor, mask: Tensor) -> Tensor:
    """Return the first token's vector of each row, (rows, width).

    Args:
        hidden: (rows x length, width).
        mask: additive, (rows, ..., length).
    """
    return hidden.view(mask.shape[0], mask.shape[-1], hidden.shape[-1])[:, 0]


class Gelu(nn.Module):
    """The exact GELU, multiplied in the order that ONNX Runtime fuses."""

    def forward(self, hidden: Tensor) -> Tensor:
        """Return the activation of each value."""
        return hidden * (1.0 + torch.erf(hidden / math.sqrt(2.0))) * 0.5


def fusable_activation(activation: Any) -> Any:
    """Return the activation to export: an exact GELU becomes one that ONNX Runtime fuses."""
    probe = torch.linspace(-4.0, 4.0, 33)
    return Gelu() if torch.equal(activation(probe), nn.functional.gelu(probe)) else activation


def fused_projection(
    linears: list[nn.Module], scale: float, tied: frozenset[int] = frozenset()
) -> nn.Module:
    """Return one module that applies several linear layers to an input.

    The layers are not fused where a weight is tied to another module's, since it would be stored
    twice; nor where some weights come from a codebook and others do not.

    Args:
        linears: for example query, key and value.
        scale: what the first layer's outputs are multiplied by.
        tied: identities of the parameters that several modules hold.
    """
    known = [linear for linear in linears if isinstance(linear, nn.Linear)]
    untied = all(linear.bias is not None and id(linear.weight) not in tied for linear in known)
    plain = {type(linear) is nn.Linear for linear in known}
    if len(known) < len(linears) or not untied or len(plain) > 1:
        return _Separate(linears, scale)
    return (_Fused if plain == {True} else _Joined)(known, scale)


def projection_part(whole: nn.Module, start: int, stop: int) -> nn.Module:
    """Return some linear layers of a projection as one module; their weights stay stored once."""
    if isinstance(whole, _Fused):
        return ProjectionSlice(whole, start, stop)
    linears, scale = list(whole.linears), whole.scale if start == 0 else 1.0  # type: ignore[arg-type]
    return type(whole)(linears[start:stop], scale)


class _Fused(nn.Module):
    def __init__(self, linears: list[nn.Linear], scale: float) -> None:
        super().__init__()
        factors = [scale] + [1.0] * (len(linears) - 1)
        self.sizes = [linear.out_features for linear in linears]
        self.linear = nn.Linear(linears[0].in_features, sum(self.sizes))
        pairs = list(zip(linears, factors, strict=True))
        with torch.no_grad():
            self.linear.weight.copy_(torch.cat([linear.weight * by for linear, by in pairs]))
            self.linear.bias.copy_(torch.cat([linear.bias * by for linear, by in pairs]))

    def forward(self, hidden: Tensor) -> tuple[Tensor, ...]:
        return self.linear(hidden).split(self.sizes, dim=-1)  # type: ignore[no-any-return]


class ProjectionSlice(nn.Module):
    """Some outputs of a fused projection, computed with rows of its weight."""

    def __init__(self, whole: _Fused, start: int, stop: int) -> None:
        super().__init__()
        self.whole = whole.linear
        self.first = sum(whole.sizes[:start])
        self.sizes = whole.sizes[start:stop]

    def forward(self, hidden: Tensor) -> tuple[Tensor, ...]:
        """Return each layer's outputs (rows, out) of vectors (rows, in)."""
        part = slice(self.first, self.first + sum(self.sizes))
        if type(self.whole) is nn.Linear:
            outputs = nn.functional.linear(hidden, self.whole.weight[part], self.whole.bias[part])
        else:  # a packed weight has no rows to take
            outputs = self.whole(hidden)[..., part]
        return outputs.split(self.sizes, dim=-1)  # type: ignore[no-any-return, no-untyped-call]


class _Joined(nn.Module):
    """Linears whose weights come from codebooks: joined in the graph, folded as it loads."""

    def __init__(self, linears: list[nn.Linear], scale: float) -> None:
        super().__init__()
        self.linears = nn.ModuleList(linears)
        self.sizes = [linear.out_features for linear in linears]
        self.scale = scale

    def forward(self, hidden: Tensor) -> tuple[Tensor, ...]:
        factors = [self.scale] + [1.0] * (len(self.linears) - 1)
        pairs: list[Any] = list(zip(self.linears, factors, strict=True))
        weight = torch.cat(
            [linear.weight * by if by != 1 else linear.weight for linear, by in pairs]
        )
        bias = torch.cat([linear.bias * by for linear, by in pairs])
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

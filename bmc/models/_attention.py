"""Attention as it is exported: fewer, larger operations, which inference forms share."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn

MASKED = -1e4  # exp() of it is 0 in fp32, and it still is a number in fp16


def additive(attention_mask: Tensor, hidden: Tensor) -> Tensor:
    """Return what is added to scores, (rows, 1, 1, length), for an int64 mask (rows, length)."""
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
        heads: how many.
        queries: of a row.

    Returns:
        (rows x queries, width).
    """
    rows, length = mask.shape[0], mask.shape[-1]
    query, key = query.to(value.dtype), key.to(value.dtype)  # some may be kept in 32 bits
    query = query.view(rows, queries, heads, -1).transpose(1, 2)
    key, value = (part.view(rows, length, heads, -1).transpose(1, 2) for part in (key, value))
    # In 32 bits, whatever the rest is in: that is no operation where the rest is.
    weights = torch.softmax((query @ key.transpose(-1, -2) + mask).float(), dim=-1).to(value.dtype)
    width = heads * value.shape[-1]
    return (weights @ value).transpose(1, 2).reshape(-1, width)


def first_rows(hidden: Tensor, mask: Tensor) -> Tensor:
    """Return the first token's vector of each row, of vectors (rows x length, width)."""
    return hidden.view(mask.shape[0], mask.shape[-1], hidden.shape[-1])[:, 0]


class Gelu(nn.Module):
    """The exact GELU, multiplied in the order that ONNX Runtime fuses."""

    def forward(self, hidden: Tensor) -> Tensor:
        """Return it of each value."""
        return hidden * (1.0 + torch.erf(hidden / math.sqrt(2.0))) * 0.5


def exported(activation: Any) -> Any:
    """Return the activation to export: an exact GELU in the order that is fused."""
    probe = torch.linspace(-4.0, 4.0, 33)
    return Gelu() if torch.equal(activation(probe), nn.functional.gelu(probe)) else activation


def tied_in(module: nn.Module) -> frozenset[int]:
    """Return the identities of the parameters that several modules hold."""
    found = [id(own) for part in module.modules() for own in part.parameters(recurse=False)]
    return frozenset(one for one, times in Counter(found).items() if times > 1)


def projection(
    linears: list[nn.Module], scale: float, tied: frozenset[int] = frozenset()
) -> nn.Module:
    """Return one module that applies all `linears` to an input; the first is scaled.

    They are not fused where a weight is `tied` to another module's: it would be stored again; nor
    where some weights are made (of a codebook) and others are not.
    """
    known = [linear for linear in linears if isinstance(linear, nn.Linear)]
    alone = all(one.bias is not None and id(one.weight) not in tied for one in known)
    plain = {type(one) is nn.Linear for one in known}
    if len(known) < len(linears) or not alone or len(plain) > 1:
        return _Separate(linears, scale)
    return (_Fused if plain == {True} else _Joined)(known, scale)


def part_of(whole: nn.Module, start: int, stop: int) -> nn.Module:
    """Return some of the linears of a projection as one module; their weights stay stored once."""
    if isinstance(whole, _Fused):
        return Slice(whole, start, stop)
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


class Slice(nn.Module):
    """Some outputs of a fused projection, computed with rows of its weight."""

    def __init__(self, whole: _Fused, start: int, stop: int) -> None:
        super().__init__()
        self.whole = whole.linear
        self.first = sum(whole.sizes[:start])
        self.sizes = whole.sizes[start:stop]

    def forward(self, hidden: Tensor) -> tuple[Tensor, ...]:
        part = slice(self.first, self.first + sum(self.sizes))
        if type(self.whole) is nn.Linear:
            made = nn.functional.linear(hidden, self.whole.weight[part], self.whole.bias[part])
        else:  # quantized: its weight is no matrix that rows could be taken of
            made = self.whole(hidden)[..., part]
        return made.split(self.sizes, dim=-1)  # type: ignore[no-any-return, no-untyped-call]


class _Joined(nn.Module):
    """Linears whose weights are made (of a codebook): joined in the graph, folded as it loads."""

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
        made = nn.functional.linear(hidden.to(weight.dtype), weight, bias)
        return made.split(self.sizes, dim=-1)  # type: ignore[no-any-return, no-untyped-call]


class _Separate(nn.Module):
    def __init__(self, linears: list[nn.Module], scale: float) -> None:
        super().__init__()
        self.linears = nn.ModuleList(linears)
        self.scale = scale

    def forward(self, hidden: Tensor) -> tuple[Tensor, ...]:
        first, *rest = (linear(hidden) for linear in self.linears)
        return first * self.scale, *rest

"""What the inference forms of BERT and MPNet share: fused attentions and layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from bmc.inference.attention import (
    attend,
    first_tokens,
    fusable_activation,
    fused_projection,
    projection_part,
)


@dataclass(frozen=True)
class AttentionParts:
    """The parts of a live self-attention.

    Args:
        module: the attention itself; layers that share it hold the same one.
        query: projection of the queries.
        key: projection of the keys.
        value: projection of the values.
        heads: number of heads.
        scale: what the queries are multiplied by.
    """

    module: nn.Module
    query: nn.Module
    key: nn.Module
    value: nn.Module
    heads: int
    scale: float


@dataclass(frozen=True)
class LayerParts:
    """The parts of a live encoder layer.

    Args:
        attention: of the layer.
        project: linear layer behind the attention.
        attention_norm: norm behind that.
        widen: first linear layer of the feed-forward part.
        activation: between its linear layers.
        narrow: its second linear layer.
        norm: behind that.
    """

    attention: AttentionParts
    project: nn.Module
    attention_norm: nn.Module
    widen: nn.Module
    activation: Any
    narrow: nn.Module
    norm: nn.Module


def fused_layers(
    layers: Sequence[LayerParts], tied: frozenset[int], mask_by_query: bool
) -> nn.ModuleList:
    """Return the layers of an inference form; the last one computes the first token alone.

    An attention that several layers share is emitted once; if the last layer is one of them, it
    uses parts of the shared projection.

    Args:
        layers: of the live encoder, in order.
        tied: identities of the parameters that several modules hold.
        mask_by_query: whether the additive mask has a row for each query.
    """
    attentions: dict[int, _Attention] = {}
    fused = [
        _Layer(
            attentions.setdefault(id(layer.attention.module), _Attention(layer.attention, tied)),
            layer,
        )
        for layer in layers
    ]
    last = layers[-1]
    uses = sum(layer.attention.module is last.attention.module for layer in layers)
    shared = attentions[id(last.attention.module)].project if uses > 1 else None
    first_token = _FirstTokenAttention(last.attention, tied, shared, mask_by_query)
    fused[-1] = _Layer(first_token, last)
    return nn.ModuleList(fused)


class _Layer(nn.Module):
    def __init__(self, attention: nn.Module, layer: LayerParts) -> None:
        super().__init__()
        self.attention = attention
        self.project = layer.project
        self.attention_norm = layer.attention_norm
        self.widen = layer.widen
        self.activation = fusable_activation(layer.activation)
        self.narrow = layer.narrow
        self.norm = layer.norm

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        kept, mixed = self.attention(hidden, mask)
        hidden = self.attention_norm(self.project(mixed) + kept)
        return self.norm(self.narrow(self.activation(self.widen(hidden))) + hidden)  # type: ignore[no-any-return]


class _Attention(nn.Module):
    """Self-attention of all tokens; returns their vectors, and what they attended to."""

    def __init__(self, parts: AttentionParts, tied: frozenset[int]) -> None:
        super().__init__()
        self.heads = parts.heads
        linears = [parts.query, parts.key, parts.value]
        self.project = fused_projection(linears, parts.scale, tied)

    def forward(self, hidden: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        query, key, value = self.project(hidden)
        return hidden, attend(query, key, value, mask, self.heads, mask.shape[-1])


class _FirstTokenAttention(nn.Module):
    """Self-attention of the first token; with parts of another layer's projection, if any."""

    def __init__(
        self,
        parts: AttentionParts,
        tied: frozenset[int],
        shared: nn.Module | None,
        mask_by_query: bool,
    ) -> None:
        super().__init__()
        self.heads = parts.heads
        self.mask_by_query = mask_by_query
        if shared is None:
            self.query = fused_projection([parts.query], parts.scale, tied)
            self.project = fused_projection([parts.key, parts.value], 1.0, tied)
        else:
            self.query = projection_part(shared, 0, 1)
            self.project = projection_part(shared, 1, 3)

    def forward(self, hidden: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        first = first_tokens(hidden, mask)
        (query,) = self.query(first)
        key, value = self.project(hidden)
        mask = mask[:, :, :1] if self.mask_by_query else mask
        return first, attend(query, key, value, mask, self.heads, 1)

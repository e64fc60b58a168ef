"""Fused attentions and layers, which the inference forms of BERT and MPNet share."""

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
    """The parts of a self-attention module.

    Args:
        module: the attention module, which several layers may share.
        query: projection of the queries.
        key: projection of the keys.
        value: projection of the values.
        heads: number of heads.
        scale: factor of the queries.
    """

    module: nn.Module
    query: nn.Module
    key: nn.Module
    value: nn.Module
    heads: int
    scale: float


@dataclass(frozen=True)
class LayerParts:
    """The parts of an encoder layer.

    Args:
        attention: parts of the layer's self-attention.
        project: output projection of the attention.
        attention_norm: norm after the attention's residual connection.
        widen: first linear layer of the feed-forward part.
        activation: activation of the feed-forward part.
        narrow: second linear layer of the feed-forward part.
        norm: norm after the residual connection of the feed-forward part.
    """

    attention: AttentionParts
    project: nn.Module
    attention_norm: nn.Module
    widen: nn.Module
    activation: Any
    narrow: nn.Module
    norm: nn.Module


def fused_layers(
    layers: Sequence[LayerParts],
    tied: frozenset[int],
    mask_by_query: bool,
    every_token: bool = False,
) -> nn.ModuleList:
    """Return the layers of an inference form; the last layer may compute only the first token.

    An attention that several layers share is exported once; if the last layer shares it, the last
    layer uses slices of the shared projection.

    Args:
        layers: parts of the encoder's layers, in order.
        tied: identities of the parameters that several modules hold.
        mask_by_query: whether the additive mask has a row for each query.
        every_token: whether the last layer computes every token, which a pooling or a classifier of
            words reads.
    """
    attentions: dict[int, _Attention] = {}
    fused = [
        FusedLayer(
            attentions.setdefault(id(layer.attention.module), _Attention(layer.attention, tied)),
            layer,
        )
        for layer in layers
    ]
    if every_token:
        return nn.ModuleList(fused)
    last = layers[-1]
    uses = sum(layer.attention.module is last.attention.module for layer in layers)
    shared = attentions[id(last.attention.module)].project if uses > 1 else None
    attention = _FirstTokenAttention(last.attention, tied, shared, mask_by_query)
    fused[-1] = FusedLayer(attention, last)
    return nn.ModuleList(fused)


class FusedLayer(nn.Module):
    """A layer of an inference form.

    Args:
        attention: module from hidden states and mask to the queries' input vectors and the output.
        layer: parts of the layer.
    """

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
        """Return vectors (rows x queries, width) of hidden states (rows x length, width)."""
        queries, mixed = self.attention(hidden, mask)
        hidden = self.attention_norm(self.project(mixed) + queries)
        return self.norm(self.narrow(self.activation(self.widen(hidden))) + hidden)  # type: ignore[no-any-return]


class _Attention(nn.Module):
    """Self-attention of all tokens; returns the input vectors of the queries, and the output."""

    def __init__(self, parts: AttentionParts, tied: frozenset[int]) -> None:
        super().__init__()
        self.heads = parts.heads
        linears = [parts.query, parts.key, parts.value]
        self.project = fused_projection(linears, parts.scale, tied)

    def forward(self, hidden: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        query, key, value = self.project(hidden)
        return hidden, attend(query, key, value, mask, self.heads, mask.shape[-1])


class _FirstTokenAttention(nn.Module):
    """Self-attention of the first token; uses slices of a shared projection if there is one."""

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

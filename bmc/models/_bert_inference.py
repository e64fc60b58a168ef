"""BERT's inference form: the same answers in fewer, larger operations.

What is fused, and only where the live module still has that shape:
    query, key and value   three plain linears on one input become one; 1/sqrt(d) goes into query
    embeddings             position and first-segment tables become one
    mask                   made additive once, not in every layer
    last layer             computed for the [CLS] row alone, the only row that is read
    rows and tokens        one axis between the attentions: a linear is one Gemm with its bias, and
                           ONNX Runtime does not fuse its slow SkipLayerNormalization
    GELU                   multiplied in the order that ONNX Runtime fuses
Anything else (a low-rank pair, a pruned head count, a shared layer) is called as it stands, and a
module met twice is emitted once.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

_MASKED = -1e4  # exp() of it is 0 in fp32, and it still is a number in fp16


class InferenceForm(nn.Module):
    """A BERT classifier rewritten for inference.

    It assumes [CLS] pooling and, without `pairs`, that every token is of the first segment.

    Args:
        module: a live BertForSequenceClassification; it is not changed.
        pairs: whether rows are sentence pairs, which have token types.
    """

    def __init__(self, module: Any, pairs: bool) -> None:
        super().__init__()
        encoder = module.bert.encoder.layer
        self.embeddings = (_PairEmbeddings if pairs else _Embeddings)(module.bert.embeddings)
        forms: dict[int, _Attention] = {}
        layers = []
        for layer in encoder:
            form = forms.setdefault(id(layer.attention.self), _Attention(layer.attention))
            layers.append(_Layer(form, layer))
        last = encoder[-1]
        shared = sum(layer.attention.self is last.attention.self for layer in encoder) > 1
        if not shared:
            layers[-1] = _Layer(_FirstRowAttention(last.attention), last)
        self.only_first_rows = not shared
        self.layers = nn.ModuleList(layers)
        self.pooler = module.bert.pooler.dense
        self.classifier = module.classifier

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """Return logits (rows, classes) for int64 ids, mask and types (rows, length)."""
        hidden = self.embeddings(input_ids, token_type_ids).flatten(0, 1)
        mask = (1.0 - attention_mask[:, None, None, :].to(hidden.dtype)) * _MASKED
        for layer in self.layers:
            hidden = layer(hidden, mask)
        first = hidden if self.only_first_rows else _first_rows(hidden, mask)
        return self.classifier(torch.tanh(self.pooler(first)))  # type: ignore[no-any-return]


class _Embeddings(nn.Module):
    def __init__(self, embeddings: Any) -> None:
        super().__init__()
        positions = (
            embeddings.position_embeddings.weight + embeddings.token_type_embeddings.weight[0]
        )
        self.words = embeddings.word_embeddings
        self.positions = nn.Parameter(positions.detach().clone(), requires_grad=False)
        self.norm = embeddings.LayerNorm

    def forward(self, ids: Tensor, types: Tensor | None) -> Tensor:
        return self.norm(self.words(ids) + self.positions[: ids.shape[1]])  # type: ignore[no-any-return]


class _PairEmbeddings(nn.Module):
    def __init__(self, embeddings: Any) -> None:
        super().__init__()
        self.words = embeddings.word_embeddings
        self.types = embeddings.token_type_embeddings
        self.positions = embeddings.position_embeddings.weight
        self.norm = embeddings.LayerNorm

    def forward(self, ids: Tensor, types: Tensor | None) -> Tensor:
        summed = self.words(ids) + self.types(types) + self.positions[: ids.shape[1]]
        return self.norm(summed)  # type: ignore[no-any-return]


class _Layer(nn.Module):
    def __init__(self, attention: nn.Module, layer: Any) -> None:
        super().__init__()
        self.attention = attention
        self.project = layer.attention.output.dense
        self.attention_norm = layer.attention.output.LayerNorm
        self.widen = layer.intermediate.dense
        activation = layer.intermediate.intermediate_act_fn
        self.activation = _Gelu() if _is_exact_gelu(activation) else activation
        self.narrow = layer.output.dense
        self.norm = layer.output.LayerNorm

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        kept, mixed = self.attention(hidden, mask)
        hidden = self.attention_norm(self.project(mixed) + kept)
        return self.norm(self.narrow(self.activation(self.widen(hidden))) + hidden)  # type: ignore[no-any-return]


class _Attention(nn.Module):
    """Self-attention over all rows; returns the rows that go on, and what they attended to."""

    def __init__(self, attention: Any) -> None:
        super().__init__()
        inner = attention.self
        self.heads = int(inner.num_attention_heads)
        self.project = _projection([inner.query, inner.key, inner.value], inner.scaling)

    def forward(self, hidden: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        query, key, value = self.project(hidden)
        return hidden, _attend(query, key, value, mask, self.heads, mask.shape[-1])


class _FirstRowAttention(nn.Module):
    """Self-attention for the first row alone."""

    def __init__(self, attention: Any) -> None:
        super().__init__()
        inner = attention.self
        self.heads = int(inner.num_attention_heads)
        self.query = _projection([inner.query], inner.scaling)
        self.project = _projection([inner.key, inner.value], 1.0)

    def forward(self, hidden: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        first = _first_rows(hidden, mask)
        (query,) = self.query(first)
        key, value = self.project(hidden)
        return first, _attend(query, key, value, mask, self.heads, 1)


def _attend(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor, heads: int, queries: int
) -> Tensor:
    rows, length = mask.shape[0], mask.shape[-1]
    query = query.view(rows, queries, heads, -1).transpose(1, 2)
    key, value = (part.view(rows, length, heads, -1).transpose(1, 2) for part in (key, value))
    weights = torch.softmax(query @ key.transpose(-1, -2) + mask, dim=-1)
    width = heads * value.shape[-1]
    return (weights @ value).transpose(1, 2).reshape(-1, width)


def _first_rows(hidden: Tensor, mask: Tensor) -> Tensor:
    return hidden.view(mask.shape[0], mask.shape[-1], hidden.shape[-1])[:, 0]


class _Gelu(nn.Module):
    """The exact GELU, multiplied in the order that ONNX Runtime fuses."""

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden * (1.0 + torch.erf(hidden / math.sqrt(2.0))) * 0.5


def _is_exact_gelu(activation: Any) -> bool:
    probe = torch.linspace(-4.0, 4.0, 33)
    return torch.equal(activation(probe), nn.functional.gelu(probe))


def _projection(linears: list[nn.Module], scale: float) -> nn.Module:
    """Return one module that applies all `linears` to an input; the first is scaled."""
    if all(type(linear) is nn.Linear and linear.bias is not None for linear in linears):
        return _Fused([linear for linear in linears if isinstance(linear, nn.Linear)], scale)
    return _Separate(linears, scale)


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


class _Separate(nn.Module):
    def __init__(self, linears: list[nn.Module], scale: float) -> None:
        super().__init__()
        self.linears = nn.ModuleList(linears)
        self.scale = scale

    def forward(self, hidden: Tensor) -> tuple[Tensor, ...]:
        first, *rest = (linear(hidden) for linear in self.linears)
        return first * self.scale, *rest

"""MPNet's inference form: the same answers in fewer, larger operations.

What is fused, as in BERT's form: query, key and value, with 1/sqrt(d) in the query; the mask, made
additive once and added to the position bias once; the last layer, computed for the first row alone;
one axis for rows and tokens. And, of MPNet's own:
    positions   counted from the ids over a table that is cut to what a text may have
    bias        one vector a head over the distances, from which every length is gathered
Anything else is called as it stands, and a module met twice is emitted once.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from bmc.models._attention import (
    additive,
    attend,
    exported,
    first_rows,
    part_of,
    projection,
    tied_in,
)


class InferenceForm(nn.Module):
    """An MPNet classifier rewritten for inference.

    Args:
        module: a live MPNetForSequenceClassification; it is not changed.
        most: positions that a text may have.
    """

    def __init__(self, module: Any, most: int) -> None:
        super().__init__()
        embeddings, encoder = module.mpnet.embeddings, module.mpnet.encoder
        self.words = embeddings.word_embeddings
        self.positions = _Positions(embeddings, most)
        self.norm = embeddings.LayerNorm
        self.bias = _Bias(encoder, most)
        tied = tied_in(module)
        forms: dict[int, _Attention] = {}
        attentions = [layer.attention.attn for layer in encoder.layer]
        layers = [
            _Layer(forms.setdefault(id(attention), _Attention(attention, tied)), layer)
            for attention, layer in zip(attentions, encoder.layer, strict=True)
        ]
        last = attentions[-1]
        shared = sum(one is last for one in attentions) > 1
        whole = forms[id(last)].project if shared else None
        layers[-1] = _Layer(_FirstRowAttention(last, tied, whole), encoder.layer[-1])
        self.layers = nn.ModuleList(layers)
        self.dense = module.classifier.dense
        self.classifier = module.classifier.out_proj

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return logits (rows, classes) for int64 ids and mask (rows, length)."""
        length = input_ids.shape[1]
        hidden = self.norm(self.words(input_ids) + self.positions(input_ids)).flatten(0, 1)
        mask = additive(attention_mask, hidden) + self.bias(length)
        for layer in self.layers:
            hidden = layer(hidden, mask)
        return self.classifier(torch.tanh(self.dense(hidden)))  # type: ignore[no-any-return]


class _Positions(nn.Module):
    """The vectors of the positions that a text may have; a codebook stays one.

    A token's position is its number among the tokens that are no padding. A padding token has the
    padding's own position, wherever it stands: a text may name it.
    """

    def __init__(self, embeddings: Any, most: int) -> None:
        super().__init__()
        self.padding = int(embeddings.padding_idx)
        self.table: nn.Module | nn.Parameter = embeddings.position_embeddings
        self.start = self.padding
        if isinstance(self.table.weight, nn.Parameter):
            rows = self.table.weight[self.start : self.start + 1 + most].detach().clone()
            self.table, self.start = nn.Parameter(rows), 0

    def forward(self, input_ids: Tensor) -> Tensor:
        rows: Any = self.table if isinstance(self.table, Tensor) else self.table.weight
        tokens = (input_ids != self.padding).long()
        return rows[tokens.cumsum(1) * tokens + self.start]  # type: ignore[no-any-return]


class _Bias(nn.Module):
    """What is added to the scores of each head (heads, length, length): it depends on distance."""

    def __init__(self, encoder: Any, most: int) -> None:
        super().__init__()
        distances = torch.arange(1 - most, most)
        buckets = encoder.relative_position_bucket(distances)
        table = encoder.relative_attention_bias.weight.detach()[buckets].T
        self.zero = most - 1
        self.table = nn.Parameter(table.contiguous(), requires_grad=False)

    def forward(self, length: int) -> Tensor:
        places = torch.arange(length, device=self.table.device)
        return self.table[:, places[None, :] - places[:, None] + self.zero]


class _Layer(nn.Module):
    def __init__(self, attention: nn.Module, layer: Any) -> None:
        super().__init__()
        self.attention = attention
        self.project = layer.attention.attn.o
        self.attention_norm = layer.attention.LayerNorm
        self.widen = layer.intermediate.dense
        self.activation = exported(layer.intermediate.intermediate_act_fn)
        self.narrow = layer.output.dense
        self.norm = layer.output.LayerNorm

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        kept, mixed = self.attention(hidden, mask)
        hidden = self.attention_norm(self.project(mixed) + kept)
        return self.norm(self.narrow(self.activation(self.widen(hidden))) + hidden)  # type: ignore[no-any-return]


class _Attention(nn.Module):
    """Self-attention over all rows; returns the rows that go on, and what they attended to."""

    def __init__(self, attention: Any, tied: frozenset[int]) -> None:
        super().__init__()
        self.heads = int(attention.num_attention_heads)
        scale = float(attention.attention_head_size) ** -0.5
        self.project = projection([attention.q, attention.k, attention.v], scale, tied)

    def forward(self, hidden: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        query, key, value = self.project(hidden)
        return hidden, attend(query, key, value, mask, self.heads, mask.shape[-1])


class _FirstRowAttention(nn.Module):
    """Self-attention for the first row alone; with parts of another layer's projection, if any."""

    def __init__(self, attention: Any, tied: frozenset[int], whole: nn.Module | None) -> None:
        super().__init__()
        self.heads = int(attention.num_attention_heads)
        if whole is None:
            scale = float(attention.attention_head_size) ** -0.5
            self.query = projection([attention.q], scale, tied)
            self.project = projection([attention.k, attention.v], 1.0, tied)
        else:
            self.query, self.project = part_of(whole, 0, 1), part_of(whole, 1, 3)

    def forward(self, hidden: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        first = first_rows(hidden, mask)
        (query,) = self.query(first)
        key, value = self.project(hidden)
        return first, attend(query, key, value, mask[:, :, :1], self.heads, 1)

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

from bmc.inference.attention import additive_mask
from bmc.inference.sharing import tied_parameters
from bmc.models._encoder_inference import AttentionParts, LayerParts, fused_layers


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
        layers = [_parts(layer) for layer in encoder.layer]
        self.layers = fused_layers(layers, tied_parameters(module), mask_by_query=True)
        self.dense = module.classifier.dense
        self.classifier = module.classifier.out_proj

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return logits (rows, classes) for int64 ids and mask (rows, length)."""
        length = input_ids.shape[1]
        hidden = self.norm(self.words(input_ids) + self.positions(input_ids)).flatten(0, 1)
        mask = additive_mask(attention_mask, hidden) + self.bias(length)
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


def _parts(layer: Any) -> LayerParts:
    """Return the parts of a live MPNetLayer."""
    inner = layer.attention.attn
    heads, scale = int(inner.num_attention_heads), float(inner.attention_head_size) ** -0.5
    return LayerParts(
        AttentionParts(inner, inner.q, inner.k, inner.v, heads, scale),
        project=inner.o,
        attention_norm=layer.attention.LayerNorm,
        widen=layer.intermediate.dense,
        activation=layer.intermediate.intermediate_act_fn,
        narrow=layer.output.dense,
        norm=layer.output.LayerNorm,
    )

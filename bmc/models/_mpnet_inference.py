"""MPNet's inference form: the same outputs in fewer, larger operations.

As in BERT's form, query, key and value are fused, with 1/sqrt(d) in the query; the additive mask is
computed once, and added to the position bias once; the last layer is computed only for the first
token; rows and tokens share an axis. In addition:
    positions   are computed from the ids, with a table cut to the largest length of a text
    bias        has one vector over all distances for each head, which every length gathers from
Other modules are called unchanged, and a shared module is exported once.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from bmc.inference.attention import additive_mask
from bmc.inference.sharing import tied_parameters
from bmc.models._encoder_embeddings import CountedPositions
from bmc.models._encoder_form import by_row, reads_every_token, tags_words
from bmc.models._encoder_inference import AttentionParts, LayerParts, fused_layers
from bmc.models.sentences import makes_vectors


class InferenceForm(nn.Module):
    """An MPNet with a head, rewritten for inference.

    Args:
        module: a classifier of texts or of tokens, or an encoder of sentences; it is not changed.
        max_length: largest number of tokens of a text.
    """

    def __init__(self, module: Any, max_length: int) -> None:
        super().__init__()
        embeddings, encoder = module.mpnet.embeddings, module.mpnet.encoder
        self.words = embeddings.word_embeddings
        table, padding = embeddings.position_embeddings, int(embeddings.padding_idx)
        self.positions = CountedPositions(table, padding, max_length)
        self.norm = embeddings.LayerNorm
        self.bias = _Bias(encoder, max_length)
        layers = [_parts(layer) for layer in encoder.layer]
        self.makes_vectors, self.tags_words = makes_vectors(module), tags_words(module)
        self.layers = fused_layers(
            layers, tied_parameters(module), True, every_token=reads_every_token(module)
        )
        if self.makes_vectors:
            self.head = module.head
        elif self.tags_words:
            self.classifier = module.classifier
        else:
            self.dense = module.classifier.dense
            self.classifier = module.classifier.out_proj

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return logits (rows, classes) or (rows, length, tags), or vectors (rows, width).

        Args:
            input_ids: token ids, int64 (rows, length).
            attention_mask: 1 for tokens and 0 for padding, int64 (rows, length).
        """
        length = input_ids.shape[1]
        hidden = self.norm(self.words(input_ids) + self.positions(input_ids)).flatten(0, 1)
        mask = additive_mask(attention_mask, hidden) + self.bias(length)
        for layer in self.layers:
            hidden = layer(hidden, mask)
        if self.makes_vectors:
            return self.head(by_row(hidden, attention_mask), attention_mask)  # type: ignore[no-any-return]
        if self.tags_words:
            return by_row(self.classifier(hidden), attention_mask)
        return self.classifier(torch.tanh(self.dense(hidden)))  # type: ignore[no-any-return]


class _Bias(nn.Module):
    """The relative position bias of the attention scores, (heads, length, length)."""

    def __init__(self, encoder: Any, max_length: int) -> None:
        super().__init__()
        distances = torch.arange(1 - max_length, max_length)
        buckets = encoder.relative_position_bucket(distances)
        table = encoder.relative_attention_bias.weight.detach()[buckets].T
        self.zero = max_length - 1
        self.table = nn.Parameter(table.contiguous(), requires_grad=False)

    def forward(self, length: int) -> Tensor:
        positions = torch.arange(length, device=self.table.device)
        return self.table[:, positions[None, :] - positions[:, None] + self.zero]


def _parts(layer: Any) -> LayerParts:
    """Return the parts of an MPNetLayer."""
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

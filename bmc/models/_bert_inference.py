"""BERT's inference form: the same outputs in fewer, larger operations.

Differences from the trained module, where its layers still have the original classes:
    query, key and value   three linear layers become one; 1/sqrt(d) is folded into the query
    embeddings             the tables of positions and of the first segment become one
    mask                   converted to an additive mask once, not in every layer
    last layer             computed only for the [CLS] token, the only token that is read; if other
                           layers share its weights, with slices of their fused projection
    rows and tokens        one axis outside of the attentions: a linear layer is one Gemm with bias,
                           and ONNX Runtime does not fuse its slow SkipLayerNormalization
    GELU                   written as the sequence of operators that ONNX Runtime fuses
Other modules (low-rank pairs, pruned heads, shared layers, tied weights) are called unchanged, and
a module that several layers share is exported once.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from bmc.inference.attention import additive_mask
from bmc.inference.sharing import tied_parameters
from bmc.models._encoder_embeddings import Embeddings, FirstPositions
from bmc.models._encoder_inference import AttentionParts, LayerParts, fused_layers


class InferenceForm(nn.Module):
    """A BERT classifier rewritten for inference.

    The form assumes [CLS] pooling and, without `pairs`, that all tokens belong to segment 0.

    Args:
        module: a BertForSequenceClassification, or one with n-grams; it is not changed.
        pairs: whether rows are sentence pairs, which have token types.
        longest: largest number of tokens of a row; later positions are removed.
    """

    def __init__(self, module: Any, pairs: bool, longest: int) -> None:
        super().__init__()
        encoder = module.bert.encoder.layer
        self.embeddings = bert_embeddings(module.bert.embeddings, pairs, longest)
        layers = [bert_layer(layer) for layer in encoder]
        self.layers = fused_layers(layers, tied_parameters(module), mask_by_query=False)
        self.ngrams = getattr(module, "ngrams", None)
        self.pooler = module.bert.pooler.dense
        self.classifier = module.classifier

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """Return logits (rows, classes) for int64 ids, mask and types (rows, length)."""
        hidden = self.embeddings(input_ids, token_type_ids).flatten(0, 1)
        mask = additive_mask(attention_mask, hidden)
        for layer in self.layers:
            hidden = layer(hidden, mask)
        read = torch.tanh(self.pooler(hidden))
        if self.ngrams is not None:
            read = read + self.ngrams(input_ids, attention_mask)
        return self.classifier(read)  # type: ignore[no-any-return]


def bert_embeddings(
    embeddings: Any, pairs: bool, longest: int, project: nn.Module | None = None
) -> Embeddings:
    """Return the embeddings of a form; see `InferenceForm`.

    Args:
        embeddings: BertEmbeddings, or embeddings of the same parts.
        pairs: whether token types are an input.
        longest: largest number of tokens of a row.
        project: layer from the tables' width to that of the layers; None where they are equal.
    """
    words, types = embeddings.word_embeddings, embeddings.token_type_embeddings
    table = embeddings.position_embeddings
    positions = FirstPositions(table, longest, None if pairs else types)
    return Embeddings(words, positions, embeddings.LayerNorm, types if pairs else None, project)


def bert_layer(layer: Any) -> LayerParts:
    """Return the parts of a BertLayer, or of a layer of the same parts."""
    inner = layer.attention.self
    heads, scale = int(inner.num_attention_heads), inner.scaling
    return LayerParts(
        AttentionParts(inner, inner.query, inner.key, inner.value, heads, scale),
        project=layer.attention.output.dense,
        attention_norm=layer.attention.output.LayerNorm,
        widen=layer.intermediate.dense,
        activation=layer.intermediate.intermediate_act_fn,
        narrow=layer.output.dense,
        norm=layer.output.LayerNorm,
    )

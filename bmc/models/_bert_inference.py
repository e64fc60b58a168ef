"""BERT's inference form: the same answers in fewer, larger operations.

What is fused, and only where the live module still has that shape:
    query, key and value   three plain linears on one input become one; 1/sqrt(d) goes into query
    embeddings             position and first-segment tables become one
    mask                   made additive once, not in every layer
    last layer             computed for the [CLS] row alone, the only row that is read; where other
                           layers share its weights, with parts of what they use
    rows and tokens        one axis between the attentions: a linear is one Gemm with its bias, and
                           ONNX Runtime does not fuse its slow SkipLayerNormalization
    GELU                   multiplied in the order that ONNX Runtime fuses
Anything else (a low-rank pair, a pruned head count, a shared layer, a tied weight) is called as it
stands, and a module met twice is emitted once.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from bmc.inference.attention import additive_mask
from bmc.inference.sharing import tied_parameters
from bmc.models._encoder_inference import AttentionParts, LayerParts, fused_layers


class InferenceForm(nn.Module):
    """A BERT classifier rewritten for inference.

    It assumes [CLS] pooling and, without `pairs`, that every token is of the first segment.

    Args:
        module: a live BertForSequenceClassification; it is not changed.
        pairs: whether rows are sentence pairs, which have token types.
        longest: tokens of a row at most; positions behind them are left out.
    """

    def __init__(self, module: Any, pairs: bool, longest: int) -> None:
        super().__init__()
        encoder = module.bert.encoder.layer
        kind = _PairEmbeddings if pairs else _Embeddings
        self.embeddings = kind(module.bert.embeddings, longest)
        layers = [_parts(layer) for layer in encoder]
        self.layers = fused_layers(layers, tied_parameters(module), mask_by_query=False)
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
        return self.classifier(torch.tanh(self.pooler(hidden)))  # type: ignore[no-any-return]


class _Embeddings(nn.Module):
    def __init__(self, embeddings: Any, longest: int) -> None:
        super().__init__()
        self.words = embeddings.word_embeddings
        tables = embeddings.position_embeddings, embeddings.token_type_embeddings
        plain = all(isinstance(table.weight, nn.Parameter) for table in tables)
        self.positions = (_Summed if plain else _Sum)(*tables, longest)
        self.norm = embeddings.LayerNorm

    def forward(self, ids: Tensor, types: Tensor | None) -> Tensor:
        return self.norm(self.words(ids) + self.positions()[: ids.shape[1]])  # type: ignore[no-any-return]


class _Summed(nn.Module):
    """Each position's vector with the first segment's, as one table."""

    def __init__(self, positions: Any, types: Any, longest: int) -> None:
        super().__init__()
        summed = positions.weight[:longest] + types.weight[0]
        self.table = nn.Parameter(summed.detach().clone(), requires_grad=False)

    def forward(self) -> Tensor:
        return self.table


class _Sum(nn.Module):
    """The same where a table is a codebook, which a sum would unfold: added up in the graph."""

    def __init__(self, positions: Any, types: Any, longest: int) -> None:
        super().__init__()
        self.positions, self.types = _Rows(positions, longest), _Rows(types, 1)

    def forward(self) -> Tensor:
        return self.positions() + self.types()[:1]  # type: ignore[no-any-return]


class _Rows(nn.Module):
    """The first rows of a table that is read as a whole; a codebook stays one, with all rows."""

    def __init__(self, table: Any, count: int) -> None:
        super().__init__()
        plain = isinstance(table.weight, nn.Parameter)
        rows = nn.Parameter(table.weight[:count].detach().clone()) if plain else table
        self.table: nn.Parameter | nn.Module = rows

    def forward(self) -> Tensor:
        return self.table if isinstance(self.table, Tensor) else self.table.weight  # type: ignore[return-value]


class _PairEmbeddings(nn.Module):
    def __init__(self, embeddings: Any, longest: int) -> None:
        super().__init__()
        self.words = embeddings.word_embeddings
        self.types = embeddings.token_type_embeddings
        self.positions = _Rows(embeddings.position_embeddings, longest)
        self.norm = embeddings.LayerNorm

    def forward(self, ids: Tensor, types: Tensor | None) -> Tensor:
        summed = self.words(ids) + self.types(types) + self.positions()[: ids.shape[1]]
        return self.norm(summed)  # type: ignore[no-any-return]


def _parts(layer: Any) -> LayerParts:
    """Return the parts of a live BertLayer."""
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

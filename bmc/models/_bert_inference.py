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
from bmc.models._encoder_inference import AttentionParts, LayerParts, fused_layers


class InferenceForm(nn.Module):
    """A BERT classifier rewritten for inference.

    The form assumes [CLS] pooling and, without `pairs`, that all tokens belong to segment 0.

    Args:
        module: a BertForSequenceClassification; it is not changed.
        pairs: whether rows are sentence pairs, which have token types.
        longest: largest number of tokens of a row; later positions are removed.
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
        have_weights = all(isinstance(table.weight, nn.Parameter) for table in tables)
        self.positions = (_SummedTable if have_weights else _TableSum)(*tables, longest)
        self.norm = embeddings.LayerNorm

    def forward(self, ids: Tensor, types: Tensor | None) -> Tensor:
        return self.norm(self.words(ids) + self.positions()[: ids.shape[1]])  # type: ignore[no-any-return]


class _SummedTable(nn.Module):
    """The sums of the position vectors and the vector of segment 0, as one table."""

    def __init__(self, positions: Any, types: Any, longest: int) -> None:
        super().__init__()
        summed = positions.weight[:longest] + types.weight[0]
        self.table = nn.Parameter(summed.detach().clone(), requires_grad=False)

    def forward(self) -> Tensor:
        return self.table


class _TableSum(nn.Module):
    """The same sums, computed in the graph: a stored sum would lose the codebook of a table."""

    def __init__(self, positions: Any, types: Any, longest: int) -> None:
        super().__init__()
        self.positions, self.types = _Rows(positions, longest), _Rows(types, 1)

    def forward(self) -> Tensor:
        return self.positions() + self.types()[:1]  # type: ignore[no-any-return]


class _Rows(nn.Module):
    """The first rows of a table; a table with a codebook keeps its codebook and all rows."""

    def __init__(self, table: Any, count: int) -> None:
        super().__init__()
        has_weight = isinstance(table.weight, nn.Parameter)
        rows = nn.Parameter(table.weight[:count].detach().clone()) if has_weight else table
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
    """Return the parts of a BertLayer."""
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

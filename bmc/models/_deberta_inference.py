"""DeBERTa's inference form: the same outputs in fewer, larger operations.

As in BERT's form, query, key and value are fused, the mask is computed once, rows and tokens share
an axis, and the last layer is computed only for the first token. In addition:
    distances   the projections of the distances' vectors are constants, one table for each layer,
                with a row for each distance that a text can have
    gathering   the score of each distance is moved to its token by a reshape, not by a gather
Other modules are called unchanged, and a shared module is exported once.

Source: He et al. 2021, "DeBERTa: Decoding-enhanced BERT with Disentangled Attention", section 3;
Dai et al. 2019, "Transformer-XL", appendix B (the reshape).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.deberta_v2.modeling_deberta_v2 import make_log_bucket_position

from bmc.inference.attention import first_tokens, fused_projection
from bmc.inference.sharing import tied_parameters
from bmc.models._encoder_inference import AttentionParts, FusedLayer, LayerParts


def deberta_layers(module: Any, longest: int, every_token: bool = False) -> nn.ModuleList:
    """Return the layers of an inference form; the last one computes only the first token.

    Args:
        module: a DebertaV2ForSequenceClassification; it is not changed.
        longest: largest number of tokens of a row.
        every_token: whether the last layer computes every token, which a pooling reads.
    """
    encoder, tied = module.deberta.encoder, tied_parameters(module)
    attentions: dict[int, _Attention] = {}
    layers = []
    for number, layer in enumerate(encoder.layer, start=1):
        inner = layer.attention.self
        is_last = number == len(encoder.layer) and not every_token
        if is_last:
            attention: nn.Module = _FirstTokenAttention(inner, encoder, longest, tied)
        else:
            made = attentions.get(id(inner)) or _Attention(inner, encoder, longest, tied)
            attention = attentions.setdefault(id(inner), made)
        layers.append(FusedLayer(attention, _parts(layer)))
    return nn.ModuleList(layers)


class _Distances(nn.Module):
    """Constant tables of a layer: what distances add to the scores, for queries and for keys.

    A distance is the query's position minus the key's. Column n of `for_queries` is the key of
    distance longest - 1 - n; column n of `for_keys` is the query of distance n - (longest - 1),
    scaled as the scores. Both end with a column of zeros, which the reshape needs.

    Args:
        inner: a DisentangledSelfAttention.
        encoder: its DebertaV2Encoder.
        longest: largest number of tokens of a row.
    """

    def __init__(self, inner: Any, encoder: Any, longest: int) -> None:
        super().__init__()
        self.longest = longest
        kinds = inner.pos_att_type if inner.relative_attention else ()
        if not kinds:
            return
        span = int(inner.pos_ebd_size)
        distances = torch.arange(1 - longest, longest)
        buckets = distances
        if inner.position_buckets > 0:
            most = int(inner.max_relative_positions)
            buckets = make_log_bucket_position(distances, inner.position_buckets, most).long()
        rows = (buckets + span).clamp(0, 2 * span - 1)
        with torch.no_grad():
            vectors = encoder.get_rel_embedding()[rows]
            if "c2p" in kinds:
                key = inner.key_proj if inner.share_att_key else inner.pos_key_proj
                self.for_queries = self._table(key(vectors).flip(0), inner, 1.0)
            if "p2c" in kinds:
                query = inner.query_proj if inner.share_att_key else inner.pos_query_proj
                self.for_keys = self._table(query(vectors), inner, scale_of(inner))

    @staticmethod
    def _table(vectors: Tensor, inner: Any, scale: float) -> nn.Parameter:
        """Return a table (heads, width of a head, distances + 1)."""
        padded = nn.functional.pad(vectors.detach() * scale, (0, 0, 0, 1))
        heads = padded.view(len(padded), int(inner.num_attention_heads), -1)
        return nn.Parameter(heads.permute(1, 2, 0).contiguous(), requires_grad=False)

    def scores(self, query: Tensor, key: Tensor) -> Tensor | float:
        """Return what is added to the scores of all queries, (rows, heads, length, length)."""
        length = key.shape[-2]
        start = self.longest - length
        added: Tensor | float = 0.0
        if hasattr(self, "for_queries"):
            table = self.for_queries[:, :, start : start + 2 * length]
            added = added + _skewed(query @ table, length)
        if hasattr(self, "for_keys"):
            table = self.for_keys[:, :, start : start + 2 * length]
            added = added + _skewed(key @ table, length).transpose(-1, -2)
        return added

    def first_scores(self, query: Tensor, key: Tensor) -> Tensor | float:
        """Return what is added to the scores of the first query, (rows, heads, 1, length)."""
        length, zero = key.shape[-2], self.longest - 1
        added: Tensor | float = 0.0
        if hasattr(self, "for_queries"):
            added = added + query @ self.for_queries[:, :, zero : zero + length]
        if hasattr(self, "for_keys"):
            start = zero + 1 - length
            table = self.for_keys[:, :, start : start + length].flip(-1)
            added = added + (key * table.transpose(-1, -2)).sum(-1)[:, :, None]
        return added


class _Attention(nn.Module):
    """Disentangled self-attention of all tokens."""

    def __init__(self, inner: Any, encoder: Any, longest: int, tied: frozenset[int]) -> None:
        super().__init__()
        self.heads = int(inner.num_attention_heads)
        linears = [inner.query_proj, inner.key_proj, inner.value_proj]
        self.project = fused_projection(linears, scale_of(inner), tied)
        self.distances = _Distances(inner, encoder, longest)

    def forward(self, hidden: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the hidden states, and the attention's output (rows x length, width)."""
        units = [_by_head(part, mask, self.heads) for part in self.project(hidden)]
        query, key, value = units
        scores = query @ key.transpose(-1, -2) + self.distances.scores(query, key)
        return hidden, _mixed(scores + mask, value)


class _FirstTokenAttention(nn.Module):
    """Disentangled self-attention of the first token."""

    def __init__(self, inner: Any, encoder: Any, longest: int, tied: frozenset[int]) -> None:
        super().__init__()
        self.heads = int(inner.num_attention_heads)
        self.query = fused_projection([inner.query_proj], scale_of(inner), tied)
        self.project = fused_projection([inner.key_proj, inner.value_proj], 1.0, tied)
        self.distances = _Distances(inner, encoder, longest)

    def forward(self, hidden: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the first tokens, and the attention's output (rows, width)."""
        first = first_tokens(hidden, mask)
        (query,) = self.query(first)
        query = query.view(mask.shape[0], self.heads, 1, -1)
        key, value = (_by_head(part, mask, self.heads) for part in self.project(hidden))
        scores = query @ key.transpose(-1, -2) + self.distances.first_scores(query, key)
        return first, _mixed(scores + mask, value)


def scale_of(inner: Any) -> float:
    """Return the factor of all scores of a DisentangledSelfAttention."""
    kinds = 1 + sum(kind in inner.pos_att_type for kind in ("c2p", "p2c"))
    return 1.0 / math.sqrt(int(inner.attention_head_size) * kinds)


def _skewed(scores: Tensor, length: int) -> Tensor:
    """Move the score of each distance to its token.

    Args:
        scores: (rows, heads, length, 2 length); in row i, column j + length - 1 - i is token j's.
        length: number of tokens.

    Returns:
        (rows, heads, length, length).
    """
    rows, heads, width = *scores.shape[:2], 2 * length - 1
    flat = scores.flatten(2)[:, :, length - 1 : length - 1 + length * width]
    return flat.reshape(rows, heads, length, width)[..., :length]


def _by_head(part: Tensor, mask: Tensor, heads: int) -> Tensor:
    """Return units of all tokens, (rows, heads, length, width of a head)."""
    return part.view(mask.shape[0], mask.shape[-1], heads, -1).transpose(1, 2)


def _mixed(scores: Tensor, value: Tensor) -> Tensor:
    """Return the mean of the values by the scores, (rows x queries, width)."""
    weights = torch.softmax(scores.float(), dim=-1).to(value.dtype)
    return (weights @ value).transpose(1, 2).flatten(2).flatten(0, 1)


def _parts(layer: Any) -> LayerParts:
    """Return the parts of a DebertaV2Layer."""
    inner = layer.attention.self
    heads, scale = int(inner.num_attention_heads), scale_of(inner)
    return LayerParts(
        AttentionParts(inner, inner.query_proj, inner.key_proj, inner.value_proj, heads, scale),
        project=layer.attention.output.dense,
        attention_norm=layer.attention.output.LayerNorm,
        widen=layer.intermediate.dense,
        activation=layer.intermediate.intermediate_act_fn,
        narrow=layer.output.dense,
        norm=layer.output.LayerNorm,
    )

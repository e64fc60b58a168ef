"""BERT's training form: the module's own layers, called so that nothing unread is computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

from bmc.inference.attention import additive_mask


def training_form(module: Any) -> Callable[[Mapping[str, Tensor]], Tensor]:
    """Return a function with the module's weights, outputs and gradients that does less work.

    Only the [CLS] row of the last layer is read, so only it is computed there, and a mask without
    padding is left out. Layers are called as they stand: a low-rank pair or a shared layer too.

    Args:
        module: a live BertForSequenceClassification.
    """

    def compute(inputs: Mapping[str, Tensor]) -> Tensor:
        bert = module.bert
        types = inputs.get("token_type_ids")
        hidden = bert.embeddings(input_ids=inputs["input_ids"], token_type_ids=types)
        kept = inputs["attention_mask"]
        mask = None if bool(kept.all()) else additive_mask(kept, hidden)
        layers = list(bert.encoder.layer)
        for place, layer in enumerate(layers, start=1):
            rows = hidden[:, :1] if place == len(layers) else hidden
            mixed = _attend(layer.attention.self, rows, hidden, mask)
            rows = layer.attention.output(mixed, rows)
            hidden = layer.output(layer.intermediate(rows), rows)
        pooled = torch.tanh(bert.pooler.dense(hidden[:, 0]))
        return module.classifier(module.dropout(pooled))  # type: ignore[no-any-return]

    return compute


def _attend(attention: Any, rows: Tensor, hidden: Tensor, mask: Tensor | None) -> Tensor:
    """Let rows (batch, queries, width) attend to all hidden rows."""
    heads = int(attention.num_attention_heads)

    def split(linear: nn.Module, given: Tensor) -> Tensor:
        return linear(given).unflatten(-1, (heads, -1)).transpose(1, 2)  # type: ignore[no-any-return]

    query, key, value = (
        split(attention.query, rows),
        split(attention.key, hidden),
        split(attention.value, hidden),
    )
    scores = query @ key.transpose(-1, -2) * attention.scaling
    if mask is not None:
        scores = scores + mask
    weights = dropout(torch.softmax(scores, dim=-1), attention.dropout.p, attention.training)
    return (weights.to(value.dtype) @ value).transpose(1, 2).flatten(2)

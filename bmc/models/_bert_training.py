"""BERT's training form: call the module's layers without computing outputs that are not read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import dropout

from bmc.contracts.signals import View
from bmc.inference.attention import additive_mask
from bmc.models.sentences import makes_vectors


def training_form(module: Any) -> Callable[[Mapping[str, Tensor]], Tensor]:
    """Return a function that computes the module's outputs and gradients with less work.

    The last layer is computed only for the [CLS] token, the only token that is read, except where
    words are classified. Batches without padding need no mask. Layers are called unchanged, also
    low-rank pairs and shared layers.

    Args:
        module: a BertForSequenceClassification, or a BertForTokenClassification.
    """

    def compute(inputs: Mapping[str, Tensor]) -> Tensor:
        bert = module.bert
        types = inputs.get("token_type_ids")
        hidden = bert.embeddings(input_ids=inputs["input_ids"], token_type_ids=types)
        is_token = inputs["attention_mask"]
        mask = None if bool(is_token.all()) else additive_mask(is_token, hidden)
        layers = list(bert.encoder.layer)
        every_token = makes_vectors(module) or bert.pooler is None
        for number, layer in enumerate(layers, start=1):
            first = number == len(layers) and not every_token
            queries = hidden[:, :1] if first else hidden
            mixed = _attend(layer.attention.self, queries, hidden, mask)
            attended = layer.attention.output(mixed, queries)
            hidden = layer.output(layer.intermediate(attended), attended)
        return _outputs(module, hidden, inputs)

    return compute


def view(module: Any, inputs: Mapping[str, Tensor]) -> View:
    """Return all that signals of distillation compare; every layer is computed for all tokens.

    Args:
        module: a BertForSequenceClassification, or a BertForTokenClassification.
        inputs: inputs of a batch, by name.
    """
    bert, kept = module.bert, inputs["attention_mask"]
    types = inputs.get("token_type_ids")
    hidden = bert.embeddings(input_ids=inputs["input_ids"], token_type_ids=types)
    mask = additive_mask(kept, hidden)
    states, attended = [hidden], list[_Attended]()
    for layer in bert.encoder.layer:
        attended.append(_attended(layer.attention.self, hidden, hidden, mask))
        rows = layer.attention.output(attended[-1].mixed, hidden)
        hidden = layer.output(layer.intermediate(rows), rows)
        states.append(hidden)
    return View(
        logits=_outputs(module, hidden, inputs),
        hidden=states,
        attentions=[each.weights for each in attended],
        queries=[each.query for each in attended],
        keys=[each.key for each in attended],
        values=[each.value for each in attended],
        mask=kept.bool(),
    )


def _outputs(module: Any, hidden: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
    """Return vectors, logits of texts (rows, classes), or of tokens where there is no pooler."""
    if makes_vectors(module):
        return module.head(hidden, inputs["attention_mask"])  # type: ignore[no-any-return]
    pooler = module.bert.pooler
    read = hidden if pooler is None else torch.tanh(pooler.dense(hidden[:, 0]))
    ngrams = getattr(module, "ngrams", None)
    if ngrams is not None:
        read = read + ngrams(inputs["input_ids"], inputs["attention_mask"])
    return module.classifier(module.dropout(read))  # type: ignore[no-any-return]


@dataclass(frozen=True)
class _Attended:
    """What one attention computes: units of all heads side by side, and probabilities."""

    query: Tensor
    key: Tensor
    value: Tensor
    weights: Tensor
    mixed: Tensor


def _attend(attention: Any, rows: Tensor, hidden: Tensor, mask: Tensor | None) -> Tensor:
    """Compute attention of tokens (batch, queries, width) to all hidden tokens."""
    return _attended(attention, rows, hidden, mask).mixed


def _attended(attention: Any, rows: Tensor, hidden: Tensor, mask: Tensor | None) -> _Attended:
    """Compute attention of tokens (batch, queries, width), and return intermediate results."""
    heads = int(attention.num_attention_heads)

    units = attention.query(rows), attention.key(hidden), attention.value(hidden)
    query, key, value = (each.unflatten(-1, (heads, -1)).transpose(1, 2) for each in units)
    scores = query @ key.transpose(-1, -2) * attention.scaling
    if mask is not None:
        scores = scores + mask
    shares = torch.softmax(scores, dim=-1)
    weights = dropout(shares, attention.dropout.p, attention.training)
    mixed = (weights.to(value.dtype) @ value).transpose(1, 2).flatten(2)
    return _Attended(*units, shares, mixed)

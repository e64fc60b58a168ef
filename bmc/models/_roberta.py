"""What RoBERTa and XLM-RoBERTa share: BERT's layers, and positions counted from the padding id."""

from __future__ import annotations

from typing import Any

from torch import nn, tanh

from bmc.models import hugging_face
from bmc.models._bert_inference import bert_layer
from bmc.models._encoder_embeddings import CountedPositions, Embeddings
from bmc.models._encoder_form import (
    Head,
    bert_like,
    bert_like_of_every_token,
    reads_every_token,
)
from bmc.models.encoders import BERT_PROJECTIONS, Encoder


def inference_form(module: Any, types: bool, longest: int) -> nn.Module:
    """Return the inference form of a RoBERTa or XLM-RoBERTa with a head."""
    tables = module.roberta.embeddings
    table, segments = tables.position_embeddings, tables.token_type_embeddings
    padding = int(tables.padding_idx)
    positions = CountedPositions(table, padding, longest, None if types else segments)
    segments = segments if types else None
    embeddings = Embeddings(tables.word_embeddings, positions, tables.LayerNorm, segments)
    layers = [bert_layer(layer) for layer in module.roberta.encoder.layer]
    if reads_every_token(module):
        return bert_like_of_every_token(module, embeddings, layers)
    head = Head(module.classifier.dense, tanh, module.classifier.out_proj)
    return bert_like(module, embeddings, layers, head)


def encoder(model_type: str, classifier: Any, tagger: Any, config: Any) -> Encoder:
    """Describe a RoBERTa.

    Args:
        model_type: `model_type` in config.json, and the name of the family.
        classifier: class with a classification head.
        tagger: class with a head for each token.
        config: class of the configuration.
    """
    kind = hugging_face.Architecture(
        model_type,
        classifier,
        config,
        fresh=("classifier.",),
        output="classifier.out_proj",
        reserved=None,
        base="roberta",
        pairs_need_types=False,
    )
    words = "roberta.embeddings.word_embeddings"
    return Encoder(kind, tagger, words, "attention.self", BERT_PROJECTIONS, inference_form)

"""ELECTRA for classification of texts or words.

It has BERT's layers, embeddings of another width, and for texts a head with GELU.

Source: Clark et al. 2020, "ELECTRA: Pre-training Text Encoders as Discriminators".
"""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers import (
    ElectraConfig,
    ElectraForSequenceClassification,
    ElectraForTokenClassification,
)

from bmc.models import hugging_face
from bmc.models._bert_inference import bert_embeddings, bert_layer
from bmc.models._encoder_form import (
    Head,
    bert_like,
    bert_like_of_every_token,
    reads_every_token,
)
from bmc.models._hugging_face_config import FamilyKeys
from bmc.models.encoders import BERT_PROJECTIONS, Encoder


def inference_form(module: Any, types: bool, longest: int) -> nn.Module:
    """Return the inference form of an ELECTRA with a head."""
    base = module.electra
    project = getattr(base, "embeddings_project", None)
    embeddings = bert_embeddings(base.embeddings, types, longest, project)
    layers = [bert_layer(layer) for layer in base.encoder.layer]
    if reads_every_token(module):
        return bert_like_of_every_token(module, embeddings, layers)
    head = module.classifier
    return bert_like(module, embeddings, layers, Head(head.dense, head.activation, head.out_proj))


ENCODER = Encoder(
    hugging_face.Architecture(
        "electra",
        ElectraForSequenceClassification,
        ElectraConfig,
        fresh=("classifier.",),
        output="classifier.out_proj",
        keys=FamilyKeys(integers={"embedding_size": (1, 16_384)}, hidden=256, heads=4),
    ),
    ElectraForTokenClassification,
    words="electra.embeddings.word_embeddings",
    attention="attention.self",
    projections=BERT_PROJECTIONS,
    form=inference_form,
)
NETWORK = ENCODER.network()

"""DistilBERT for classification of texts or words: BERT's layers without token types and pooler.

Source: Sanh et al. 2019, "DistilBERT, a distilled version of BERT".
"""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.functional import relu
from transformers import (
    DistilBertConfig,
    DistilBertForSequenceClassification,
    DistilBertForTokenClassification,
)

from bmc.models import hugging_face
from bmc.models._encoder_embeddings import Embeddings, FirstPositions
from bmc.models._encoder_form import (
    Head,
    bert_like,
    bert_like_of_every_token,
    reads_every_token,
)
from bmc.models._encoder_inference import AttentionParts, LayerParts
from bmc.models._hugging_face_config import FamilyKeys
from bmc.models.encoders import Encoder


def inference_form(module: Any, types: bool, longest: int) -> nn.Module:
    """Return the inference form of a DistilBERT with a head."""
    tables = module.distilbert.embeddings
    positions = FirstPositions(tables.position_embeddings, longest)
    embeddings = Embeddings(tables.word_embeddings, positions, tables.LayerNorm)
    layers = [_parts(layer) for layer in module.distilbert.transformer.layer]
    if reads_every_token(module):
        return bert_like_of_every_token(module, embeddings, layers)
    head = Head(module.pre_classifier, relu, module.classifier)
    return bert_like(module, embeddings, layers, head)


def _parts(layer: Any) -> LayerParts:
    """Return the parts of a TransformerBlock."""
    inner = layer.attention
    projections = inner.q_lin, inner.k_lin, inner.v_lin
    return LayerParts(
        AttentionParts(inner, *projections, int(inner.n_heads), inner.scaling),
        project=inner.out_lin,
        attention_norm=layer.sa_layer_norm,
        widen=layer.ffn.lin1,
        activation=layer.ffn.activation,
        narrow=layer.ffn.lin2,
        norm=layer.output_layer_norm,
    )


ENCODER = Encoder(
    hugging_face.Architecture(
        "distilbert",
        DistilBertForSequenceClassification,
        DistilBertConfig,
        fresh=("classifier.", "pre_classifier."),
        output="classifier",
        keys=FamilyKeys(
            names={
                "hidden_size": "dim",
                "intermediate_size": "hidden_dim",
                "num_attention_heads": "n_heads",
                "num_hidden_layers": "n_layers",
                "hidden_act": "activation",
                "hidden_dropout_prob": "dropout",
                "attention_probs_dropout_prob": "attention_dropout",
                "classifier_dropout": "seq_classif_dropout",
            },
            choices={"sinusoidal_pos_embds": (False, True)},
        ),
        pairs_need_types=False,
        has_types=False,
    ),
    DistilBertForTokenClassification,
    words="distilbert.embeddings.word_embeddings",
    attention="attention",
    projections=("attention.q_lin", "attention.k_lin", "attention.v_lin"),
    form=inference_form,
    inside=(("attention", "sa_layer_norm"), ("ffn", "output_layer_norm")),
)
NETWORK = ENCODER.network()

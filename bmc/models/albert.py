"""ALBERT for classification of texts or words: one layer that is computed many times.

The layer stands in a list once for each time that it is computed, so that depth can be pruned and
each use has a path. It stays one layer: it is stored, pruned and exported once.

Source: Lan et al. 2020, "ALBERT: A Lite BERT for Self-supervised Learning".
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn, tanh
from transformers import (
    AlbertConfig,
    AlbertForSequenceClassification,
    AlbertForTokenClassification,
)
from transformers.modeling_outputs import BaseModelOutput

from bmc.models import hugging_face
from bmc.models._bert_inference import bert_embeddings
from bmc.models._encoder_form import (
    Head,
    bert_like,
    bert_like_of_every_token,
    reads_every_token,
)
from bmc.models._encoder_inference import AttentionParts, LayerParts
from bmc.models._hugging_face_config import FamilyKeys
from bmc.models.encoders import Encoder

_INNER = "albert_layers.0"  # the layer of a group


class LayerList(nn.Module):
    """The encoder of an ALBERT with an entry for each layer that is computed.

    Args:
        encoder: an AlbertTransformer with one group of one layer.
        layers: number of times that the layer is computed.
    """

    def __init__(self, encoder: Any, layers: int) -> None:
        super().__init__()
        self.embedding_hidden_mapping_in = encoder.embedding_hidden_mapping_in
        self.albert_layer_groups = nn.ModuleList([encoder.albert_layer_groups[0]] * layers)

    def forward(
        self, hidden_states: Tensor, attention_mask: Tensor | None = None, **options: Any
    ) -> Any:
        """Return the last hidden states of embeddings (rows, length, width of the tables)."""
        hidden = self.embedding_hidden_mapping_in(hidden_states)
        for group in self.albert_layer_groups:
            hidden = group(hidden, attention_mask, **options)
        return BaseModelOutput(last_hidden_state=hidden)


def list_layers(module: Any) -> None:
    """Give an ALBERT a list of its layers, in place."""
    module.albert.encoder = LayerList(module.albert.encoder, module.config.num_hidden_layers)


def inference_form(module: Any, types: bool, longest: int) -> nn.Module:
    """Return the inference form of an ALBERT with a head and a list of layers."""
    base = module.albert
    project = base.encoder.embedding_hidden_mapping_in
    embeddings = bert_embeddings(base.embeddings, types, longest, project)
    layers = [_parts(group.albert_layers[0]) for group in base.encoder.albert_layer_groups]
    if reads_every_token(module):
        return bert_like_of_every_token(module, embeddings, layers)
    return bert_like(module, embeddings, layers, Head(base.pooler, tanh, module.classifier))


def _parts(layer: Any) -> LayerParts:
    """Return the parts of an AlbertLayer."""
    inner = layer.attention
    heads, scale = int(inner.num_attention_heads), inner.scaling
    return LayerParts(
        AttentionParts(inner, inner.query, inner.key, inner.value, heads, scale),
        project=inner.dense,
        attention_norm=inner.LayerNorm,
        widen=layer.ffn,
        activation=layer.activation,
        narrow=layer.ffn_output,
        norm=layer.full_layer_layer_norm,
    )


ENCODER = Encoder(
    hugging_face.Architecture(
        "albert",
        AlbertForSequenceClassification,
        AlbertConfig,
        fresh=("classifier.", "albert.pooler."),
        output="classifier",
        keys=FamilyKeys(
            names={"classifier_dropout": "classifier_dropout_prob"},
            integers={"embedding_size": (1, 16_384)},
            choices={"num_hidden_groups": (1,), "inner_group_num": (1,)},
            hidden=4096,
            heads=64,
        ),
        pairs_need_types=False,
        prepare=list_layers,
    ),
    AlbertForTokenClassification,
    words="albert.embeddings.word_embeddings",
    attention=f"{_INNER}.attention",
    projections=tuple(f"{_INNER}.attention.{name}" for name in ("query", "key", "value")),
    form=inference_form,
    layers=r"albert\.encoder\.albert_layer_groups\.\d+",
    inside=(
        (f"{_INNER}.attention",),
        tuple(f"{_INNER}.{name}" for name in ("ffn", "ffn_output", "full_layer_layer_norm")),
    ),
)
NETWORK = ENCODER.network()

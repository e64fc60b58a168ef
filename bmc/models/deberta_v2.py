"""DeBERTa-v2 and v3 for classification of texts or words: attention to words and to distances.

Source: He et al. 2021, "DeBERTa: Decoding-enhanced BERT with Disentangled Attention"; He et al.
2023, "DeBERTaV3".
"""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers import (
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    DebertaV2ForTokenClassification,
)
from transformers.activations import ACT2FN

from bmc.models import hugging_face
from bmc.models._deberta_inference import deberta_layers
from bmc.models._encoder_embeddings import Embeddings, FirstPositions
from bmc.models._encoder_form import (
    Head,
    InferenceForm,
    form_of_every_token,
    reads_every_token,
)
from bmc.models._hugging_face_config import FamilyKeys
from bmc.models.encoders import Encoder

_KINDS: tuple[Any, ...] = (None, [], ["c2p"], ["p2c"], ["c2p", "p2c"], ["p2c", "c2p"])
_SPELLED = ("c2p", "p2c", "c2p|p2c", "p2c|c2p")


def inference_form(module: Any, types: bool, longest: int) -> nn.Module:
    """Return the inference form of a DeBERTa with a head."""
    tables = module.deberta.embeddings
    table, segments = tables.position_embeddings, tables.token_type_embeddings
    added = None if types else segments  # where types are no input, all tokens have type 0
    positions: nn.Module | None = None
    if table is not None:
        positions = FirstPositions(table, longest, added)
    elif added is not None:
        positions = FirstType(added)
    segments = segments if types else None
    embeddings = Embeddings(tables.word_embeddings, positions, tables.LayerNorm, segments)
    if reads_every_token(module):
        layers = deberta_layers(module, longest, every_token=True)
        return form_of_every_token(module, embeddings, layers)
    activation = ACT2FN[module.config.pooler_hidden_act]
    head = Head(module.pooler.dense, activation, module.classifier)
    return InferenceForm(embeddings, deberta_layers(module, longest), head)


class FirstType(nn.Module):
    """The vector of token type 0, which is added where no positions are.

    Args:
        types: table of token types.
    """

    def __init__(self, types: Any) -> None:
        super().__init__()
        self.types = types

    def forward(self, ids: Any) -> Any:
        """Return the vector, (width)."""
        return self.types.weight[0]


ENCODER = Encoder(
    hugging_face.Architecture(
        "deberta-v2",
        DebertaV2ForSequenceClassification,
        DebertaV2Config,
        fresh=("classifier.", "pooler."),
        output="classifier",
        base="deberta",
        keys=FamilyKeys(
            integers={
                "type_vocab_size": (0, 1_024),
                "max_relative_positions": (-1, 131_072),
                "position_buckets": (-1, 131_072),
                "pooler_hidden_size": (1, 16_384),
                "conv_kernel_size": (0, 0),
            },
            numbers={"pooler_dropout": (0, 1), "cls_dropout": (0, 1)},
            choices={
                "relative_attention": (False, True),
                "position_biased_input": (False, True),
                "share_att_key": (False, True),
                "norm_rel_ebd": ("none", "layer_norm"),
                "pos_att_type": (*_KINDS, *_SPELLED),
                "pooler_hidden_act": ("gelu", "tanh", "relu"),
            },
            hidden=1536,
            heads=24,
        ),
        pairs_need_types=False,
        attention="eager",  # there is no other
    ),
    DebertaV2ForTokenClassification,
    words="deberta.embeddings.word_embeddings",
    attention="attention.self",
    projections=tuple(f"attention.self.{name}_proj" for name in ("query", "key", "value")),
    form=inference_form,
)
NETWORK = ENCODER.network()

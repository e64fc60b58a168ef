"""ModernBERT for classification of texts or words.

It has rotary positions, local attention and gated hidden units. One linear layer computes queries,
keys and values, whose heads bmc does not prune.

Source: Warner et al. 2024, "Smarter, Better, Faster, Longer" (ModernBERT).
"""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers import (
    ModernBertConfig,
    ModernBertForSequenceClassification,
    ModernBertForTokenClassification,
)

from bmc.models import hugging_face
from bmc.models._hugging_face_config import FamilyKeys
from bmc.models._modernbert_inference import InferenceForm
from bmc.models.encoders import Encoder

_KINDS = ("full_attention", "sliding_attention")


def _are_kinds(value: Any) -> bool:
    """Tell whether a value is a list of the attentions of layers."""
    return isinstance(value, list) and all(kind in _KINDS for kind in value)


def _are_rotations(value: Any) -> bool:
    """Tell whether a value has the plain rotation of each kind of attention."""
    if not isinstance(value, dict) or not set(value) <= set(_KINDS):
        return False
    return all(
        isinstance(rotation, dict)
        and rotation.get("rope_type", "default") == "default"
        and type(rotation.get("rope_theta", 1.0)) in (int, float)
        and set(rotation) <= {"rope_type", "rope_theta"}
        for rotation in value.values()
    )


def inference_form(module: Any, types: bool, longest: int) -> nn.Module:
    """Return the inference form of a ModernBERT with a head."""
    return InferenceForm(module, longest)


ENCODER = Encoder(
    hugging_face.Architecture(
        "modernbert",
        ModernBertForSequenceClassification,
        ModernBertConfig,
        fresh=("classifier.", "head."),
        output="classifier",
        base="model",
        keys=FamilyKeys(
            names={
                "hidden_act": "hidden_activation",
                "attention_probs_dropout_prob": "attention_dropout",
                "layer_norm_eps": "norm_eps",
            },
            integers={
                "local_attention": (1, 131_072),
                "global_attn_every_n_layers": (1, 256),
            },
            numbers={
                **dict.fromkeys(("embedding_dropout", "mlp_dropout"), (0, 1)),
                **dict.fromkeys(("global_rope_theta", "local_rope_theta"), (1, 1000000000.0)),
                "initializer_cutoff_factor": (0, 100),
            },
            choices={
                **dict.fromkeys(("norm_bias", "attention_bias", "mlp_bias"), (False, True)),
                "classifier_bias": (False, True),
                "position_embedding_type": ("absolute", "sans_pos", None),  # which it ignores
                "rope_scaling": (None,),
                "classifier_pooling": ("cls", "mean"),
                "classifier_activation": ("gelu", "tanh", "relu", "silu"),
            },
            tests={"layer_types": _are_kinds, "rope_parameters": _are_rotations},
        ),
        pairs_need_types=False,
        has_types=False,
    ),
    ModernBertForTokenClassification,
    words="model.embeddings.tok_embeddings",
    attention="attn",
    projections=("attn.Wqkv",),
    form=inference_form,
    layers=r"model\.layers\.\d+",
    inside=(("attn_norm", "attn"), ("mlp_norm", "mlp")),
    has_heads=False,
    norm="model.final_norm",
)
NETWORK = ENCODER.network()

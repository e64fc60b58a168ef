"""A Hugging Face config.json, checked before anything of the size that it names is built."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from transformers.activations import ACT2FN

from bmc.errors import ArtifactError

# The largest are several times what the largest encoder has. Weights are compared with a file's
# header on the meta device, which costs nothing for a layer's size, but each layer's modules.
_WHOLE: Mapping[str, tuple[int, int]] = {
    "vocab_size": (1, 4_000_000),
    "hidden_size": (1, 16_384),
    "num_hidden_layers": (1, 256),
    "num_attention_heads": (1, 1_024),
    "intermediate_size": (1, 131_072),
    "max_position_embeddings": (1, 131_072),
    "type_vocab_size": (1, 1_024),
    "relative_attention_num_buckets": (2, 4_096),
    "num_labels": (1, 100_000),
}
_NUMBERS: Mapping[str, tuple[float, float]] = {
    "hidden_dropout_prob": (0, 1),
    "attention_probs_dropout_prob": (0, 1),
    "classifier_dropout": (0, 1),
    "initializer_range": (0, 100),
    "layer_norm_eps": (0, 1),
}
_MAY_BE_NULL = ("classifier_dropout", "pad_token_id")
_OTHER = (
    *("model_type", "architectures", "hidden_act", "pad_token_id", "bos_token_id", "eos_token_id"),
    *("id2label", "label2id", "problem_type", "tie_word_embeddings"),
)
_REFUSED: Mapping[str, tuple[Any, ...]] = {
    "is_decoder": (False,),
    "add_cross_attention": (False,),
    "position_embedding_type": ("absolute", None),
    "quantization_config": (None,),
    "pruned_heads": ({}, None),
}


def checked(spec: Mapping[str, Any], model_type: str) -> dict[str, Any]:
    """Return the keys of a configuration that shape the model, in range.

    Other keys (dtypes, switches of outputs and caches) do not matter to a classifier here.

    Raises:
        ArtifactError: the model is of another type, a number is out of range, or a key asks for
            what bmc does not build.
    """
    if spec.get("model_type") != model_type:
        raise ArtifactError(f"model type {spec.get('model_type')!r:.60} is not {model_type}")
    for key, accepted in _REFUSED.items():
        if key in spec and spec[key] not in accepted:
            raise ArtifactError(
                f"config.json: {key} is {spec[key]!r:.60}, which bmc does not build"
            )
    known = {key: spec[key] for key in (*_WHOLE, *_NUMBERS, *_OTHER) if key in spec}
    for key, (least, most) in _WHOLE.items():
        if key in known and not (type(known[key]) is int and least <= known[key] <= most):
            raise _out_of_range(key, known[key], f"a whole number in {least}..{most}")
    for key, (low, high) in _NUMBERS.items():
        if known.get(key) is None and key in _MAY_BE_NULL:
            continue
        value = known.get(key, low)
        if type(value) not in (int, float) or not math.isfinite(value) or not low <= value <= high:
            raise _out_of_range(key, value, f"a number in {low}..{high}")
    _check_together(known)
    return known


def _check_together(known: Mapping[str, Any]) -> None:
    hidden, heads = known.get("hidden_size", 768), known.get("num_attention_heads", 12)
    if hidden % heads:
        raise ArtifactError(
            f"config.json: hidden_size {hidden} does not divide by num_attention_heads {heads}"
        )
    padding, rows = known.get("pad_token_id"), known.get("vocab_size")
    if padding is not None and not (type(padding) is int and 0 <= padding < (rows or math.inf)):
        raise _out_of_range("pad_token_id", padding, f"a token's id, below vocab_size {rows}")
    act = known.get("hidden_act", "gelu")
    if not isinstance(act, str) or act not in ACT2FN:
        raise ArtifactError(f"config.json: hidden_act is {act!r:.60}, which transformers lacks")


def _out_of_range(key: str, value: object, belongs: str) -> ArtifactError:
    return ArtifactError(f"config.json: {key} is {value!r:.60}; it must be {belongs}")

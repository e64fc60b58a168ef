"""Check a Hugging Face config.json before a model of the sizes in that file is built."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from transformers.activations import ACT2FN

from bmc.errors import ArtifactError

# The upper limits are several times the sizes of the largest encoders. A model is first built on
# the meta device, where memory grows with the number of layers, but not with their sizes.
_INTEGERS: Mapping[str, tuple[int, int]] = {
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
_OTHER_KEYS = (
    *("model_type", "architectures", "hidden_act", "pad_token_id", "bos_token_id", "eos_token_id"),
    *("id2label", "label2id", "problem_type", "tie_word_embeddings"),
)
_ONLY_VALUES: Mapping[str, tuple[Any, ...]] = {
    "is_decoder": (False,),
    "add_cross_attention": (False,),
    "position_embedding_type": ("absolute", None),
    "quantization_config": (None,),
    "pruned_heads": ({}, None),
}


def checked(spec: Mapping[str, Any], model_type: str) -> dict[str, Any]:
    """Check a configuration, and return the entries that determine the model.

    Other entries (dtypes, switches of outputs and caches) do not affect a classifier.

    Raises:
        ArtifactError: the model is of another type, a number is out of range, or an entry requests
            a variant that bmc does not build.
    """
    if spec.get("model_type") != model_type:
        raise ArtifactError(f"model type {spec.get('model_type')!r:.60} is not {model_type}")
    for key, accepted in _ONLY_VALUES.items():
        if key in spec and spec[key] not in accepted:
            raise ArtifactError(
                f"config.json: {key} is {spec[key]!r:.60}, which bmc does not build"
            )
    entries = {key: spec[key] for key in (*_INTEGERS, *_NUMBERS, *_OTHER_KEYS) if key in spec}
    for key, (least, most) in _INTEGERS.items():
        if key in entries and not (type(entries[key]) is int and least <= entries[key] <= most):
            raise _out_of_range(key, entries[key], f"a whole number in {least}..{most}")
    for key, (low, high) in _NUMBERS.items():
        if entries.get(key) is None and key in _MAY_BE_NULL:
            continue
        value = entries.get(key, low)
        if type(value) not in (int, float) or not math.isfinite(value) or not low <= value <= high:
            raise _out_of_range(key, value, f"a number in {low}..{high}")
    _check_combinations(entries)
    return entries


def _check_combinations(entries: Mapping[str, Any]) -> None:
    hidden, heads = entries.get("hidden_size", 768), entries.get("num_attention_heads", 12)
    if hidden % heads:
        raise ArtifactError(
            f"config.json: hidden_size {hidden} is not divisible by num_attention_heads {heads}"
        )
    padding, vocabulary = entries.get("pad_token_id"), entries.get("vocab_size")
    limit = vocabulary or math.inf
    if padding is not None and not (type(padding) is int and 0 <= padding < limit):
        raise _out_of_range("pad_token_id", padding, f"a token's id, below vocab_size {vocabulary}")
    activation = entries.get("hidden_act", "gelu")
    if not isinstance(activation, str) or activation not in ACT2FN:
        raise ArtifactError(
            f"config.json: hidden_act is {activation!r:.60}, which transformers lacks"
        )


def _out_of_range(key: str, value: object, expected: str) -> ArtifactError:
    return ArtifactError(f"config.json: {key} is {value!r:.60}; it must be {expected}")

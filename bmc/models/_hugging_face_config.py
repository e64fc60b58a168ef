"""Check a Hugging Face config.json before a model of the sizes in that file is built."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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


@dataclass(frozen=True)
class FamilyKeys:
    """How the config.json of a family differs from BERT's.

    Args:
        names: the family's names of common entries, such as {"hidden_size": "dim"}.
        integers: smallest and largest value of further whole numbers, by name.
        numbers: smallest and largest value of further numbers, by name.
        choices: the values that bmc builds of further entries, by name.
        tests: functions that tell whether bmc builds a value of further entries, by name.
        hidden: hidden size where config.json does not say it.
        heads: number of attention heads where config.json does not say it.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    integers: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    numbers: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    choices: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    tests: Mapping[str, Callable[[Any], bool]] = field(default_factory=dict)
    hidden: int = 768
    heads: int = 12

    def name(self, common: str) -> str:
        """Return the family's name of a common entry."""
        return self.names.get(common, common)


BERT_KEYS = FamilyKeys()


def checked(
    spec: Mapping[str, Any], model_type: str, keys: FamilyKeys = BERT_KEYS
) -> dict[str, Any]:
    """Check a configuration, and return the entries that determine the model.

    Other entries (dtypes, switches of outputs and caches) do not affect a classifier.

    Args:
        spec: content of config.json.
        model_type: `model_type` that it must have.
        keys: entries in which the family differs from BERT.

    Raises:
        ArtifactError: the model is of another type, a number is out of range, or an entry requests
            a variant that bmc does not build.
    """
    if spec.get("model_type") != model_type:
        raise ArtifactError(f"model type {spec.get('model_type')!r:.60} is not {model_type}")
    choices = {**_ONLY_VALUES, **keys.choices}
    unbuildable = [key for key in choices if key in spec and spec[key] not in choices[key]]
    unbuildable += [key for key, test in keys.tests.items() if key in spec and not test(spec[key])]
    for key in unbuildable:
        raise ArtifactError(
            f"config.json: {key} is {spec[key]!r:.60}, which bmc does not build: name a model "
            "without it"
        )
    integers = {**_with_names(_INTEGERS, keys), **keys.integers}
    numbers = {**_with_names(_NUMBERS, keys), **keys.numbers}
    others = (*_OTHER_KEYS, *map(keys.name, _OTHER_KEYS), *keys.choices, *keys.tests)
    entries = {key: spec[key] for key in (*integers, *numbers, *others) if key in spec}
    for key, (least, most) in integers.items():
        if key in entries and not (type(entries[key]) is int and least <= entries[key] <= most):
            raise _out_of_range(key, entries[key], f"a whole number in {least}..{most}")
    for key, (low, high) in numbers.items():
        if entries.get(key) is None and key in _MAY_BE_NULL:
            continue
        value = entries.get(key, low)
        if type(value) not in (int, float) or not math.isfinite(value) or not low <= value <= high:
            raise _out_of_range(key, value, f"a number in {low}..{high}")
    _check_combinations(entries, keys)
    return entries


def _with_names(ranges: Mapping[str, Any], keys: FamilyKeys) -> dict[str, Any]:
    """Return ranges of common entries, by their common names and by those of the family."""
    return {name: ranges[key] for key in ranges for name in (key, keys.name(key))}


def _check_combinations(entries: Mapping[str, Any], keys: FamilyKeys) -> None:
    width, count = keys.name("hidden_size"), keys.name("num_attention_heads")
    hidden, heads = entries.get(width, keys.hidden), entries.get(count, keys.heads)
    if hidden % heads:
        raise ArtifactError(f"config.json: {width} {hidden} is not divisible by {count} {heads}")
    padding, vocabulary = entries.get("pad_token_id"), entries.get("vocab_size")
    limit = vocabulary or math.inf
    if padding is not None and not (type(padding) is int and 0 <= padding < limit):
        raise _out_of_range("pad_token_id", padding, f"a token's id, below vocab_size {vocabulary}")
    name = keys.name("hidden_act")
    activation = entries.get(name, "gelu")
    if not isinstance(activation, str) or activation not in ACT2FN:
        raise ArtifactError(f"config.json: {name} is {activation!r:.60}, which transformers lacks")


def _out_of_range(key: str, value: object, expected: str) -> ArtifactError:
    return ArtifactError(f"config.json: {key} is {value!r:.60}; it must be {expected}")

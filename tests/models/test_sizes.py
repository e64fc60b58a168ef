"""Sizes in a config.json that no model has: refused before anything is built."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch

from bmc.errors import ArtifactError
from bmc.models import bert, mpnet, recurrent, transformer

BERT = {"vocab_size": 100, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}


@pytest.mark.parametrize(
    "change",
    [
        {"num_hidden_layers": 10**9},
        {"num_hidden_layers": 0},
        {"num_hidden_layers": True},
        {"num_hidden_layers": "1"},
        {"vocab_size": 2**31},
        {"vocab_size": None},
        {"hidden_size": -8},
        {"hidden_size": 9},
        {"num_attention_heads": 16},
        {"num_attention_heads": 0},
        {"intermediate_size": 10**12},
        {"max_position_embeddings": 10**12},
        {"type_vocab_size": 10**12},
        {"num_labels": 10**9},
        {"pad_token_id": 100},
        {"pad_token_id": -1},
        {"hidden_dropout_prob": float("nan")},
        {"layer_norm_eps": "1e-12"},
        {"hidden_act": "magic"},
        {"hidden_act": ["gelu"]},
        {"is_decoder": True},
        {"position_embedding_type": "relative_key"},
        {"quantization_config": {"bits": 4}},
        {"id2label": {"zero": "a"}},
        {"id2label": 3},
        {"eos_token_id": {}},
    ],
)
@pytest.mark.parametrize("family", [bert, mpnet])
def test_a_hugging_face_config_out_of_range_is_refused_at_once(
    family: Any, change: dict[str, Any]
) -> None:
    spec = {"model_type": family.__name__.rpartition(".")[2], **BERT, "intermediate_size": 8}
    family.build(spec)
    started = time.process_time()
    with pytest.raises(ArtifactError, match=r"config\.json"):
        family.build({**spec, **change})
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    "change",
    [
        {"layers": 10**9},
        {"layers": 0},
        {"vocabulary": 2**31},
        {"hidden": 10**9},
        {"hidden": "8"},
        {"outputs": 10**9},
        {"columns": 3},
    ],
)
@pytest.mark.parametrize(
    ("family", "spec"),
    [
        (transformer, {"heads": 2, "feed_forward": 8, "max_length": 16}),
        (recurrent, {"cell": "gru", "input": "text", "readout": "mean", "embedding": 8}),
    ],
)
def test_sizes_of_a_network_trained_from_scratch_have_ranges(
    family: Any, spec: dict[str, Any], change: dict[str, Any]
) -> None:
    whole = {**spec, "layers": 1, "hidden": 8, "dropout": 0.1, "vocabulary": 20, "columns": 1}
    whole["outputs"] = 2
    family.build(whole)
    with pytest.raises(ArtifactError, match=r"config\.json"):
        family.build({**whole, **change})


@pytest.mark.parametrize("family", [bert, mpnet])
def test_the_largest_config_costs_no_memory_on_the_meta_device(family: Any) -> None:
    spec = {"model_type": family.__name__.rpartition(".")[2], "vocab_size": 4_000_000}
    spec |= {"hidden_size": 16_384, "num_attention_heads": 8, "num_hidden_layers": 256}
    with torch.device("meta"):
        module = family.build(spec)
    assert all(value.is_meta for value in module.parameters())

"""A small BERT that reads MiniLM's tokens, untrained or with larger weights; built once, copied."""

from __future__ import annotations

import copy
import functools
from typing import Any

import torch

from bmc.inputs.text import TextEncoder, TextSettings
from bmc.model import Model
from bmc.models import bert
from tests._tokenizers import built_in_tokenizer

BERT_LABELS = ("negative", "positive")


def _spec_of(layers: int) -> dict[str, Any]:
    """Return the configuration of a BERT, 32 wide, that reads MiniLM's tokens."""
    return {
        "model_type": "bert",
        "architectures": ["BertForSequenceClassification"],
        "vocab_size": 30522,
        "hidden_size": 32,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 128,
        "type_vocab_size": 2,
        "pad_token_id": 0,
        "id2label": {"0": "negative", "1": "positive"},
        "label2id": {"negative": 0, "positive": 1},
    }


@functools.cache
def _built(layers: int) -> tuple[torch.nn.Module, torch.Tensor]:
    """Build that BERT with the seed 0; return it and the state of the random numbers after that."""
    torch.manual_seed(0)
    return bert.build(_spec_of(layers)), torch.get_rng_state()


@functools.cache
def _lively(layers: int) -> torch.nn.Module:
    """Return that BERT with larger weights."""
    module = copy.deepcopy(_built(layers)[0])
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in module.named_parameters():
            noise = torch.randn(value.shape, generator=generator)
            if "embeddings.weight" in name:  # words, positions and types weigh alike
                value.copy_(noise)
            elif value.dim() == 2:
                value.copy_(1.5 * noise / value.shape[1] ** 0.5)
            else:
                value.add_(0.2 * noise)
    return module


@functools.cache
def _encoder(columns: int) -> TextEncoder:
    return TextEncoder(built_in_tokenizer("minilm"), TextSettings(64, columns))


def _copied(module: torch.nn.Module, columns: int, layers: int) -> Model:
    """Return a model whose network is a copy; its tokenizer is every such model's."""
    torch.set_rng_state(_built(layers)[1])
    encoder = copy.copy(_encoder(columns))
    return Model(copy.deepcopy(module), "bert", _spec_of(layers), BERT_LABELS, encoder)


def fresh_model(columns: int = 1, layers: int = 2) -> Model:
    """Build an untrained BERT, 32 wide, with MiniLM's tokenizer; always the same one."""
    return _copied(_built(layers)[0], columns, layers)


def lively_model(columns: int = 1, layers: int = 2) -> Model:
    """Build that model with larger weights: attention is sharp, and answers differ from row to row.

    An untrained BERT answers nearly the same whatever it reads, so that errors would not show.
    """
    return _copied(_lively(layers), columns, layers)

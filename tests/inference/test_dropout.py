"""Another dropout probability for a while: layers, and modules that keep it as a number."""

from __future__ import annotations

import pytest
from torch import nn
from transformers import ModernBertConfig, ModernBertModel

from bmc.inference.dropout import dropout_of


def test_every_kind_of_dropout_changes_and_is_as_before_afterwards() -> None:
    network = nn.Sequential(
        nn.Dropout(0.1), nn.Dropout2d(0.2), nn.LSTM(4, 4, 2, dropout=0.3), nn.Linear(4, 2)
    )
    network.append(nn.MultiheadAttention(4, 2, dropout=0.4))

    def probabilities() -> list[float]:
        return [network[0].p, network[1].p, network[2].dropout, network[4].dropout]  # type: ignore[list-item]

    with dropout_of([network], 0.0):
        assert probabilities() == [0.0] * 4
    assert probabilities() == [0.1, 0.2, 0.3, 0.4]
    with pytest.raises(KeyError), dropout_of([network], 0.5):
        raise KeyError
    assert probabilities() == [0.1, 0.2, 0.3, 0.4]


def test_numbers_of_transformers_change_too() -> None:
    config = ModernBertConfig(
        vocab_size=20,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        attention_dropout=0.1,
        pad_token_id=0,
    )
    attention = ModernBertModel(config).layers[0].attn
    with dropout_of([attention], 0.0):
        assert attention.attention_dropout == 0.0
    assert attention.attention_dropout == 0.1

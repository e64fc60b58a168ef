"""Which activations are exported as the exact GELU that runtimes fuse."""

from __future__ import annotations

from transformers.activations import ACT2FN

from bmc.inference.attention import Gelu, fusable_activation


def test_an_exact_gelu_is_exported_as_one_and_a_clipped_one_as_it_is() -> None:
    exact, clipped = ACT2FN["gelu"], ACT2FN["gelu_10"]
    assert isinstance(fusable_activation(exact), Gelu)
    assert fusable_activation(clipped) is clipped

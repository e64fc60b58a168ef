"""The tokenizers of the built-in encoders, read once in a process."""

from __future__ import annotations

import functools

from tokenizers import Tokenizer

from bmc import assets
from bmc.inputs.text import load_tokenizer


@functools.cache
def built_in_tokenizer(asset: str) -> Tokenizer:
    """Return the tokenizer of an asset, without padding and truncation.

    A `TextEncoder` copies it; who changes it changes it for every test.
    """
    tokenizer = load_tokenizer(assets.fetch(asset) / "tokenizer.json")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer

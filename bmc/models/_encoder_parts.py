"""Where the layers, heads, embeddings and outputs of an encoder of transformers are."""

from __future__ import annotations

import re
from typing import Any

from torch import nn

from bmc.model import Parts
from bmc.models.sentences import makes_vectors, output_paths

_HEADS = (
    "num_attention_heads",
    "n_heads",
)  # as most encoders of transformers call them; DistilBERT
LAYERS = r".*\.layer\.\d+"
INSIDE = ("attention",), ("intermediate", "output")


def encoder_parts(
    module: nn.Module,
    attention: str,
    output: str,
    layers: str = LAYERS,
    inside: tuple[tuple[str, ...], tuple[str, ...]] = INSIDE,
) -> Parts:
    """Say where an encoder's layers, heads, embeddings and outputs are.

    Args:
        module: a classifier of transformers.
        attention: path in a layer of the module that knows its number of heads; "" where the heads
            cannot be told apart by bmc.
        output: path of the layer that gives the logits.
        layers: pattern of the paths of the layers.
        inside: names, inside each layer, of the attention module and its norm, and of all others.
    """
    paths = [name for name, _ in module.named_modules(remove_duplicate=False)]
    stack = [name for name in paths if re.fullmatch(layers, name)]
    heads = {}
    for name in [f"{layer}.{attention}" for layer in stack if attention]:
        part: Any = module.get_submodule(name)
        heads[name] = int(next(getattr(part, key) for key in _HEADS if hasattr(part, key)))
    tables = [name for name, part in module.named_modules() if isinstance(part, nn.Embedding)]
    outputs = output_paths(module, stack) if makes_vectors(module) else (output,)
    return Parts(tuple(stack), heads, tuple(tables), outputs, *inside)

"""Where the layers, heads, embeddings and outputs of an encoder of transformers are."""

from __future__ import annotations

import re
from typing import Any

from torch import nn

from bmc.model import Parts


def encoder_parts(module: nn.Module, attention: str, output: str) -> Parts:
    """Say where an encoder's layers, heads, embeddings and outputs are.

    Args:
        module: a classifier of transformers whose layers are `*.layer.NUMBER`.
        attention: path in a layer of the module that knows its number of heads.
        output: path of the layer that gives the logits.
    """
    paths = [name for name, _ in module.named_modules(remove_duplicate=False)]
    layers = [name for name in paths if re.fullmatch(r".*\.layer\.\d+", name)]
    heads = {}
    for name in [f"{layer}.{attention}" for layer in layers]:
        part: Any = module.get_submodule(name)
        heads[name] = int(part.num_attention_heads)
    tables = [name for name, part in module.named_modules() if isinstance(part, nn.Embedding)]
    inside = ("attention",), ("intermediate", "output")
    return Parts(tuple(layers), heads, tuple(tables), (output,), *inside)

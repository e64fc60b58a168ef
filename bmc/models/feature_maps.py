"""Feature maps of image networks, as signals of distillation compare them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from bmc.contracts.signals import View
from bmc.inference.scripted import hookable
from bmc.model import output_of

_SPATIAL = (
    nn.Conv2d,
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d,
)
"""Layers whose outputs are (rows, channels, height, width). Some networks of attention have outputs
(rows, height, width, channels), which are no maps."""


def view(module: nn.Module, inputs: Mapping[str, Tensor]) -> View:
    """Return a network's logits, and its last feature map of each resolution, in their order.

    A map of one pixel is left out: it says nothing about where. The maps are found while the
    network runs, so any network of convolutions has them, also a pruned one.

    Args:
        module: network that is called with the inputs.
        inputs: inputs of a batch, by name.
    """
    sizes = set[tuple[int, int]]()
    last: dict[tuple[int, int], Tensor] = {}

    def keep(layer: nn.Module, _: Any, output: Any) -> None:
        if not isinstance(output, Tensor) or output.ndim != 4:
            return
        size = (int(output.shape[-2]), int(output.shape[-1]))
        if isinstance(layer, _SPATIAL) and size != (1, 1):
            sizes.add(size)
        if size in sizes:
            last[size] = output

    hooks = [layer.register_forward_hook(keep) for layer in hookable(module)]
    try:
        logits = output_of(module, inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return View(logits, maps=list(last.values()))

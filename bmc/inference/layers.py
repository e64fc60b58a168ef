"""Find the layers of an inference form that can be quantized."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from typing import Any

import torch
from torch import nn

from bmc import console
from bmc.errors import unknown
from bmc.inference.attention import ProjectionSlice
from bmc.inference.quantized_layers import QUANTIZABLE, WITH_WEIGHTS
from bmc.inference.run import tensors_of
from bmc.inference.sharing import read_directly, tied_parameters
from bmc.model import Model, output_of

Layers = dict[str, nn.Module]
_FEW = 0.01  # of the weights; fewer are not worth a word


def quantizable_layers(form: nn.Module) -> Layers:
    """Return the layers of an inference form that can be quantized, by path.

    A layer with several paths is returned once, under its first path.
    """
    return {path: layer for path, layer in form.named_modules() if type(layer) in QUANTIZABLE}


@torch.inference_mode()
def called_layers(model: Model) -> Layers:
    """Return the quantizable layers that `forward` calls, by path.

    A network may not use some of its layers, or read their weights without calling them.

    Args:
        model: a model whose module is an inference form.
    """
    called: set[int] = set()

    def note(layer: nn.Module, _: object) -> None:
        called.add(id(layer.whole if isinstance(layer, ProjectionSlice) else layer))

    layers = quantizable_layers(model.module)
    slices = [part for part in model.module.modules() if type(part) is ProjectionSlice]
    hooks = [layer.register_forward_pre_hook(note) for layer in [*layers.values(), *slices]]
    inputs = tensors_of(model.encoder.probes(1)[0])
    output_of(model.module, inputs)
    for hook in hooks:
        hook.remove()
    layers = {path: layer for path, layer in layers.items() if id(layer) in called}
    layers = {path: layer for path, layer in layers.items() if not _grows(path, layer)}
    if not getattr(model.module, "is_user_network", False):
        return layers  # bmc's forms read weights directly only where these may be quantized
    readers = read_directly(model.module, inputs)
    for path in readers.keys() & layers.keys():
        console.note(f"{path} stays in float: {readers[path]} reads its weight directly")
    return {path: layer for path, layer in layers.items() if path not in readers}


def called_layers_with_weights(model: Model) -> Layers:
    """Return the quantizable layers with weights that `forward` calls, by path."""
    layers = called_layers(model)
    return {path: layer for path, layer in layers.items() if type(layer) in WITH_WEIGHTS}


def without(layers: Mapping[str, nn.Module], in_float: tuple[str, ...]) -> Layers:
    """Return the layers whose paths match no pattern.

    Args:
        layers: the layers, by path.
        in_float: fnmatch patterns of the paths to leave out.

    Raises:
        UnknownError: a pattern matches no layer.
    """
    for pattern in in_float:
        if not any(fnmatch(path, pattern) for path in layers):
            raise unknown("layer that can be quantized", pattern, layers)
    left_out = {path for path in layers for pattern in in_float if fnmatch(path, pattern)}
    return {path: layer for path, layer in layers.items() if path not in left_out}


def unshared(
    form: nn.Module, layers: Mapping[str, nn.Module], kinds: Sequence[type] = (nn.Linear,)
) -> dict[str, Any]:
    """Return the layers of given classes that share neither their weight nor themselves, by path.

    Args:
        form: the network.
        layers: layers of the network, by path.
        kinds: classes of the layers to return.
    """
    tied = tied_parameters(form)
    parents = Counter(id(child) for part in form.modules() for child in part.children())
    return {
        path: layer
        for path, layer in layers.items()
        if type(layer) in kinds and id(layer.weight) not in tied and parents[id(layer)] == 1
    }


def say_left_in_float(form: nn.Module, record: Mapping[str, object]) -> None:
    """Note which kinds of layers stay in float, where they have more than 1 % of the weights.

    Args:
        form: the network.
        record: what is quantized, by path of the layer.
    """
    weights, counts, total = Counter[str](), Counter[str](), 0
    for path, part in form.named_modules():
        own = sum(value.numel() for value in part.parameters(recurse=False) if value.dim() > 1)
        total += own
        inside = any(path == each or path.startswith(f"{each}.") for each in record)
        if own and not inside:
            weights[type(part).__name__] += own
            counts[type(part).__name__] += 1
    left = sum(weights.values())
    if total and left / total > _FEW:
        kinds = ", ".join(f"{counts[kind]} {kind}" for kind, _ in weights.most_common(4))
        console.note(f"{kinds} stay in float: {left / total:.0%} of the weights")


def _grows(path: str, layer: nn.Module) -> bool:
    """Tell whether a table's rows of 8 bits would take more than in float, with a scale each."""
    if not isinstance(layer, nn.Embedding) or layer.embedding_dim > 1:
        return False
    console.note(
        f"{path} stays in float: its rows hold one number each, and a scale for each would take "
        "more than 8 bits save; bmc quantize --method fp16 halves it"
    )
    return True

"""Replace a network's layers by layers of another class."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, TypeVar

from torch import nn

Layer = TypeVar("Layer", bound=nn.Module)
_MODULE_ATTRIBUTES = frozenset(vars(nn.Module()))


def rebuilt_as(kind: type[Layer], layer: nn.Module) -> Layer:
    """Return a layer of another class with a layer's tensors, settings, hooks and mode.

    Args:
        kind: class of the new layer: a base or a subclass of the class of `layer`.
        layer: the layer, which is not changed; both layers hold the same tensors.
    """
    rebuilt = kind.__new__(kind)
    for name, value in vars(layer).items():
        vars(rebuilt)[name] = copy.copy(value) if isinstance(value, dict) else value
    return rebuilt


def replace_layers(root: nn.Module, replacements: Mapping[nn.Module, nn.Module]) -> None:
    """Replace layers wherever a network refers to them.

    A user's network may hold a layer in a plain list, tuple or dict in addition to the attribute
    that registers the layer.

    Args:
        root: the network, changed in place; it must not be a key of `replacements`.
        replacements: new layers by old layer; no old layer may contain another.
    """
    for parent in list(root.modules()):
        for name, child in list(parent._modules.items()):
            if child is not None and child in replacements:
                parent.register_module(name, replacements[child])
        for name, value in list(vars(parent).items()):
            if name not in _MODULE_ATTRIBUTES:
                vars(parent)[name] = _with_replaced(value, replacements)


def _with_replaced(value: Any, replacements: Mapping[nn.Module, nn.Module]) -> Any:
    """Return a value with the layers in it replaced; lists and dicts are changed in place."""
    if isinstance(value, tuple):
        if not any(_is_replaced(item, replacements) for item in value):
            return value
        items = [_replaced(item, replacements) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if isinstance(value, list):
        for index, item in enumerate(value):
            value[index] = _replaced(item, replacements)
    elif isinstance(value, dict):
        for key, item in value.items():
            value[key] = _replaced(item, replacements)
    return value


def _is_replaced(item: Any, replacements: Mapping[nn.Module, nn.Module]) -> bool:
    return isinstance(item, nn.Module) and item in replacements


def _replaced(item: Any, replacements: Mapping[nn.Module, nn.Module]) -> Any:
    return replacements[item] if _is_replaced(item, replacements) else item

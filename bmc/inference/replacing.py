"""Replace a network's layers by layers of another class."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, TypeVar

from torch import nn

Layer = TypeVar("Layer", bound=nn.Module)
_OF_EVERY_MODULE = frozenset(vars(nn.Module()))


def rebuilt_as(kind: type[Layer], layer: nn.Module) -> Layer:
    """Return a layer of another class with the tensors, settings, hooks and mode of a layer.

    Args:
        kind: a class that derives from the layer's, or from which the layer's derives.
        layer: it is not changed; both layers hold the same tensors.
    """
    rebuilt = kind.__new__(kind)
    for name, value in vars(layer).items():
        vars(rebuilt)[name] = copy.copy(value) if isinstance(value, dict) else value
    return rebuilt


def replace_layers(root: nn.Module, replacements: Mapping[nn.Module, nn.Module]) -> None:
    """Put new layers in the place of old ones, wherever a network holds them.

    A user's network may hold a layer in a plain list, tuple or dict beside the attribute that
    registers it.

    Args:
        root: it is changed in place, and is none of the replaced layers.
        replacements: new layers by the old ones; none of these is inside another.
    """
    for parent in list(root.modules()):
        for name, child in list(parent._modules.items()):
            if child is not None and child in replacements:
                parent.register_module(name, replacements[child])
        for name, value in list(vars(parent).items()):
            if name not in _OF_EVERY_MODULE:
                vars(parent)[name] = _with_replaced(value, replacements)


def _with_replaced(value: Any, replacements: Mapping[nn.Module, nn.Module]) -> Any:
    """Return a container with its layers replaced; lists and dicts are changed in place."""
    if isinstance(value, tuple):
        if not any(_is_replaced(item, replacements) for item in value):
            return value
        items = [_replaced(item, replacements) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if isinstance(value, list):
        for place, item in enumerate(value):
            value[place] = _replaced(item, replacements)
    elif isinstance(value, dict):
        for key, item in value.items():
            value[key] = _replaced(item, replacements)
    return value


def _is_replaced(item: Any, replacements: Mapping[nn.Module, nn.Module]) -> bool:
    return isinstance(item, nn.Module) and item in replacements


def _replaced(item: Any, replacements: Mapping[nn.Module, nn.Module]) -> Any:
    return replacements[item] if _is_replaced(item, replacements) else item

"""Replace a network's layers by layers of another class."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import partial
from types import MethodType
from typing import Any, TypeVar

from torch import nn

from bmc.errors import UsageError

Layer = TypeVar("Layer", bound=nn.Module)
_MODULE_ATTRIBUTES = frozenset(vars(nn.Module()))
_REFUSED = "_bmc_refused_calls"


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

    A user's network may hold a layer in lists, tuples, dicts or sets, as a bound method
    (`self.layer.forward`) or in a `functools.partial`, nested in any way, in addition to the
    attribute that registers the layer. A layer that is called all the same, such as one in an
    object that is no module, raises a UsageError then.

    Args:
        root: the network, changed in place; it must not be a key of `replacements`.
        replacements: new layers by old layer; no old layer may contain another.
    """
    known: dict[int, tuple[Any, Any]] = {}
    for parent in list(root.modules()):
        for name, child in list(parent._modules.items()):
            if child is not None and child in replacements:
                parent.register_module(name, replacements[child])
        for name, value in list(vars(parent).items()):
            if name not in _MODULE_ATTRIBUTES:
                vars(parent)[name] = _with_replaced(value, replacements, known)
    for old, new in replacements.items():
        _allow_calls(new)
        _refuse_calls(old)


def _with_replaced(
    value: Any, replacements: Mapping[nn.Module, nn.Module], known: dict[int, tuple[Any, Any]]
) -> Any:
    """Return a value with the layers in it replaced; lists, dicts and sets are changed in place.

    Args:
        value: any value.
        replacements: new layers by old layer.
        known: collections that were entered, and what became of them, by the id of the former; one
            may occur several times, or contain itself.
    """
    if isinstance(value, nn.Module):
        return replacements.get(value, value)
    if isinstance(value, MethodType) and isinstance(value.__self__, nn.Module):
        new = replacements.get(value.__self__)
        return value if new is None else getattr(new, value.__name__)
    if not isinstance(value, tuple | list | dict | set | partial):
        return value
    if id(value) in known:
        return known[id(value)][1]
    known[id(value)] = (value, value)

    def changed(item: Any) -> Any:
        return _with_replaced(item, replacements, known)

    result: Any = value
    if isinstance(value, partial):
        keywords = {name: changed(item) for name, item in value.keywords.items()}
        result = partial(changed(value.func), *map(changed, value.args), **keywords)
    elif isinstance(value, tuple):
        items = [changed(item) for item in value]
        if any(item is not before for item, before in zip(items, value, strict=True)):
            result = type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    elif isinstance(value, list):
        value[:] = [changed(item) for item in value]
    elif isinstance(value, dict):
        for key, item in value.items():
            value[key] = changed(item)
    else:
        items = [changed(item) for item in value]
        value.clear()
        value.update(items)
    known[id(value)] = (value, result)
    return result


def _refuse_calls(layer: nn.Module) -> None:
    """Make calls of a layer that was replaced an error: its numbers may be another network's."""

    def refuse(layer: nn.Module, *_: object) -> None:
        raise UsageError(
            f"the network calls a {type(layer).__name__} that was replaced by a compressed one: it "
            "keeps the layer in a function or in an object that is no module; call it as an "
            "attribute (self.layer)"
        )

    vars(layer)[_REFUSED] = layer.register_forward_pre_hook(refuse)


def _allow_calls(layer: nn.Module) -> None:
    """Allow calls of a layer again that was replaced before, or that has the hooks of one."""
    handle = vars(layer).pop(_REFUSED, None)
    if handle is not None:
        layer._forward_pre_hooks.pop(handle.id, None)

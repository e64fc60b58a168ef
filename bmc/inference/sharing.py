"""Find shared weights, and modules that read a layer's weight without calling the layer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from bmc.inference.scripted import hookable
from bmc.model import output_of


def users_of(root: nn.Module, parameter: Tensor) -> list[nn.Module]:
    """Return the modules that hold a parameter directly; several modules hold a tied parameter."""
    return [
        module
        for module in root.modules()
        if any(held is parameter for held in module.parameters(recurse=False))
    ]


def tied_parameters(module: nn.Module) -> frozenset[int]:
    """Return the identities of the parameters that several modules hold."""
    uses = Counter(
        id(parameter) for part in module.modules() for parameter in part.parameters(recurse=False)
    )
    return frozenset(parameter for parameter, count in uses.items() if count > 1)


def read_directly(module: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, str]:
    """Return the path of a reader for each layer whose weight another module reads, by path.

    Such a layer cannot be quantized: the user's code computes with its weight.

    Args:
        module: the network in evaluation mode.
        inputs: inputs to run the network with, by name.
    """
    watch = _DirectReads(module)
    with torch.no_grad(), watch.following(), watch:
        output_of(module, inputs)
    return watch.readers


class _DirectReads(TorchFunctionMode):
    """Intercepts the functions of torch, and records which module reads another's parameter."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.readers: dict[str, str] = {}
        self._paths = {id(part): path for path, part in module.named_modules()}
        self._hookable = dict.fromkeys(hookable(module))  # a shared layer is one module
        self._owners: dict[int, list[nn.Module]] = {}
        for part in module.modules():
            for value in part.parameters(recurse=False):
                self._owners.setdefault(id(value), []).append(part)
        self._inside: list[nn.Module] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        is_computed = any(isinstance(value, Tensor) for value in _flat([result]))
        if is_computed and self._inside:
            reader = self._inside[-1]
            for value in _flat([*args, *(kwargs or {}).values()]):
                owners = self._owners.get(id(value), [])
                if owners and not any(owner is reader for owner in owners):
                    paths = [self._paths[id(owner)] for owner in owners]
                    self.readers |= dict.fromkeys(paths, self._paths[id(reader)])
        return result

    @contextmanager
    def following(self) -> Iterator[None]:
        """Keep track of the running module while the block runs."""

        def enter(part: nn.Module, _: object) -> None:
            self._inside.append(part)

        def leave(part: nn.Module, inputs: object, output: object) -> None:
            self._inside.pop()

        hooks = [part.register_forward_pre_hook(enter) for part in self._hookable]
        hooks += [part.register_forward_hook(leave) for part in self._hookable]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


def _flat(values: Iterable[Any]) -> Iterator[Any]:
    """Yield values, and in place of a list or tuple what is in it."""
    for value in values:
        if isinstance(value, list | tuple):
            yield from value
        else:
            yield value

"""What techniques have in common: who uses a weight, where words are looked up, replacing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from bmc.contracts import families
from bmc.errors import UsageError
from bmc.inputs.text import TextEncoder
from bmc.model import Model, output_of


def replace(root: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Put a module in another's place, wherever that one stands."""
    found = list(root.named_modules(remove_duplicate=False))
    for path in [path for path, module in found if module is old]:
        root.set_submodule(path, new)


def users_of(root: nn.Module, parameter: Tensor) -> list[nn.Module]:
    """Return the modules that hold a parameter themselves, each once: more than one if tied."""
    return [
        module
        for module in root.modules()
        if any(own is parameter for own in module.parameters(recurse=False))
    ]


def read_directly(module: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, str]:
    """Return the layers whose weights other modules read, by path, with the reader's path.

    Such a layer must stay what it is: its weight is part of a user's own computation.

    Args:
        module: in evaluation mode.
        inputs: to run it with.
    """
    watch = _DirectReads(module)
    with torch.no_grad(), watch.following(), watch:
        output_of(module, inputs)
    return watch.found


class _DirectReads(TorchFunctionMode):
    """Sees every function of torch, and knows in which module it is called."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.found: dict[str, str] = {}
        self._paths = {id(part): path for path, part in module.named_modules()}
        self._parts = list(module.modules())
        self._owners: dict[int, list[nn.Module]] = {}
        for part in self._parts:
            for value in part.parameters(recurse=False):
                self._owners.setdefault(id(value), []).append(part)
        self._inside: list[nn.Module] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if isinstance(made, Tensor) and self._inside:
            reader = self._inside[-1]
            for value in [*args, *(kwargs or {}).values()]:
                owners = self._owners.get(id(value), [])
                if owners and not any(owner is reader for owner in owners):
                    paths = [self._paths[id(owner)] for owner in owners]
                    self.found |= dict.fromkeys(paths, self._paths[id(reader)])
        return made

    @contextmanager
    def following(self) -> Iterator[None]:
        """Follow which module is at work."""

        def enter(part: nn.Module, _: object) -> None:
            self._inside.append(part)

        def leave(part: nn.Module, given: object, made: object) -> None:
            self._inside.pop()

        hooks = [part.register_forward_pre_hook(enter) for part in self._parts]
        hooks += [part.register_forward_hook(leave) for part in self._parts]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


def word_table(model: Model, method: str) -> tuple[str, nn.Embedding]:
    """Return the table in which a text model looks its tokens up, and its path.

    It is found by running the model: the table is what reads the ids as they are.

    Args:
        model: a live model.
        method: for messages.

    Raises:
        UsageError: the model reads no text, or its table is no plain one that is used alone.
    """
    if not isinstance(model.encoder, TextEncoder):
        raise UsageError(f"{method} is for models that read text; {model.family} reads none")
    family = families.network(model.family)
    inputs = family.examples(model.module)[0]
    read: list[nn.Module] = []

    def note(table: nn.Module, given: tuple[Tensor, ...], _: Tensor) -> None:
        if torch.equal(given[0], inputs["input_ids"]):
            read.append(table)

    tables = [(path, part) for path, part in model.module.named_modules() if _is_table(part)]
    hooks = [table.register_forward_hook(note) for _, table in tables]
    try:
        with torch.no_grad():
            model.module.eval()(**inputs)
    finally:
        for hook in hooks:
            hook.remove()
    for path, table in tables:
        if table in read and isinstance(table, nn.Embedding):
            if len(users_of(model.module, table.weight)) > 1:
                raise UsageError(
                    f"{method} cannot change {path} alone: its weight is tied to another module's; "
                    f"apply {method} before tying"
                )
            return path, table
    raise UsageError(
        f"{method} finds no plain table of words in this {model.family} (an earlier step may have "
        f"replaced it); apply {method} before that step"
    )


def _is_table(module: nn.Module) -> bool:
    return type(module) is nn.Embedding

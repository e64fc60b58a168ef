"""What techniques have in common: who uses a weight, where words are looked up, replacing."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bmc import plugins
from bmc.errors import UsageError
from bmc.inputs.text import TextEncoder
from bmc.model import Model


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
    family = plugins.load("bmc.models", model.family, "model family")
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

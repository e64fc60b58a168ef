"""The table in which a text model looks its tokens up."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bmc.contracts import families
from bmc.errors import UsageError
from bmc.inference.sharing import users_of
from bmc.inputs.text import TextEncoder
from bmc.model import Model


def word_table(model: Model, method: str) -> tuple[str, nn.Embedding]:
    """Return the path of the table in which a text model looks its tokens up, and the table.

    The model is run to find it: the table is what reads the token ids unchanged.

    Args:
        model: a live model.
        method: for messages.

    Raises:
        UsageError: the model reads no text, or other modules use the table's weight, or an earlier
            step replaced it.
    """
    if not isinstance(model.encoder, TextEncoder):
        raise UsageError(
            f"{method} is for models that read text with a tokenizer; {model.family} has none"
        )
    family = families.network(model.family)
    inputs = family.examples(model.module)[0]
    read: list[nn.Module] = []

    def note(table: nn.Module, args: tuple[Tensor, ...], _: Tensor) -> None:
        if torch.equal(args[0], inputs["input_ids"]):
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

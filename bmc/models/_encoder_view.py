"""What signals of distillation compare in an encoder of transformers, read with hooks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from torch import Tensor, nn

from bmc.contracts.signals import View
from bmc.inference.dropout import dropout_of
from bmc.model import output_of

_EAGER = "eager"  # the only attention of transformers that returns its probabilities


def view(
    module: Any,
    inputs: Mapping[str, Tensor],
    layers: Sequence[str],
    attention: str,
    projections: Sequence[str],
    norm: str = "",
) -> View:
    """Return all that signals of distillation compare.

    Attention has no dropout meanwhile: transformers returns its probabilities after dropout.

    Args:
        module: a classifier of transformers; it computes plain attention from now on.
        inputs: inputs of a batch, by name.
        layers: paths of the layers, in order; a shared layer has a path for each use.
        attention: path in a layer of the module that returns the attention's probabilities second.
        projections: paths in a layer of the projections to queries, keys and values; or the path of
            the one that computes all three, in this order.
        norm: path of a norm after the last layer, which the last hidden states pass; "" for none.
    """
    if module.config._attn_implementation != _EAGER:
        module.set_attn_implementation(_EAGER)
    stack = [module.get_submodule(path) for path in layers]
    entered: list[Tensor] = []
    outputs: dict[str, list[Any]] = {name: [] for name in ("", attention, *projections)}
    attentions = [layer.get_submodule(attention) for layer in stack]
    with ExitStack() as hooks, dropout_of(attentions, 0.0):
        first = stack[0].register_forward_pre_hook(lambda _, args: entered.append(args[0]))
        hooks.callback(first.remove)
        for name, kept in outputs.items():
            for part in _distinct(layer.get_submodule(name) for layer in stack):
                hook = part.register_forward_hook(lambda _, args, out, kept=kept: kept.append(out))
                hooks.callback(hook.remove)
        ends: list[Tensor] = []
        if norm:
            last = module.get_submodule(norm)
            hook = last.register_forward_hook(lambda _, args, out: ends.append(out))
            hooks.callback(hook.remove)
        logits = output_of(module, {**inputs, "output_attentions": True})  # type: ignore[dict-item]
    # DeBERTa projects its distances, too, after the tokens.
    units = [outputs[name][:: len(outputs[name]) // len(stack)] for name in projections]
    if len(units) == 1:
        units = [list(part) for part in zip(*(each.chunk(3, -1) for each in units[0]), strict=True)]
    queries, keys, values = units
    hidden = [entered[0], *(_main(output) for output in outputs[""])]
    if ends:
        hidden[-1] = ends[0]
    return View(
        logits=logits,
        hidden=hidden,
        attentions=[output[1] for output in outputs[attention]],
        queries=queries,
        keys=keys,
        values=values,
        mask=inputs["attention_mask"].bool(),
    )


def _distinct(modules: Iterable[nn.Module]) -> Iterator[Any]:
    """Yield each module once; several layers may share it."""
    yield from {id(module): module for module in modules}.values()


def _main(output: Any) -> Tensor:
    """Return the hidden states that a layer returns, alone or first."""
    return output if isinstance(output, Tensor) else output[0]

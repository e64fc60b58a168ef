"""Depth pruning: remove whole layers of a transformer, or blocks of a residual network."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import nn

from bmc import console
from bmc.contracts import families
from bmc.errors import ArtifactError, SettingError, UsageError, unknown
from bmc.inference.ablation import measure_each
from bmc.model import Model, Parts, Record, Work
from bmc.training.batches import Rows
from bmc.training.loop import outputs_of

_RULES = ("score", "last", "random")
_COMPARED = 512
# 0.33 of 6 layers should be two, and 0.66 of 12 eight, though they are a little less.
_ROUNDED_UP = 0.1


@dataclass(frozen=True)
class Depth:
    """Remove layers with a residual connection, one at a time, until a share of them is removed.

    At least one layer of each stack (the encoder, or a stage of a residual network) stays. A block
    that changes the number of channels or the size of the map has no plain shortcut, and stays.

    Args:
        ratio: share of the layers to remove, in (0, 1); rounded down to whole layers.
        layers: names of the layers to remove instead.
        rule: which layer is removed next: the one without which the validation score is best
            ("score"; among equals, the one without which the outputs change least), the last one
            ("last"), or a random one ("random", a control).

    Raises:
        SettingError: ratio is outside (0, 1), or rule is another.

    Source: Sajjad et al. 2023, "On the Effect of Dropping Layers of Pre-trained Transformer
    Models"; Veit et al. 2016, "Residual Networks Behave Like Ensembles of Relatively Shallow
    Networks".
    """

    ratio: float = 0.5
    layers: tuple[str, ...] = ()
    rule: str = "score"

    def __post_init__(self) -> None:
        if not 0 < self.ratio < 1:
            raise SettingError(f"ratio is {self.ratio}; it must lie in (0, 1)")
        if self.rule not in _RULES:
            raise SettingError(f"rule is {self.rule!r}; possible: {', '.join(_RULES)}")

    def apply(self, model: Model, work: Work) -> Record:
        """Remove the layers and return the indices that stay, for each stack that was cut.

        Raises:
            UsageError: the family has no such layers, a named layer must stay, a stack would be
                empty, or zeros of an earlier step would be lost.
            UnknownError: no layer has one of the names.
        """
        _removable(model)  # refuses models without such layers first
        stacks = _stacks(model)
        gone = _named(model, self.layers) if self.layers else self._found(model, work)
        record: Record = {}
        for path, stack in stacks.items():
            kept = [place for place in range(len(stack)) if f"{path}.{place}" not in gone]
            if not kept:
                raise UsageError(f"this would remove every layer of {path}; leave one at least")
            if len(kept) < len(stack):
                record[path] = kept
        _refuse_lost_zeros(model, record)
        if record:
            console.note(f"without {', '.join(gone)}")
        Depth.rebuild(model, record)
        return record

    @staticmethod
    def rebuild(model: Model, record: Record) -> None:
        """Keep the recorded indices of each stack, renumbered.

        Raises:
            ArtifactError: the record names something else than a stack, or layers that are missing.
        """
        removable = _removable(model) if record else set()
        stacks = _stacks(model)
        for path, kept in record.items():
            stack = stacks.get(path)
            if stack is None:
                raise ArtifactError(f"{path!r:.80} is no stack of layers")
            if not _is_selection(kept, len(stack)):
                raise ArtifactError(f"{path} has {len(stack)} layers; {kept!r:.60} cannot stay")
            gone = {f"{path}.{place}" for place in range(len(stack))} - {
                f"{path}.{place}" for place in kept
            }
            if not gone <= removable:
                raise ArtifactError(f"{', '.join(sorted(gone - removable))} cannot be left out")
            _arrange(model.module, path, [stack[place] for place in kept])
            config: Any = getattr(model.module, "config", None)
            if hasattr(config, "num_hidden_layers"):
                config.num_hidden_layers = len(kept)

    def _found(self, model: Model, work: Work) -> list[str]:
        """Return the names of the layers to remove, chosen by the rule on a private copy."""
        count = int(self.ratio * len(_names(model)) + _ROUNDED_UP)
        copied = replace(model, module=copy.deepcopy(model.module))
        gone = list(islice(removals(copied, work, self.rule), count))
        if len(gone) < count:
            raise UsageError(
                f"ratio {self.ratio} would remove {count} layers; {len(gone)} can go, since one of "
                "each stack must stay, and blocks without a plain shortcut: take a lower ratio"
            )
        return gone


def removals(model: Model, work: Work, rule: str) -> Iterator[str]:
    """Remove layer after layer from a model, and yield the name that each had at the start.

    Args:
        model: it loses a layer for each name that is yielded.
        work: whose validation rows decide, if the rule is "score".
        rule: see `Depth`.

    Raises:
        UsageError: the family has no removable layers.
    """
    stacks, removable = _stacks(model), _removable(model)
    kept = {path: list(range(len(stack))) for path, stack in stacks.items()}
    change = _change_of_outputs(model, work) if rule == "score" else float

    def keep(path: str, places: list[int]) -> None:
        _arrange(model.module, path, [stacks[path][place] for place in places])

    @contextmanager
    def without(candidate: tuple[str, int]) -> Iterator[None]:
        path, gone = candidate
        keep(path, [place for place in kept[path] if place != gone])
        yield
        keep(path, kept[path])

    def least_important(candidates: list[tuple[str, int]]) -> tuple[str, int]:
        scores = measure_each(candidates, without, lambda _: work.score(model), "layers")
        equals = [each for each in candidates if scores[each] == max(scores.values())]
        if len(equals) == 1:
            return equals[0]
        changes = measure_each(equals, without, lambda _: change(), "layers of equal score")
        return min(equals, key=changes.__getitem__)

    while candidates := [
        (path, place)
        for path, places in kept.items()
        for place in places
        if len(places) > 1 and f"{path}.{place}" in removable
    ]:
        if rule == "score":
            path, place = least_important(candidates)
        else:
            last = len(candidates) - 1
            path, place = candidates[last if rule == "last" else int(torch.randint(last + 1, ()))]
        kept[path].remove(place)
        keep(path, kept[path])
        yield f"{path}.{place}"


def _change_of_outputs(model: Model, work: Work) -> Callable[[], float]:
    """Return a function that measures how far a model's outputs moved from what they are now."""
    part = work.data.validation
    rows = Rows(part.rows[:_COMPARED], part.labels[:_COMPARED], model.encoder)
    outputs = outputs_of(model.module, rows)
    return lambda: float(np.square(outputs_of(model.module, rows) - outputs).mean())


def _named(model: Model, names: tuple[str, ...]) -> list[str]:
    """Return the typed names, checked, each once."""
    removable = _removable(model)
    for name in names:
        if name not in _names(model):
            raise unknown("layer", name, _names(model))
        if name not in removable:
            raise UsageError(
                f"{name} has no plain shortcut: what follows needs its shape. Layers that can go: "
                f"{', '.join(sorted(removable))}"
            )
    return list(dict.fromkeys(names))


def _refuse_lost_zeros(model: Model, record: Record) -> None:
    """Refuse to rename a layer so that an earlier step would no longer keep its zeros."""
    for step in model.steps:
        pruned = step.record.get("parameters", ())
        for path, kept in record.items():
            for place, old in enumerate(kept):
                inside = f"{path}.{old}."
                names = [name.removeprefix(inside) for name in pruned if name.startswith(inside)]
                if any(f"{path}.{place}.{name}" not in pruned for name in names):
                    raise UsageError(
                        f"{path}.{old} would become {path}.{place}, where {step.method} keeps no "
                        "zeros: remove layers first, then set weights to zero"
                    )


def _stacks(model: Model) -> dict[str, list[nn.Module]]:
    """Return the modules of each container of layers; a shared layer is there once for each use."""
    paths = dict.fromkeys(name.rpartition(".")[0] for name in _parts(model).layers)
    stacks: dict[str, list[nn.Module]] = {}
    for path in paths:
        container: Any = model.module.get_submodule(path)
        if type(container) in (nn.ModuleList, nn.Sequential):
            stacks[path] = [container[place] for place in range(len(container))]
    return stacks


def _names(model: Model) -> list[str]:
    """Return the name of every layer; a shared one has a name for each use."""
    layers = {id(model.module.get_submodule(name)) for name in _parts(model).layers}
    return [
        f"{path}.{place}"
        for path, stack in _stacks(model).items()
        for place, layer in enumerate(stack)
        if id(layer) in layers
    ]


def _removable(model: Model) -> set[str]:
    """Return the names of the layers with a residual connection, which may be removed.

    Raises:
        UsageError: the model has none.
    """
    heads = _parts(model).heads
    removable = {
        name
        for name in _names(model)
        if _has_shortcut(model.module.get_submodule(name))
        or any(head.startswith(f"{name.rpartition('.')[0]}.") for head in heads)
    }
    if not removable:
        raise UsageError(
            f"depth removes layers that add to what they read (transformers, residual networks); "
            f"bmc knows none in a {model.family} model: prune it with --method structured"
        )
    return removable


def _has_shortcut(block: nn.Module) -> bool:
    """Tell whether a block of a convolutional network adds its unchanged input."""
    beside = getattr(block, "downsample", None)
    return isinstance(beside, nn.Identity) or getattr(block, "shortcut", False) is True


def _parts(model: Model) -> Parts:
    parts: Parts = families.network(model.family).parts(model.module)
    return parts


def _arrange(module: nn.Module, path: str, layers: list[nn.Module]) -> None:
    """Replace a container by one of these layers."""
    sequential = isinstance(module.get_submodule(path), nn.Sequential)
    container = nn.Sequential(*layers) if sequential else nn.ModuleList(layers)
    module.set_submodule(path, container.train(module.training))


def _is_selection(kept: Any, count: int) -> bool:
    """Tell whether a record holds a list of rising indices below `count`."""
    if not isinstance(kept, list) or not kept or any(type(place) is not int for place in kept):
        return False
    return sorted(set(kept)) == kept and kept[0] >= 0 and kept[-1] < count


STEP = Depth

"""Depth pruning: remove layers of a transformer, or blocks of a residual network."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import nn

from bmc import console
from bmc.choices import Between, about
from bmc.contracts import families
from bmc.errors import ArtifactError, SettingError, UsageError, unknown
from bmc.inference.ablation import measure_each
from bmc.model import Model, Parts, Record, Work
from bmc.training.batches import Rows
from bmc.training.loop import outputs_of

_RULES = ("score", "last", "random")
_COMPARED_ROWS = 512  # of the validation split
# The number of layers is rounded down, but 0.33 of 6 should be 2 and 0.66 of 12 should be 8.
_ROUNDING_TOLERANCE = 0.1


@dataclass(frozen=True)
class Depth:
    """Remove layers with a residual connection, one at a time, until a share of them is removed.

    At least one layer of each stack (the encoder, or a stage of a residual network) stays. A block
    that changes the number of channels or the size of the feature map has no identity shortcut, and
    stays.

    Args:
        ratio: share of the layers to remove, in (0, 1). The number of layers is rounded down, but
            up where less than 0.1 of a layer is missing.
        layers: names of the layers to remove; `ratio` and `rule` are then not used.
        rule: which layer to remove next: "score", the layer without which the validation score is
            best (among equal scores, the layer without which the outputs change least); "last", the
            last layer; or "random", a random layer (a control).

    Raises:
        SettingError: ratio is outside (0, 1), or rule is not one of these.

    Source: Sajjad et al. 2023, "On the Effect of Dropping Layers of Pre-trained Transformer
    Models"; Veit et al. 2016, "Residual Networks Behave Like Ensembles of Relatively Shallow
    Networks".
    """

    ratio: float = field(default=0.5, metadata=about(search=Between(0.1, 0.9)))
    layers: tuple[str, ...] = ()
    rule: str = "score"

    def __post_init__(self) -> None:
        if not 0 < self.ratio < 1:
            raise SettingError(f"ratio is {self.ratio}; it must lie in (0, 1)")
        if self.rule not in _RULES:
            raise SettingError(f"rule is {self.rule!r}; possible: {', '.join(_RULES)}")

    def apply(self, model: Model, work: Work) -> Record:
        """Remove the layers, and return the indices of the layers that stay in each changed stack.

        Raises:
            UsageError: the model has no layers with a residual connection, a named layer must stay,
                a stack would be empty, or zeros of an earlier step would be lost.
            UnknownError: a name in `layers` is not the name of a layer.
        """
        _removable(model)  # refuses models without such layers first
        stacks = _stacks(model)
        if self.layers:
            layers_to_remove = _checked_names(model, self.layers)
        else:
            layers_to_remove = self._choose_layers(model, work)
        record: Record = {}
        for path, stack in stacks.items():
            kept = [
                index for index in range(len(stack)) if f"{path}.{index}" not in layers_to_remove
            ]
            if not kept:
                raise UsageError(
                    f"this would remove every layer of {path}; at least one layer must stay"
                )
            if len(kept) < len(stack):
                record[path] = kept
        _refuse_lost_zeros(model, record)
        if record:
            console.note(f"removed {', '.join(layers_to_remove)}")
        Depth.rebuild(model, record)
        return record

    @staticmethod
    def rebuild(model: Model, record: Record) -> None:
        """Keep the recorded layers of each stack, renumbered from 0.

        Raises:
            ArtifactError: the record names a module that is not a stack of layers, or indices that
                the stack does not have, or leaves out a layer that must stay.
        """
        removable = _removable(model) if record else set()
        stacks = _stacks(model)
        for path, kept in record.items():
            stack = stacks.get(path)
            if stack is None:
                raise ArtifactError(f"{path!r:.80} is not a stack of layers")
            if not _is_selection(kept, len(stack)):
                raise ArtifactError(
                    f"{path} has {len(stack)} layers; the recorded indices {kept!r:.60} are not a "
                    "rising list of some of them"
                )
            removed = {f"{path}.{index}" for index in set(range(len(stack))) - set(kept)}
            if not removed <= removable:
                raise ArtifactError(f"{', '.join(sorted(removed - removable))} cannot be removed")
            _replace_stack(model.module, path, [stack[index] for index in kept])
            config: Any = getattr(model.module, "config", None)
            if hasattr(config, "num_hidden_layers"):
                config.num_hidden_layers = len(kept)

    def _choose_layers(self, model: Model, work: Work) -> list[str]:
        """Return the names of the layers to remove, as the rule chooses on a copy of the model."""
        count = int(self.ratio * len(_names(model)) + _ROUNDING_TOLERANCE)
        copied = replace(model, module=copy.deepcopy(model.module))
        names = list(islice(removals(copied, work, self.rule), count))
        if len(names) < count:
            raise UsageError(
                f"ratio {self.ratio} would remove {count} layers, and {len(names)} can be removed: "
                "one layer of each stack and all blocks without an identity shortcut must stay. "
                "Take a lower ratio"
            )
        return names


def removals(model: Model, work: Work, rule: str) -> Iterator[str]:
    """Remove one layer after another from a model, and yield the original name of each.

    Args:
        model: the model, which loses a layer for each yielded name.
        work: the data, whose validation rows give the score of rule "score".
        rule: rule that chooses the next layer, as in `Depth`.

    Raises:
        UsageError: the family has no removable layers.
    """
    stacks, removable = _stacks(model), _removable(model)
    kept = {path: list(range(len(stack))) for path, stack in stacks.items()}
    output_change = _output_change(model, work) if rule == "score" else None

    def keep(path: str, indices: list[int]) -> None:
        _replace_stack(model.module, path, [stacks[path][index] for index in indices])

    @contextmanager
    def without(candidate: tuple[str, int]) -> Iterator[None]:
        path, removed = candidate
        keep(path, [index for index in kept[path] if index != removed])
        yield
        keep(path, kept[path])

    def least_important(
        candidates: list[tuple[str, int]], output_change: Callable[[], float]
    ) -> tuple[str, int]:
        scores = measure_each(candidates, without, lambda _: work.score(model), "layers")
        best = [candidate for candidate in candidates if scores[candidate] == max(scores.values())]
        if len(best) == 1:
            return best[0]
        changes = measure_each(best, without, lambda _: output_change(), "layers of equal score")
        return min(best, key=changes.__getitem__)

    while candidates := [
        (path, index)
        for path, indices in kept.items()
        for index in indices
        if len(indices) > 1 and f"{path}.{index}" in removable
    ]:
        if output_change is not None:
            path, index = least_important(candidates, output_change)
        else:
            last = len(candidates) - 1
            path, index = candidates[last if rule == "last" else int(torch.randint(last + 1, ()))]
        kept[path].remove(index)
        keep(path, kept[path])
        yield f"{path}.{index}"


def _output_change(model: Model, work: Work) -> Callable[[], float]:
    """Return a function for the mean squared change of a model's outputs since this call."""
    split = work.data.validation.spaced(_COMPARED_ROWS)
    rows = Rows(split.rows, split.labels, model.encoder)
    outputs = outputs_of(model.module, rows)
    return lambda: float(np.square(outputs_of(model.module, rows) - outputs).mean())


def _checked_names(model: Model, names: tuple[str, ...]) -> list[str]:
    """Return the names of layers to remove without duplicates.

    Raises:
        UnknownError: a name is not the name of a layer.
        UsageError: a layer must stay.
    """
    removable = _removable(model)
    for name in names:
        if name not in _names(model):
            raise unknown("layer", name, _names(model))
        if name not in removable:
            raise UsageError(
                f"{name} has no identity shortcut: the next layer needs the shape of its outputs. "
                f"Layers that can be removed: {', '.join(sorted(removable))}"
            )
    return list(dict.fromkeys(names))


def _refuse_lost_zeros(model: Model, record: Record) -> None:
    """Check that layers whose zeros an earlier step keeps are not renumbered to layers without.

    Raises:
        UsageError: the zeros of a layer would be lost.
    """
    for step in model.steps:
        pruned = step.record.get("parameters", ())
        for path, kept in record.items():
            for new_index, old_index in enumerate(kept):
                prefix = f"{path}.{old_index}."
                names = [name.removeprefix(prefix) for name in pruned if name.startswith(prefix)]
                if any(f"{path}.{new_index}.{name}" not in pruned for name in names):
                    raise UsageError(
                        f"{path}.{old_index} would become {path}.{new_index}, where {step.method} "
                        "keeps no zeros: remove layers first, then set weights to zero"
                    )


def _stacks(model: Model) -> dict[str, list[nn.Module]]:
    """Return the layers of each container by path; a shared layer occurs once for each use."""
    paths = dict.fromkeys(name.rpartition(".")[0] for name in _parts(model).layers)
    stacks: dict[str, list[nn.Module]] = {}
    for path in paths:
        container: Any = model.module.get_submodule(path)
        if type(container) in (nn.ModuleList, nn.Sequential):
            stacks[path] = [container[index] for index in range(len(container))]
    return stacks


def _names(model: Model) -> list[str]:
    """Return the name of every layer; a shared one has a name for each use."""
    layers = {id(model.module.get_submodule(name)) for name in _parts(model).layers}
    return [
        f"{path}.{index}"
        for path, stack in _stacks(model).items()
        for index, layer in enumerate(stack)
        if id(layer) in layers
    ]


def _removable(model: Model) -> set[str]:
    """Return the names of the layers with a residual connection, which may be removed.

    Raises:
        UsageError: the model has no such layer.
    """
    heads = _parts(model).heads
    has_attention = bool(_parts(model).attention)  # its layers add to a residual stream
    removable = {
        name
        for name in _names(model)
        if has_attention
        or _has_shortcut(model.module.get_submodule(name))
        or any(head.startswith(f"{name.rpartition('.')[0]}.") for head in heads)
    }
    if not removable:
        raise UsageError(
            "depth removes layers with a residual connection (transformers, residual networks); "
            f"bmc knows none in a {model.family} model: prune the model with --method structured"
        )
    return removable


def _has_shortcut(block: nn.Module) -> bool:
    """Return whether a block of a convolutional network adds its unchanged input to its output."""
    downsample = getattr(block, "downsample", None)
    return isinstance(downsample, nn.Identity) or getattr(block, "shortcut", False) is True


def _parts(model: Model) -> Parts:
    parts: Parts = families.network(model.family).parts(model.module)
    return parts


def _replace_stack(module: nn.Module, path: str, layers: list[nn.Module]) -> None:
    """Replace a container of layers by a container of the same class with other layers."""
    sequential = isinstance(module.get_submodule(path), nn.Sequential)
    container = nn.Sequential(*layers) if sequential else nn.ModuleList(layers)
    module.set_submodule(path, container.train(module.training))


def _is_selection(kept: Any, count: int) -> bool:
    """Return whether a value from a record is a rising list of indices below `count`."""
    if not isinstance(kept, list) or not kept or any(type(index) is not int for index in kept):
        return False
    return sorted(set(kept)) == kept and kept[0] >= 0 and kept[-1] < count


STEP = Depth

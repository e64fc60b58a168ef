"""Layer sharing: consecutive layers become one that is used several times."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from bmc import console
from bmc.contracts import families
from bmc.errors import ArtifactError, SettingError, UsageError
from bmc.inference.codebook import refuse_clustered
from bmc.model import Model, Parts, Record, Work

_WHATS = ("all", "attention", "feed-forward")
_STARTS = ("mean", "best", "first")

Group = list[str]


@dataclass(frozen=True)
class Layers:
    """Let each group of consecutive layers use the parameters of one; fine-tune afterwards.

    Only layers of equal sizes can share: those of a transformer, deeper layers of a recurrent
    network, the blocks of one stage of a residual network. Batch norms are not shared, since their
    running averages belong to one layer. The model gets smaller, not faster: each layer is still
    computed.

    Args:
        what: "all" parameters of a layer, or only its "attention" or "feed-forward" part, each
            with its norm.
        group: layers of a group; 0 puts all equal layers in a row into one.
        start: what a group starts from: the "mean" of its layers, the "first", or the "best": the
            one that, used for the whole group, keeps the validation score highest.

    Raises:
        SettingError: a setting is out of range, the groups do not divide the layers, or the layers
            have no such part.

    Source: Lan et al. 2020, "ALBERT", section 3.1.
    """

    what: str = "all"
    group: int = 0
    start: str = "mean"

    def __post_init__(self) -> None:
        if self.what not in _WHATS:
            raise SettingError(f"what is {self.what!r}; possible: {', '.join(_WHATS)}")
        if self.group < 0 or self.group == 1:
            raise SettingError(f"group is {self.group}; it must be 0 (all in one), or 2 or more")
        if self.start not in _STARTS:
            raise SettingError(f"start is {self.start!r}; possible: {', '.join(_STARTS)}")

    def apply(self, model: Model, work: Work) -> Record:
        """Share the layers and return which ones form a group.

        Raises:
            UsageError: no two layers in a row are equal, the model is clustered, or there is no
                validation score to find the best layer.
        """
        refuse_clustered(model.module, "layers")
        if self.start == "best" and model.task == "generation":
            raise UsageError("a generator has no validation score; take start=mean or start=first")
        groups = [
            group
            for group in _groups(model, self.what, self.group)
            if len({id(part) for part in _same_parts(model, group, self.what)[0]}) > 1
        ]
        for group in groups:
            parts = _same_parts(model, group, self.what)
            leader = _best(model, work, group, self.what) if self.start == "best" else 0
            for same in parts:
                _start(same, same if self.start == "mean" else [same[leader]])
        record: Record = {"what": self.what, "groups": groups} if groups else {}
        Layers.rebuild(model, record)
        for first, *_, last in groups:
            console.note(f"layers: {first} to {last} share one set of parameters ({self.what})")
        return record

    @staticmethod
    def rebuild(model: Model, record: Record) -> None:
        """Let the layers of each recorded group use the parameters of its first one."""
        for group in _checked(model, record):
            for names in _names(model, group, record["what"]):
                first = model.module.get_submodule(names[0])
                for name in names[1:]:
                    model.module.set_submodule(name, first)


def _groups(model: Model, what: str, size: int) -> list[Group]:
    """Return groups of equal layers in a row; a size of 0 takes all of them."""
    layers = _parts(model).layers
    runs = [list(run) for _, run in groupby(layers, lambda name: _structure(model, name, what))]
    runs = [run for run in runs if len(run) > 1]
    if not runs:
        raise UsageError(
            f"no two layers in a row of this {model.family} model are equal, and only equal ones "
            f"can share: {_difference(model, what)}"
        )
    for run in runs:
        if size and len(run) % size:
            divisors = [str(each) for each in range(2, len(run) + 1) if len(run) % each == 0]
            raise SettingError(
                f"groups of {size} do not divide the {len(run)} equal layers {run[0]} to "
                f"{run[-1]}; possible: {', '.join(divisors)}"
            )
    return [
        run[start : start + (size or len(run))]
        for run in runs
        for start in range(0, len(run), size or len(run))
    ]


def _structure(model: Model, name: str, what: str) -> tuple[Any, ...]:
    """Return what must be equal for two layers to share: their container and all sizes."""
    parts = _parts(model)
    inside = _inside(model, name, what)
    shared = {one.removeprefix(name): model.module.get_submodule(one) for one in inside}
    sizes = [_shapes(part) for part in shared.values()]
    heads = [count for path, count in parts.heads.items() if path.startswith(f"{name}.")]
    return name.rpartition(".")[0], str(shared), str(sizes), heads


def _difference(model: Model, what: str) -> str:
    """Say how the first two neighboring layers differ."""
    for first, second in pairwise(_parts(model).layers):
        shapes = [_shapes(model.module.get_submodule(name)) for name in (first, second)]
        for key in sorted(shapes[0].keys() & shapes[1].keys()):
            if shapes[0][key] != shapes[1][key]:
                return f"{key} of {first} is {shapes[0][key]}, of {second} {shapes[1][key]}"
        if shapes[0] != shapes[1]:
            return f"{first} and {second} have different parameters"
    return f"it has {len(_parts(model).layers)} layers"


def _shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in module.state_dict().items()}


def _inside(model: Model, layer: str, what: str) -> list[str]:
    """Return the paths of the modules that a layer shares.

    Raises:
        SettingError: the layers have no such part.
    """
    parts = _parts(model)
    if what == "all":
        return list(_without_batch_norm(layer, model.module.get_submodule(layer)))
    names = parts.attention if what == "attention" else parts.feed_forward
    if not names:
        raise SettingError(f"the layers of a {model.family} model have no {what}; take what=all")
    return [f"{layer}.{name}" for name in names]


def _without_batch_norm(path: str, module: nn.Module) -> Iterator[str]:
    """Yield the paths of the largest modules that have parameters and no batch norm."""
    if not any(isinstance(part, _BatchNorm) for part in module.modules()):
        if any(True for _ in module.parameters()):
            yield path
        return
    for name, child in module.named_children():
        if not isinstance(child, _BatchNorm):
            yield from _without_batch_norm(f"{path}.{name}", child)


def _names(model: Model, group: Group, what: str) -> list[tuple[str, ...]]:
    """Return the paths of the modules that become one, for each shared module of a group."""
    return list(zip(*(_inside(model, layer, what) for layer in group), strict=True))


def _same_parts(model: Model, group: Group, what: str) -> list[list[nn.Module]]:
    """Return the modules that become one, for each shared module of a group."""
    return [
        [model.module.get_submodule(name) for name in names] for names in _names(model, group, what)
    ]


@torch.no_grad()
def _start(same: list[nn.Module], sources: list[nn.Module]) -> None:
    """Set the first of several equal modules to the mean of the sources."""
    known = [source.state_dict() for source in sources]
    for name, value in same[0].state_dict().items():
        tensors = torch.stack([state[name] for state in known])
        value.copy_(tensors.mean(dim=0) if tensors.is_floating_point() else tensors[0])


def _best(model: Model, work: Work, group: Group, what: str) -> int:
    """Return the index of the layer that scores highest when the whole group uses it."""
    names = _names(model, group, what)
    parts = _same_parts(model, group, what)

    def score(place: int) -> float:
        for same, paths in zip(parts, names, strict=True):
            for path in paths:
                model.module.set_submodule(path, same[place])
        return work.score(model)

    scores = [score(place) for place in range(len(group))]
    for same, paths in zip(parts, names, strict=True):
        for path, module in zip(paths, same, strict=True):
            model.module.set_submodule(path, module)
    return scores.index(max(scores))


def _checked(model: Model, record: Record) -> list[Group]:
    """Return a record's groups, which may come from a file.

    Raises:
        ArtifactError: the groups are malformed, or name layers that are not equal.
    """
    if not record:
        return []
    what, groups = record.get("what"), record.get("groups")
    if what not in _WHATS or not isinstance(groups, list):
        raise ArtifactError(f"the record of shared layers is malformed ({record!s:.80})")
    known = set(_parts(model).layers)
    for group in groups:
        named = isinstance(group, list) and all(isinstance(one, str) for one in group)
        if not named or len(set(group)) < max(len(group), 2) or not known.issuperset(group):
            raise ArtifactError(f"shared layers {group!r:.80} are no layers of the model")
        if len({str(_structure(model, name, what)) for name in group}) > 1:
            raise ArtifactError(f"shared layers {group!r:.80} are not equal")
    return groups


def _parts(model: Model) -> Parts:
    parts: Parts = families.network(model.family).parts(model.module)
    return parts


STEP = Layers

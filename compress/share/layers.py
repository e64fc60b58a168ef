"""Layer sharing: consecutive layers use one set of parameters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from bmc import console
from bmc.choices import Among, about
from bmc.contracts import families
from bmc.errors import ArtifactError, SettingError, UsageError
from bmc.inference.codebook import refuse_clustered
from bmc.model import Model, Parts, Record, Work

_CHOICES = ("all", "attention", "feed-forward")
_STARTS = ("mean", "best", "first")

Group = list[str]


@dataclass(frozen=True)
class Layers:
    """Share one set of parameters among each group of consecutive layers; fine-tune afterwards.

    Only layers of equal sizes can share: layers of a transformer, deeper layers of a recurrent
    network, blocks of one stage of a residual network. Batch norms are not shared, since their
    running averages belong to one layer. The model gets smaller, not faster: every layer is still
    computed.

    Args:
        what: parameters to share: "all" of a layer, or only its "attention" or "feed-forward" part,
            each with its norm.
        group: number of layers in a group; 0 puts all consecutive equal layers into one group.
        start: initial parameters of a group: the "mean" of its layers, its "first" layer, or its
            "best" layer: the layer that gives the best validation score when the group uses it.

    Raises:
        SettingError: a setting is out of range, the number of equal layers is not divisible by
            `group`, or the layers have no such part.

    Source: Lan et al. 2020, "ALBERT", section 3.1.
    """

    what: str = field(
        default="all", metadata=about(search=Among(("all", "attention", "feed-forward")))
    )
    group: int = field(default=0, metadata=about(search=Among((0, 2, 3))))
    start: str = "mean"

    def __post_init__(self) -> None:
        if self.what not in _CHOICES:
            raise SettingError(f"what is {self.what!r}; possible: {', '.join(_CHOICES)}")
        if self.group < 0 or self.group == 1:
            raise SettingError(
                f"group is {self.group}; it must be at least 2, or 0 for all equal layers"
            )
        if self.start not in _STARTS:
            raise SettingError(f"start is {self.start!r}; possible: {', '.join(_STARTS)}")

    def apply(self, model: Model, work: Work) -> Record:
        """Share the layers, and return the groups of layers.

        Raises:
            UsageError: no two consecutive layers are equal, the model is clustered, or the model
                has no validation score to find the best layer with.
        """
        refuse_clustered(model.module, "layers")
        if self.start == "best" and not model.has_labels:
            raise UsageError("a generator has no validation score; take start=mean or start=first")
        groups = [
            group
            for group in _groups(model, self.what, self.group)
            if len({id(module) for module in _modules_to_share(model, group, self.what)[0]}) > 1
        ]
        for group in groups:
            shared_modules = _modules_to_share(model, group, self.what)
            source = _best_layer(model, work, group, self.what) if self.start == "best" else 0
            for modules in shared_modules:
                _initialize(modules, modules if self.start == "mean" else [modules[source]])
        record: Record = {"what": self.what, "groups": groups} if groups else {}
        Layers.rebuild(model, record)
        for first, *_, last in groups:
            console.note(f"layers: {first} to {last} share one set of parameters ({self.what})")
        return record

    @staticmethod
    def rebuild(model: Model, record: Record) -> None:
        """Let the layers of each recorded group use the parameters of its first layer."""
        for group in _checked_groups(model, record):
            for names in _paths_to_share(model, group, record["what"]):
                first = model.module.get_submodule(names[0])
                for name in names[1:]:
                    model.module.set_submodule(name, first)


def _groups(model: Model, what: str, size: int) -> list[Group]:
    """Return groups of consecutive equal layers.

    Args:
        model: the model.
        what: parameters to share.
        size: number of layers in a group; 0 puts all consecutive equal layers into one group.

    Raises:
        UsageError: no two consecutive layers are equal.
        SettingError: the number of equal layers is not divisible by `size`.
    """
    layers = _parts(model).layers
    runs = [list(run) for _, run in groupby(layers, lambda name: _structure(model, name, what))]
    runs = [run for run in runs if len(run) > 1]
    if not runs:
        raise UsageError(
            f"no two consecutive layers of this {model.family} model are equal, and only equal "
            f"layers can share parameters: {_difference(model)}"
        )
    for run in runs:
        if size and len(run) % size:
            divisors = [str(size) for size in range(2, len(run) + 1) if len(run) % size == 0]
            raise SettingError(
                f"the {len(run)} equal layers {run[0]} to {run[-1]} cannot be divided into groups "
                f"of {size}; possible: {', '.join(divisors)}"
            )
    return [
        run[start : start + (size or len(run))]
        for run in runs
        for start in range(0, len(run), size or len(run))
    ]


def _structure(model: Model, name: str, what: str) -> tuple[Any, ...]:
    """Return the properties in which layers that share must be equal: container and all sizes."""
    parts = _parts(model)
    paths = _shared_paths(model, name, what)
    shared = {path.removeprefix(name): model.module.get_submodule(path) for path in paths}
    sizes = [_shapes(module) for module in shared.values()]
    heads = [count for path, count in parts.heads.items() if path.startswith(f"{name}.")]
    attention = getattr(model.module.get_submodule(name), "attention_type", "")  # local or global
    return name.rpartition(".")[0], str(shared), str(sizes), heads, attention


def _difference(model: Model) -> str:
    """Return a description of how the first two consecutive layers that are not equal differ."""
    for first, second in pairwise(_parts(model).layers):
        shapes = [_shapes(model.module.get_submodule(name)) for name in (first, second)]
        for key in sorted(shapes[0].keys() & shapes[1].keys()):
            if shapes[0][key] != shapes[1][key]:
                return f"{key} of {first} is {shapes[0][key]}, of {second} {shapes[1][key]}"
        if shapes[0] != shapes[1]:
            return f"{first} and {second} have different parameters"
    count = len(_parts(model).layers)
    return f"the model has {count} {'layer' if count == 1 else 'layers'}"


def _shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in module.state_dict().items()}


def _shared_paths(model: Model, layer: str, what: str) -> list[str]:
    """Return the paths of the modules inside a layer whose parameters are to be shared.

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
    """Yield the paths of the largest modules that have parameters and contain no batch norm."""
    if not any(isinstance(child, _BatchNorm) for child in module.modules()):
        if any(True for _ in module.parameters()):
            yield path
        return
    for name, child in module.named_children():
        if not isinstance(child, _BatchNorm):
            yield from _without_batch_norm(f"{path}.{name}", child)


def _paths_to_share(model: Model, group: Group, what: str) -> list[tuple[str, ...]]:
    """Return tuples of paths of modules that are to share parameters, one path for each layer."""
    return list(zip(*(_shared_paths(model, layer, what) for layer in group), strict=True))


def _modules_to_share(model: Model, group: Group, what: str) -> list[list[nn.Module]]:
    """Return lists of modules that are to share parameters, one module for each layer."""
    return [
        [model.module.get_submodule(path) for path in paths]
        for paths in _paths_to_share(model, group, what)
    ]


@torch.no_grad()
def _initialize(modules: list[nn.Module], sources: list[nn.Module]) -> None:
    """Set the parameters of the first module to the mean of the sources' parameters."""
    states = [source.state_dict() for source in sources]
    for name, value in modules[0].state_dict().items():
        tensors = torch.stack([state[name] for state in states])
        value.copy_(tensors.mean(dim=0) if tensors.is_floating_point() else tensors[0])


def _best_layer(model: Model, work: Work, group: Group, what: str) -> int:
    """Return the index in the group of the layer that scores best when the whole group uses it."""
    paths_to_share = _paths_to_share(model, group, what)
    modules_to_share = _modules_to_share(model, group, what)

    def score(index: int) -> float:
        for modules, paths in zip(modules_to_share, paths_to_share, strict=True):
            for path in paths:
                model.module.set_submodule(path, modules[index])
        return work.score(model)

    scores = [score(index) for index in range(len(group))]
    for modules, paths in zip(modules_to_share, paths_to_share, strict=True):
        for path, module in zip(paths, modules, strict=True):
            model.module.set_submodule(path, module)
    return scores.index(max(scores))


def _checked_groups(model: Model, record: Record) -> list[Group]:
    """Return the groups of a record, which may come from an untrusted file.

    Raises:
        ArtifactError: the groups are malformed, or contain layers that are not equal.
    """
    if not record:
        return []
    what, groups = record.get("what"), record.get("groups")
    if what not in _CHOICES or not isinstance(groups, list):
        raise ArtifactError(f"the record of shared layers is malformed ({record!s:.80})")
    layers = set(_parts(model).layers)
    for group in groups:
        has_names = isinstance(group, list) and all(isinstance(name, str) for name in group)
        if not has_names or len(set(group)) < max(len(group), 2) or not layers.issuperset(group):
            raise ArtifactError(
                f"shared layers {group!r:.80} are not different layers of the model"
            )
        if len({str(_structure(model, name, what)) for name in group}) > 1:
            raise ArtifactError(f"shared layers {group!r:.80} are not equal")
    return groups


def _parts(model: Model) -> Parts:
    parts: Parts = families.network(model.family).parts(model.module)
    return parts


STEP = Layers

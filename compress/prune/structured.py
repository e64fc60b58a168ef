"""Structured pruning: remove channels, hidden units and attention heads with their readers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bmc import console
from bmc.compress.prune._cutting import cut, follows
from bmc.compress.prune._importance import CRITERIA, importance_of
from bmc.contracts import families
from bmc.errors import SettingError, UsageError, unknown
from bmc.inference.codebook import refuse_clustered
from bmc.model import Model, Record, Work
from bmc.structure.shapes import changed, reshape, shapes_of

if TYPE_CHECKING:
    from bmc.compress.prune._graph import Group

SCOPES = ("layer", "global")
KINDS = ("channels", "hidden", "heads", "width")
KERNEL_MULTIPLE = 8
CHANNEL_BLOCK = 16  # of run times' convolutions, with AVX-512; benchmarks/widths.py


@dataclass(frozen=True)
class Structured:
    """Remove the least important channels, hidden units and heads, with everything that reads them.

    The size of a layer is rounded to the nearest `multiple`, and is at least one of them, or one
    head; smaller layers are not pruned. Layers whose outputs are added lose the same channels;
    layers that share weights lose the same units. The number of the model's outputs stays.

    Args:
        ratio: share of the units to remove, in (0, 1).
        criterion: the importance of a unit: l1 or l2 (norm of the weights that compute and read it,
            scaled to a mean of 1 in each layer), taylor (first-order change of the loss without it,
            on 256 training rows), or random, the control.
        scope: layer (each loses the same share) or global (the least important of all layers are
            removed, channels among channels and heads among heads).
        what: channels (of convolutions), hidden (units of linear and recurrent layers), heads, and
            width (the axis of layer norms and embeddings: a transformer's residual stream).
        multiple: what sizes are rounded to; heads are not. 0 takes what kernels need: 8, and 16 for
            channels above 16, since 24 of them take as long as 32.
        rounds: number of equal parts in which units are removed, with fine-tuning between them.
        epochs_between: epochs of that fine-tuning.
        layers: names (fnmatch patterns) of the layers whose units may be removed; all when empty.
        ratios: a ratio for each named layer, 0 to below 1, from a search; layers that lose the same
            units lose the mean.

    Raises:
        SettingError: a setting is out of range.

    Source: Li et al. 2017, "Pruning Filters for Efficient ConvNets" (norms); Molchanov et al. 2019,
    "Importance Estimation for Neural Network Pruning" (taylor); Michel et al. 2019, "Are Sixteen
    Heads Really Better than One?" (heads); Fang et al. 2023, "DepGraph" (dependents).
    """

    ratio: float = 0.5
    criterion: str = "l2"
    scope: str = "layer"
    what: tuple[str, ...] = ("channels", "hidden", "heads")
    multiple: int = 0
    rounds: int = 1
    epochs_between: int = 1
    layers: tuple[str, ...] = ()
    ratios: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 < self.ratio < 1:
            raise SettingError(f"ratio is {self.ratio}; it must lie in (0, 1)")
        for name, value, choices in (
            ("criterion", self.criterion, CRITERIA),
            ("scope", self.scope, SCOPES),
            *(("what", kind, KINDS) for kind in self.what),
        ):
            if value not in choices:
                raise SettingError(f"{name} is {value!r}; possible: {', '.join(choices)}")
        if not self.what:
            raise SettingError(f"what is empty; possible: {', '.join(KINDS)}")
        for name, least in (("multiple", 0), ("rounds", 1), ("epochs_between", 1)):
            if getattr(self, name) < least:
                raise SettingError(
                    f"{name.replace('_', ' ')} is {getattr(self, name)}; it must be at least "
                    f"{least}"
                )
        for layer, ratio in self.ratios.items():
            if not 0 <= ratio < 1:
                raise SettingError(f"the ratio of {layer} is {ratio}; it must lie in [0, 1)")

    def apply(self, model: Model, work: Work) -> Record:
        """Prune, in rounds; return the sizes of the layers that changed."""
        self._refuse(model)
        before = shapes_of(model.module)
        units_before: dict[str, int] = {}
        for number in range(1, self.rounds + 1):
            model.module.cpu()
            groups = self._chosen(model)
            for group in groups:
                units_before.setdefault(group.name, group.units)
            scores = importance_of(groups, self.criterion, model, work)
            _prune(model, groups, self._kept(groups, scores, units_before, number / self.rounds))
            if number < self.rounds:
                work.fit(model, epochs=self.epochs_between, name=f"round-{number}")
        return changed(before, shapes_of(model.module))

    @staticmethod
    def rebuild(model: Model, record: Record) -> None:
        """Give the named layers the recorded sizes."""
        refuse_clustered(model.module, "structured")
        reshape(model.module, record)

    def _refuse(self, model: Model) -> None:
        """Refuse an order of steps that makes no sense.

        Raises:
            UsageError: weights are codebooks or were quantized; or there is nothing to train with.
        """
        refuse_clustered(model.module, "structured")
        for step in model.steps:
            if step.method.startswith("quantize/"):
                raise UsageError(
                    f"{step.method} measured the scales of units that would go: prune the model "
                    "from before it, then quantize"
                )
        if model.task == "generation" and self.criterion == "taylor":
            raise UsageError(
                f"a {model.family} has no labels to measure a loss by; take criterion=l2"
            )

    def _chosen(self, model: Model) -> list[Group]:
        """Return the groups that may lose units; note those that cannot.

        Raises:
            UnknownError: a pattern or a name fits no layer.
            UsageError: only some of the layers that share weights are named, or their units are not
                in `what`.
        """
        groups = groups_of(model)
        for name in self.ratios:
            if name not in dict(model.module.named_modules(remove_duplicate=False)):
                raise unknown("layer", name, [path for group in groups for path in group.layers])
        for pattern in self.layers:
            matched = [g for g in groups if any(fnmatch(path, pattern) for path in g.layers)]
            if not matched:
                raise unknown("layer", pattern, [path for group in groups for path in group.layers])
            if all(group.kind not in self.what for group in matched):
                kind = matched[0].kind
                raise UsageError(
                    f"{pattern} makes {kind}, and what is {', '.join(self.what)}: add what={kind}"
                )
        groups = [group for group in groups if group.kind in self.what]
        groups = [group for group in groups if self._is_named(group)]
        for group in groups:
            if group.reason:
                console.note(f"{group.name} stays as it is: {group.reason}")
        return [group for group in groups if not group.reason]

    def _is_named(self, group: Group) -> bool:
        """Tell whether a group's layers are among those to prune; all users of a weight must be."""

        def named(path: str) -> bool:
            return any(fnmatch(path, pattern) for pattern in self.layers)

        if not self.layers:
            return True
        for member in (member for member in group.members if member.axis == "out"):
            left = [path for path in member.paths if not named(path)]
            if left and len(left) < len(member.paths):
                raise UsageError(
                    f"{', '.join(path for path in member.paths if path not in left)} shares its "
                    f"weights with {', '.join(left)}: they can only be pruned together; name all"
                )
        return any(named(path) for path in group.layers)

    def _kept(
        self,
        groups: Sequence[Group],
        scores: Mapping[str, Tensor],
        units_before: Mapping[str, int],
        done: float,
    ) -> dict[str, Tensor]:
        """Return a mask of the units that stay, bool (units), for each group that loses some.

        Args:
            groups: that may lose units.
            scores: importance of each unit, float (units), by group.
            units_before: number of units before the first round, by group.
            done: share of the ratio that this round reaches, in (0, 1].
        """
        targets = {
            group.name: units_before[group.name] * (1 - done * self.ratio) for group in groups
        }
        if self.scope == "global":
            for kind in self.what:
                rivals = [g for g in groups if g.kind == kind and not self._ratios_of(g)]
                targets |= _by_rank(rivals, scores, sum(targets[rival.name] for rival in rivals))
        for group in groups:
            ratios = self._ratios_of(group)
            if ratios:
                share = 1 - done * sum(ratios) / len(ratios)
                targets[group.name] = units_before[group.name] * share
        kept = {}
        for group in groups:
            multiple = self.multiple or _kernel_multiple(group.kind, targets[group.name])
            multiple = 1 if group.kind == "heads" else multiple
            count = _rounded(targets[group.name], group.units, multiple)
            if count < group.units:
                kept[group.name] = torch.zeros(group.units, dtype=torch.bool)
                best = scores[group.name].argsort(descending=True, stable=True)[:count]
                kept[group.name][best] = True
        return kept

    def _ratios_of(self, group: Group) -> list[float]:
        """Return the ratios that are set for a group's layers."""
        return [self.ratios[path] for path in group.layers if path in self.ratios]


def groups_of(model: Model) -> list[Group]:
    """Return all groups of units of a model.

    Raises:
        UsageError: the dependency graph cannot follow the model.
    """
    from bmc.compress.prune import _graph  # noqa: PLC0415  reading a record needs no torch-pruning

    family = families.network(model.family)
    example = family.examples(model.module)[0]
    return _graph.groups_of(model.module, example, family.parts(model.module))


def _prune(model: Model, groups: Sequence[Group], kept: Mapping[str, Tensor]) -> None:
    """Cut the units that are not kept, except where the graph does not know all readers."""
    family = families.network(model.family)
    example = family.examples(model.module)[0]
    if kept and follows(model.module, kept, groups, example):
        good = {}
        for name, mask in kept.items():
            wrong = follows(model.module, {name: mask}, groups, example)
            if wrong:
                console.note(f"{name} stays as it is: the graph cannot follow it ({wrong})")
            else:
                good[name] = mask
        kept = good
        wrong = follows(model.module, kept, groups, example)
        if wrong:
            raise UsageError(f"the dependency graph cannot follow this model ({wrong})")
    cut(model.module, kept, groups)


def _by_rank(
    groups: Sequence[Group], scores: Mapping[str, Tensor], target: float
) -> dict[str, float]:
    """Return the number of units of each group among a number of the best units of all groups."""
    if not groups:
        return {}
    all_scores = torch.cat([scores[group.name] for group in groups])
    owner = torch.repeat_interleave(torch.tensor([group.units for group in groups]))
    best = all_scores.argsort(descending=True, stable=True)[: round(target)]
    counts = owner[best].bincount(minlength=len(groups)).tolist()
    return {group.name: float(count) for group, count in zip(groups, counts, strict=True)}


def _kernel_multiple(kind: str, target: float) -> int:
    """Return the multiple that a size of about so many units should have for fast kernels."""
    return CHANNEL_BLOCK if kind == "channels" and target > CHANNEL_BLOCK else KERNEL_MULTIPLE


def _rounded(target: float, units: int, multiple: int) -> int:
    """Return the nearest multiple, at least one, or all units where that is as near."""
    count = max(1, math.floor(target / multiple + 0.5)) * multiple
    return units if units - target <= abs(target - count) else min(units, count)


STEP = Structured

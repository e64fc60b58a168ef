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
from bmc.choices import Between, about
from bmc.compress.prune._cutting import cut, cut_mismatch
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
# Channels that a runtime's convolution computes at once with AVX-512 (benchmarks/widths.py).
CHANNEL_BLOCK = 16


@dataclass(frozen=True)
class Structured:
    """Remove the least important channels, hidden units and heads, with the weights that read them.

    The size of a layer is rounded to the nearest multiple of `multiple`, and is at least `multiple`
    (at least one head, for attention); smaller layers are not pruned. Layers whose outputs are
    added lose the same channels; layers that share weights lose the same units. The number of the
    model's outputs stays.

    Args:
        ratio: share of the units to remove, in (0, 1).
        criterion: the importance of a unit: l1 or l2 (norm of the weights that compute and read the
            unit, scaled to a mean of 1 in each layer), taylor (first-order change of the loss
            without the unit, on 256 training rows), or random (a control).
        scope: layer (each layer loses the same share) or global (the least important units of all
            layers are removed, channels among channels and heads among heads).
        what: channels (of convolutions), hidden (units of linear and recurrent layers), heads, and
            width (the axis of layer norms and embeddings: a transformer's residual stream).
        multiple: number that sizes are rounded to a multiple of; the number of heads is not
            rounded. 0 takes the multiple that kernels need: 8, or 16 for more than 16 channels,
            since 24 channels take as long as 32.
        rounds: number of equal parts in which units are removed, with fine-tuning between them.
        epochs_between: epochs of the fine-tuning between two rounds.
        layers: names (fnmatch patterns) of the layers whose units may be removed; all when empty.
        ratios: a ratio for each named layer, in [0, 1), as a search returns; layers that lose the
            same units lose the mean of their ratios.

    Raises:
        SettingError: a setting is out of range.

    Source: Li et al. 2017, "Pruning Filters for Efficient ConvNets" (norms); Molchanov et al. 2019,
    "Importance Estimation for Neural Network Pruning" (taylor); Michel et al. 2019, "Are Sixteen
    Heads Really Better than One?" (heads); Fang et al. 2023, "DepGraph" (dependents).
    """

    ratio: float = field(default=0.5, metadata=about(search=Between(0.1, 0.9)))
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
        self._check_model(model)
        before = shapes_of(model.module)
        units_before: dict[str, int] = {}
        for number in range(1, self.rounds + 1):
            model.module.cpu()
            groups = self._choose_groups(model)
            for group in groups:
                units_before.setdefault(group.name, group.units)
            scores = importance_of(groups, self.criterion, model, work)
            _prune(
                model,
                groups,
                self._units_to_keep(groups, scores, units_before, number / self.rounds),
            )
            if number < self.rounds:
                work.fit(model, epochs=self.epochs_between, name=f"round-{number}")
        return changed(before, shapes_of(model.module))

    @staticmethod
    def rebuild(model: Model, record: Record) -> None:
        """Give the named layers the recorded sizes."""
        refuse_clustered(model.module, "structured")
        reshape(model.module, record)

    def _check_model(self, model: Model) -> None:
        """Check that the model's units can be ranked and removed.

        Raises:
            UsageError: weights are codebooks or were quantized, or the criterion needs labels and
                the model has none.
        """
        refuse_clustered(model.module, "structured")
        for step in model.steps:
            if step.method.startswith("quantize/"):
                raise UsageError(
                    f"{step.method} has measured scales of units that pruning would remove: "
                    "prune the model from before that step, then quantize"
                )
        if not model.has_labels and self.criterion == "taylor":
            raise UsageError(
                f"criterion taylor needs labels to compute a loss, and a {model.family} model has "
                "none; take criterion=l2"
            )

    def _choose_groups(self, model: Model) -> list[Group]:
        """Return the groups that may lose units; print a note for each group that cannot.

        Raises:
            UnknownError: a pattern of `layers` or a name in `ratios` matches no layer.
            UsageError: `layers` names only some of the layers that share weights, or layers whose
                units are not in `what`.
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
                    f"the units of {pattern} are {kind}, and what is {', '.join(self.what)}: "
                    f"add what={kind}"
                )
        groups = [group for group in groups if group.kind in self.what]
        groups = [group for group in groups if self._is_named(group)]
        for group in groups:
            if group.reason:
                console.note(f"{group.name} is not pruned: {group.reason}")
        return [group for group in groups if not group.reason]

    def _is_named(self, group: Group) -> bool:
        """Return whether a group's layers are to be pruned.

        Raises:
            UsageError: `layers` names only some of the layers that share a weight.
        """

        def named(path: str) -> bool:
            return any(fnmatch(path, pattern) for pattern in self.layers)

        if not self.layers:
            return True
        for member in (member for member in group.members if member.axis == "out"):
            unnamed = [path for path in member.paths if not named(path)]
            if unnamed and len(unnamed) < len(member.paths):
                raise UsageError(
                    f"{', '.join(path for path in member.paths if path not in unnamed)} shares "
                    f"weights with {', '.join(unnamed)}: these layers can only be pruned together; "
                    "name all of them in layers"
                )
        return any(named(path) for path in group.layers)

    def _units_to_keep(
        self,
        groups: Sequence[Group],
        scores: Mapping[str, Tensor],
        units_before: Mapping[str, int],
        done: float,
    ) -> dict[str, Tensor]:
        """Return a mask of the units that stay, bool (units), by name of each group that loses any.

        Args:
            groups: groups that may lose units.
            scores: importance of each unit, float (units), by group name.
            units_before: number of units before the first round, by group name.
            done: share of the ratio that this round reaches, in (0, 1].
        """
        targets = {
            group.name: units_before[group.name] * (1 - done * self.ratio) for group in groups
        }
        if self.scope == "global":
            for kind in self.what:
                ranked = [g for g in groups if g.kind == kind and not self._ratios_of(g)]
                total = sum(targets[group.name] for group in ranked)
                targets |= _split_by_rank(ranked, scores, total)
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
    """Remove the units that are not kept, where the graph describes all layers that read them.

    A group is left whole if removing its units changes the outputs differently from setting the
    weights that read them to zero.
    """
    family = families.network(model.family)
    example = family.examples(model.module)[0]
    if kept and cut_mismatch(model.module, kept, groups, example):
        matching = {}
        for name, mask in kept.items():
            mismatch = cut_mismatch(model.module, {name: mask}, groups, example)
            if mismatch:
                console.note(f"{name} is not pruned: the graph cannot follow it ({mismatch})")
            else:
                matching[name] = mask
        kept = matching
        mismatch = cut_mismatch(model.module, kept, groups, example)
        if mismatch:
            raise UsageError(
                f"the dependency graph cannot follow this model ({mismatch}); "
                "try --method unstructured"
            )
    cut(model.module, kept, groups)


def _split_by_rank(
    groups: Sequence[Group], scores: Mapping[str, Tensor], total: float
) -> dict[str, float]:
    """Rank the units of all groups together, and return how many of the best are in each group.

    Args:
        groups: groups of one kind.
        scores: importance of each unit, float (units), by group name.
        total: number of best units to count.
    """
    if not groups:
        return {}
    all_scores = torch.cat([scores[group.name] for group in groups])
    group_indices = torch.repeat_interleave(torch.tensor([group.units for group in groups]))
    best = all_scores.argsort(descending=True, stable=True)[: round(total)]
    counts = group_indices[best].bincount(minlength=len(groups)).tolist()
    return {group.name: float(count) for group, count in zip(groups, counts, strict=True)}


def _kernel_multiple(kind: str, target: float) -> int:
    """Return the number that fast kernels need the size of a layer to be a multiple of.

    Args:
        kind: kind of the units.
        target: number of units to keep, before rounding.
    """
    return CHANNEL_BLOCK if kind == "channels" and target > CHANNEL_BLOCK else KERNEL_MULTIPLE


def _rounded(target: float, units: int, multiple: int) -> int:
    """Return a target rounded to the nearest multiple, or all units where that is as near.

    At least one multiple of the units stays.
    """
    count = max(1, math.floor(target / multiple + 0.5)) * multiple
    return units if units - target <= abs(target - count) else min(units, count)


STEP = Structured

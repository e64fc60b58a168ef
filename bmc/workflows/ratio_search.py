"""How strongly to prune: settings that reach a budget, or that lose no more than they may."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from statistics import median
from typing import Any

import torch
from torch import nn

from bmc import console
from bmc.compress.prune.depth import removals
from bmc.compress.prune.structured import KERNEL_MULTIPLE, groups_of
from bmc.errors import UsageError
from bmc.inspect.collect import TOKENS, costs_at
from bmc.inspect.sensitivity import Sensitivity
from bmc.model import Model, Step, Work, output_of
from bmc.training.batches import Rows
from bmc.workflows.budgets import Budget

WON_BACK = 3.0
"""How many times the allowed loss may be lost before fine-tuning, which wins most of it back."""
SEARCHED = ("structured", "depth", "unstructured")
"""Methods whose strength --max-drop alone finds; movement would have to be trained each time."""
_TRIALS = 9
_STRONGEST = 0.95
_LEAST_WEIGHT, _MOST_WEIGHT = 0.5, 2.0
_MOVED = 0.1  # of what the outputs move by counts beside the score lost, which is coarse
_MEASURED = 512
_BATCH = 64


@dataclass(frozen=True)
class Search:
    """What a search tries, and on what.

    Args:
        method: "structured", "depth" or "unstructured".
        technique: its class.
        settings: of it, as typed.
        model: it is not changed.
        work: its validation rows score what is tried.
        measured: returns how much each layer matters, by which the layers are cut more or less;
            None where that cannot be known.
    """

    method: str
    technique: Any
    settings: Mapping[str, Any]
    model: Model
    work: Work
    measured: Callable[[], Sensitivity | None]

    def for_budgets(self, budgets: tuple[Budget, ...]) -> dict[str, Any]:
        """Return the gentlest settings that meet all budgets; the strongest where none does.

        Raises:
            UsageError: the model is within the budgets as it is.
        """
        before = costs_at(self.model, TOKENS, runs=1)

        def are_met(trial: Model) -> bool:
            costs = costs_at(replace(trial, module=trial.module.cpu().eval()), TOKENS, runs=1)
            return not any(budget.missed(before, costs) for budget in budgets)

        if are_met(self.model):
            raise UsageError(
                f"the model has {budgets[0].of(before):,} {budgets[0].unit} and so is within "
                f"--target-{budgets[0].what} {budgets[0].typed} as it is"
            )
        # Shapes are all that counts; only ranks across layers let the criterion decide on them.
        quick = {"rounds": 1} if self._is_global() else {"rounds": 1, "criterion": "l1"}
        mild, strong = self._edge(are_met, quick, budgets[0])
        if strong and "ratios" in strong:
            return self._given_back(strong, are_met, quick)
        return strong or mild or dict(self.settings)

    def for_drop(self, points: float, tuned: bool) -> dict[str, Any]:
        """Return the strongest settings that lose few enough points of the validation score.

        The score is measured right after pruning, and may fall by WON_BACK times as much as is
        allowed in the end, since fine-tuning wins most of it back; batch norms are measured anew
        before, as training would. What the fine-tuned model lost is for the caller to check.

        Args:
            points: that may be lost in the end, 0 to 100.
            tuned: whether the model is fine-tuned afterwards; else it must hold without.

        Raises:
            UsageError: nothing that was tried loses as little.

        Source: Li et al. 2020, "EagleEye: Fast Sub-net Evaluation for Efficient Neural Network
        Pruning", for scores with batch norms that were measured anew.
        """
        before = self.work.score(replace(self.model, module=copy.deepcopy(self.model.module)))
        allowed = points / 100 * (WON_BACK if tuned else 1.0)

        def loses_too_much(trial: Model) -> bool:
            if tuned:
                measure_norms(trial, self.work)
            return before - self.work.score(trial) > allowed + 1e-9

        mild, _ = self._edge(loses_too_much, {"rounds": 1, "epochs": 0}, Budget("macs", "0.5x"))
        if mild is None:
            raise UsageError(
                f"whatever {self.method} removes loses more than {100 * allowed:g} points right "
                f"after pruning (--max-drop {points:g}): allow more, or name a --ratio"
            )
        return mild

    def _edge(
        self, is_enough: Callable[[Model], bool], quick: Mapping[str, Any], budget: Budget
    ) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
        """Return the strongest settings found that are not enough, and the gentlest that are.

        Args:
            is_enough: judges a pruned copy.
            quick: settings of the trials alone.
            budget: layers that hold more of what it counts are cut more.
        """
        if self.method == "depth":
            return self._edge_of_depth(is_enough)
        losses = {field.name for field in fields(self.technique)}
        quick = {name: value for name, value in quick.items() if name in losses}
        low, high, strength = 0.0, 1.0, 1.0
        mild: dict[str, Any] | None = None
        strong: dict[str, Any] | None = None
        refused: UsageError | None = None
        at = self._strengths(budget)
        with console.progress("search", _TRIALS, "trials") as advance:
            for _ in range(_TRIALS):
                settings = at(strength)
                try:
                    trial = self._trial({**settings, **quick})
                except UsageError as error:  # so strong that a layer would be emptied
                    refused, high = error, strength
                else:
                    if trial is not None and is_enough(trial):
                        strong, high = settings, strength
                    else:
                        mild, low = settings if trial else mild, strength
                advance(1)
                if low == high:
                    break
                strength = (low + high) / 2
        if refused and not (mild or strong):
            raise refused
        return mild, strong

    def _given_back(
        self,
        settings: dict[str, Any],
        are_met: Callable[[Model], bool],
        quick: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Return units to the layers while the budgets still hold: rounding took more than asked.

        Layers that were cut least, which are those that matter most, come first.
        """
        groups = [group for group in groups_of(self.model) if not group.reason]
        multiple = self.technique(**settings).multiple or KERNEL_MULTIPLE
        for group in sorted(groups, key=lambda group_: settings["ratios"][group_.layers[0]]):
            step = (1 if group.kind == "heads" else multiple) / group.units
            while settings["ratios"][group.layers[0]] > 0:
                less = max(settings["ratios"][group.layers[0]] - step, 0.0)
                ratios = {**settings["ratios"], **dict.fromkeys(group.layers, round(less, 4))}
                trial = self._trial({**settings, "ratios": ratios, **quick})
                if trial is None or not are_met(trial):
                    break
                settings = {**settings, "ratios": ratios}
        return settings

    def _edge_of_depth(
        self, is_enough: Callable[[Model], bool]
    ) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
        """Remove layer after layer, once, until it is enough."""
        copied = replace(self.model, module=copy.deepcopy(self.model.module))
        rule = self.settings.get("rule", self.technique().rule)
        mild: dict[str, Any] | None = None
        missing: list[str] = []
        for name in removals(copied, self.work, rule):
            missing.append(name)
            settings = {**self.settings, "layers": tuple(missing)}
            if is_enough(copied):
                return mild, settings
            mild = settings
        return mild, None

    def _trial(self, settings: Mapping[str, Any]) -> Model | None:
        """Return a copy of the model, pruned; None where the settings change nothing."""
        step: Step = self.technique(**settings)
        copied = replace(self.model, module=copy.deepcopy(self.model.module))
        with console.muted():
            record = step.apply(copied, self.work)
        return copied if record else None

    def _strengths(self, budget: Budget) -> Callable[[float], dict[str, Any]]:
        """Return what makes settings of a strength in (0, 1]."""
        if self.method != "structured" or self._is_global():
            return lambda strength: {**self.settings, "ratio": min(strength, _STRONGEST)}
        groups = [group.layers for group in groups_of(self.model)]
        weights = _weights(groups, self._won(groups, budget), self.measured())

        def at(strength: float) -> dict[str, Any]:
            shares = {
                name: min(1 - (1 - strength) ** weight, _STRONGEST)
                for name, weight in weights.items()
            }
            ratios = {name: round(share, 4) for name, share in shares.items()}
            return {**self.settings, "ratio": median(shares.values()), "ratios": ratios}

        return at

    def _won(self, groups: Sequence[Sequence[str]], budget: Budget) -> list[float]:
        """Return the share of what is counted that goes when one group alone loses half."""
        before = budget.of(costs_at(self.model, TOKENS, runs=1))
        every = {name: 0.0 for layers in groups for name in layers}
        won = []
        for layers in groups:
            ratios = {**every, **dict.fromkeys(layers, 0.5)}
            quick = {"rounds": 1, "criterion": "l1", "multiple": 1}
            halved = self._trial({**self.settings, **quick, "ratios": ratios})
            after = costs_at(halved, TOKENS, runs=1) if halved else None
            won.append(1 - budget.of(after) / before if after else 0.0)
        return won

    def _is_global(self) -> bool:
        return bool(self.settings.get("scope") == "global")


def _weights(
    groups: Sequence[Sequence[str]], won: Sequence[float], measured: Sensitivity | None
) -> dict[str, float]:
    """Return how strongly each layer is to be cut, 1 in the middle: more where much is won for it.

    A layer keeps (1 - strength) to the power of its weight. What it loses is the score that pruning
    half of its weights costs, and a tenth of what that moves the outputs by (in their deviations),
    which tells layers apart that lose nothing.

    Args:
        groups: layers that lose the same units; they get the same weight.
        won: share of what is to be saved that goes with half of each group's units.
        measured: None takes all to lose alike.
    """
    halved = measured.of("prune-half") if measured else {}
    lost = {name: max(loss.lost.value, 0.0) + _MOVED * loss.moved for name, loss in halved.items()}
    known = [[lost[name] for name in layers if name in lost] for layers in groups]
    losses = [max(sum(each), 1e-9) if each else None for each in known]
    middle = median([each for each in losses if each is not None] or [1.0])
    worth = [share / (each or middle) for share, each in zip(won, losses, strict=True)]
    usual = median([each for each in worth if each > 0] or [1.0])
    weights = [(each / usual) ** 0.5 for each in worth]
    return {
        name: min(max(weight, _LEAST_WEIGHT), _MOST_WEIGHT)
        for layers, weight in zip(groups, weights, strict=True)
        for name in layers
    }


@torch.no_grad()
def measure_norms(model: Model, work: Work) -> None:
    """Measure the means and variances of batch norms anew, on training rows."""
    norms = [
        layer
        for layer in model.module.eval().modules()
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) and layer.track_running_stats
    ]
    if not norms:
        return
    part = work.data.train
    rows = Rows(part.rows[:_MEASURED], part.labels[:_MEASURED], model.encoder)
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
        norm.train()
    for places in rows.shuffled(_BATCH, seed=0, epoch=0):
        output_of(model.module, rows.batch(places).inputs)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()

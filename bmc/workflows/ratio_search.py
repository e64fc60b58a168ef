"""Search for pruning settings that meet a budget, or that lose no more than an allowed score."""

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
"""Factor of the allowed drop before fine-tuning; fine-tuning recovers most of the drop."""
SEARCHED = ("structured", "depth", "unstructured")
"""Methods whose ratio is searched with --max-drop alone; movement pruning would have to train for
every ratio that is tried."""
_TRIALS = 9
_MAX_RATIO = 0.95
_MIN_EXPONENT, _MAX_EXPONENT = 0.5, 2.0
_MOVED_WEIGHT = 0.1  # weight of the change of the outputs, added to the drop of the coarser score
_NORM_ROWS = 512  # training rows that batch norm statistics are recomputed on
_BATCH = 64


@dataclass(frozen=True)
class Search:
    """A search for the settings of a pruning method.

    Args:
        method: "structured", "depth" or "unstructured".
        technique: class of the method.
        settings: settings of the method that the user typed.
        model: the model to prune; the search prunes copies of it.
        work: the data; its validation rows score the pruned copies.
        measured: function that returns the sensitivity of each layer; less sensitive layers are
            pruned more. It returns None if the sensitivity cannot be measured.
    """

    method: str
    technique: Any
    settings: Mapping[str, Any]
    model: Model
    work: Work
    measured: Callable[[], Sensitivity | None]

    def for_budgets(self, budgets: tuple[Budget, ...]) -> dict[str, Any]:
        """Return the settings that prune least and meet all budgets.

        If no settings meet them, return the settings that prune most.

        Raises:
            UsageError: the model meets the budgets without pruning.
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
        # A budget depends on shapes alone. The criterion changes shapes only if units are ranked
        # across layers (scope=global); otherwise the cheapest criterion does.
        quick = {"rounds": 1} if self._is_global() else {"rounds": 1, "criterion": "l1"}
        missing, meeting = self._bisect(are_met, quick, budgets[0])
        if meeting and "ratios" in meeting:
            return self._restore_units(meeting, are_met, quick)
        return meeting or missing or dict(self.settings)

    def for_drop(self, points: float, tuned: bool) -> dict[str, Any]:
        """Return the settings that prune most without losing too many points of validation score.

        The score is measured right after pruning. If fine-tuning follows, the score may drop by
        WON_BACK times `points`, because fine-tuning recovers most of the drop; batch norm
        statistics are recomputed before the score. The caller checks the drop after fine-tuning.

        Args:
            points: allowed drop after fine-tuning, in points, 0 to 100.
            tuned: whether the model is fine-tuned afterwards; if not, the drop right after pruning
                may be at most `points`.

        Raises:
            UsageError: all settings that were tried lose more.

        Source: Li et al. 2020, "EagleEye: Fast Sub-net Evaluation for Efficient Neural Network
        Pruning" (recomputing batch norm statistics before the score).
        """
        before = self.work.score(replace(self.model, module=copy.deepcopy(self.model.module)))
        allowed = points / 100 * (WON_BACK if tuned else 1.0)

        def loses_too_much(trial: Model) -> bool:
            if tuned:
                measure_norms(trial, self.work)
            return before - self.work.score(trial) > allowed + 1e-9

        accepted, _ = self._bisect(
            loses_too_much, {"rounds": 1, "epochs": 0}, Budget("macs", "0.5x")
        )
        if accepted is None:
            raise UsageError(
                f"whatever {self.method} removes loses more than {100 * allowed:g} points right "
                f"after pruning (--max-drop {points:g}): allow more, or name a --ratio"
            )
        return accepted

    def _bisect(
        self, is_enough: Callable[[Model], bool], quick: Mapping[str, Any], budget: Budget
    ) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
        """Bisect the strength of pruning at the point where a pruned copy becomes "enough".

        Return the strongest settings that are not enough, and the weakest that are.

        Args:
            is_enough: tells whether a pruned copy is pruned enough (or too much).
            quick: settings for the trials alone, which make them faster.
            budget: unit that is counted (such as MACs); layers with more of it are pruned more.
        """
        if self.method == "depth":
            return self._remove_layers(is_enough)
        setting_names = {field.name for field in fields(self.technique)}
        quick = {name: value for name, value in quick.items() if name in setting_names}
        low, high, strength = 0.0, 1.0, 1.0
        weaker: dict[str, Any] | None = None
        stronger: dict[str, Any] | None = None
        refusal: UsageError | None = None
        settings_at = self._settings_by_strength(budget)
        with console.progress("search", _TRIALS, "trials") as advance:
            for _ in range(_TRIALS):
                settings = settings_at(strength)
                try:
                    trial = self._trial({**settings, **quick})
                except UsageError as error:  # a layer would lose all of its units
                    refusal, high = error, strength
                else:
                    if trial is not None and is_enough(trial):
                        stronger, high = settings, strength
                    else:
                        weaker, low = settings if trial else weaker, strength
                advance(1)
                if low == high:
                    break
                strength = (low + high) / 2
        if refusal and not (weaker or stronger):
            raise refusal
        return weaker, stronger

    def _restore_units(
        self,
        settings: dict[str, Any],
        are_met: Callable[[Model], bool],
        quick: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Lower the ratios of layers while the budgets are still met; return the settings.

        Units are removed in multiples, so more may be removed than the budgets need. The layers
        with the lowest ratios, which are the most sensitive ones, come first.
        """
        groups = [group for group in groups_of(self.model) if not group.reason]
        multiple = self.technique(**settings).multiple or KERNEL_MULTIPLE
        for group in sorted(groups, key=lambda group_: settings["ratios"][group_.layers[0]]):
            step = (1 if group.kind == "heads" else multiple) / group.units
            while settings["ratios"][group.layers[0]] > 0:
                lower = max(settings["ratios"][group.layers[0]] - step, 0.0)
                ratios = {**settings["ratios"], **dict.fromkeys(group.layers, round(lower, 4))}
                trial = self._trial({**settings, "ratios": ratios, **quick})
                if trial is None or not are_met(trial):
                    break
                settings = {**settings, "ratios": ratios}
        return settings

    def _remove_layers(
        self, is_enough: Callable[[Model], bool]
    ) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
        """Remove one layer after another from a copy until it is enough; return as `_bisect`."""
        copied = replace(self.model, module=copy.deepcopy(self.model.module))
        rule = self.settings.get("rule", self.technique().rule)
        weaker: dict[str, Any] | None = None
        removed: list[str] = []
        for name in removals(copied, self.work, rule):
            removed.append(name)
            settings = {**self.settings, "layers": tuple(removed)}
            if is_enough(copied):
                return weaker, settings
            weaker = settings
        return weaker, None

    def _trial(self, settings: Mapping[str, Any]) -> Model | None:
        """Return a pruned copy of the model; None if the settings remove nothing."""
        step: Step = self.technique(**settings)
        copied = replace(self.model, module=copy.deepcopy(self.model.module))
        with console.muted():
            record = step.apply(copied, self.work)
        return copied if record else None

    def _settings_by_strength(self, budget: Budget) -> Callable[[float], dict[str, Any]]:
        """Return a function from a strength in (0, 1] to settings of the method."""
        if self.method != "structured" or self._is_global():
            return lambda strength: {**self.settings, "ratio": min(strength, _MAX_RATIO)}
        groups = [group.layers for group in groups_of(self.model)]
        if not groups:
            raise UsageError(
                f"{self.method} found nothing to prune: the model has no layers between its inputs "
                "and its outputs"
            )
        exponents = _exponents(groups, self._savings(groups, budget), self.measured())

        def settings_at(strength: float) -> dict[str, Any]:
            exact = {
                name: min(1 - (1 - strength) ** exponent, _MAX_RATIO)
                for name, exponent in exponents.items()
            }
            ratios = {name: round(ratio, 4) for name, ratio in exact.items()}
            return {**self.settings, "ratio": median(exact.values()), "ratios": ratios}

        return settings_at

    def _savings(self, groups: Sequence[Sequence[str]], budget: Budget) -> list[float]:
        """Return for each group the fraction of the budget's unit saved by halving that group."""
        before = budget.of(costs_at(self.model, TOKENS, runs=1))
        unpruned = {name: 0.0 for layers in groups for name in layers}
        savings = []
        for layers in groups:
            ratios = {**unpruned, **dict.fromkeys(layers, 0.5)}
            quick = {"rounds": 1, "criterion": "l1", "multiple": 1}
            halved = self._trial({**self.settings, **quick, "ratios": ratios})
            after = costs_at(halved, TOKENS, runs=1) if halved else None
            savings.append(1 - budget.of(after) / before if after else 0.0)
        return savings

    def _is_global(self) -> bool:
        return bool(self.settings.get("scope") == "global")


def _exponents(
    groups: Sequence[Sequence[str]], savings: Sequence[float], measured: Sensitivity | None
) -> dict[str, float]:
    """Return an exponent for each layer; layers with more savings per loss get a higher one.

    Pruning keeps (1 - strength) ** exponent of a layer's units; the median exponent is about 1.
    The loss of a layer is the drop of the score when half of its weights are pruned, plus a tenth
    of the change of the outputs (in units of their standard deviation). The second term ranks
    layers without a drop.

    Args:
        groups: groups of layers that share their units and so their exponent.
        savings: for each group, the fraction of the budget's unit that halving the group saves.
        measured: sensitivity of the layers; None gives all groups the same loss.
    """
    halved = measured.of("prune-half") if measured else {}
    layer_loss = {
        name: max(loss.lost.value, 0.0) + _MOVED_WEIGHT * loss.moved
        for name, loss in halved.items()
    }
    measured_losses = [
        [layer_loss[name] for name in layers if name in layer_loss] for layers in groups
    ]
    losses = [max(sum(values), 1e-9) if values else None for values in measured_losses]
    median_loss = median([loss for loss in losses if loss is not None] or [1.0])
    gains = [saving / (loss or median_loss) for saving, loss in zip(savings, losses, strict=True)]
    median_gain = median([gain for gain in gains if gain > 0] or [1.0])
    exponents = [(gain / median_gain) ** 0.5 for gain in gains]
    return {
        name: min(max(exponent, _MIN_EXPONENT), _MAX_EXPONENT)
        for layers, exponent in zip(groups, exponents, strict=True)
        for name in layers
    }


@torch.no_grad()
def measure_norms(model: Model, work: Work) -> None:
    """Recompute the running means and variances of batch norms on training rows."""
    norms = [
        layer
        for layer in model.module.cpu().eval().modules()  # a score may have left it on a GPU
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) and layer.track_running_stats
    ]
    if not norms:
        return
    part = work.data.train.spaced(_NORM_ROWS)
    rows = Rows(part.rows, part.labels, model.encoder)
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # PyTorch then takes the mean over all batches
        norm.train()
    for indices in rows.shuffled(_BATCH, seed=0, epoch=0):
        output_of(model.module, rows.batch(indices).inputs)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()

"""Successive halving: a candidate is trained longer if it is among the best of its rung.

Optuna's pruners do not support several objectives (`Trial.should_prune` refuses them), so the rungs
are those of this file; how trials are kept is Optuna's.

Source: Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning" (ASHA: a trial is
promoted when it is asked for, without waiting for the rung to fill).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bmc.model import Model
from bmc.search.budgets import Limits, Measured
from bmc.search.chain import Effort, ScoredRows

FACTOR = 2
"""One in so many candidates of a rung reaches the next."""
_LEAST_ROWS = 256  # of a training: fewer teach nothing
_SLACK = 0.1  # share of the latency's limit: it may be measured a little higher than it is
_ROWS = (0, 10_000, 30_000)
"""Unlabeled rows of each rung, at most."""
_SHARES = (0.1, 0.1, 0.2)
"""Share of the time of all trials that a training at each rung takes, at most."""


def efforts_of(
    model: Model, labeled: int, most: float, scored: ScoredRows, is_fast: bool = False
) -> tuple[Effort, ...]:
    """Return how long candidates are trained at each rung.

    Lengths are shares of the training of the model itself: none, an eighth and a half; less where
    that would take too much of the time.

    Args:
        model: the model that is compressed.
        labeled: labeled training rows.
        most: rows that a candidate could learn from in the time of all trials.
        scored: validation rows that score the steps.
        is_fast: whether a latency is limited: what is trained is fast then, and learns from
            unlabeled rows also where it is not a student.
    """
    full = full_epochs(model)
    lengths = (max(1, full // 8), max(1, full // 8), max(1, full // 2))
    rungs = []
    for number, (epochs, unlabeled, share) in enumerate(zip(lengths, _ROWS, _SHARES, strict=True)):
        trained, rows, more = _within(int(share * most), epochs, labeled, unlabeled)
        effort = Effort(trained if number else 0, trained, more, more * is_fast, scored)
        limited = rows if rows < labeled else None
        rungs.append(replace(effort, labeled=limited, uncut_epochs=trained))
    if rungs[1] == rungs[2]:
        del rungs[2]  # a short training has no room for a rung between
    return tuple(rungs)


def _within(most: int, epochs: int, labeled: int, unlabeled: int) -> tuple[int, int, int]:
    """Return epochs, labeled and unlabeled rows, so that at most `most` rows are learned from."""
    epochs = min(epochs, max(1, most // labeled))
    rows = most // epochs
    if rows < labeled:
        return 1, max(rows, _LEAST_ROWS), 0
    return epochs, labeled, min(unlabeled, rows - labeled)


def full_epochs(model: Model) -> int:
    """Return the epochs of a finalist's fine-tuning: as many as the model was trained for."""
    recorded: Mapping[str, Any] = model.origin.get("settings") or {}
    epochs = recorded.get("epochs", 3)
    return epochs if isinstance(epochs, int) and epochs > 0 else 3


def is_promoted(
    mine: Measured, others: Sequence[Measured], limits: Limits, objectives: Sequence[str]
) -> bool:
    """Tell whether a candidate is trained longer.

    It is not if it is within all limits already, or costs more than training can change. Otherwise
    it is if few enough others of its rung beat it.

    Args:
        mine: what was measured of it.
        others: what was measured of earlier candidates at the same rung.
        limits: the budgets.
        objectives: what is minimized.
    """
    if not is_affordable(mine, limits):
        return False
    if limits.drop is not None and mine.drop <= limits.drop and not mine.failure:
        return False
    peers = [other for other in others if is_affordable(other, limits)]
    better = sum(dominates(other, mine, objectives) for other in peers)
    return better < -(-(len(peers) + 1) // FACTOR)


def is_affordable(measured: Measured, limits: Limits) -> bool:
    """Tell whether a candidate's size and latency, which training does not change, are in reach."""
    return (
        not limits.excess(measured, ("size",)) and limits.excess(measured, ("latency",)) <= _SLACK
    )


def dominates(candidate: Measured, other: Measured, objectives: Sequence[str]) -> bool:
    """Tell whether a candidate is as good as another in every objective, and better in one."""
    pairs = [(candidate.of(name), other.of(name)) for name in objectives]
    return all(value <= its for value, its in pairs) and any(value < its for value, its in pairs)

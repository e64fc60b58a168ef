"""Which candidates are trained in full."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest

pytest.importorskip("optuna")

from bmc.search.budgets import Limits, Measured
from bmc.search.finalists import choose
from bmc.search.study import RUNGS, SHOWN
from bmc.search.trials import best_of
from tests.search.test_trials import trials_of


def test_candidates_that_training_can_bring_within_the_limits_come_first(
    digits_model: Path, tmp_path: Path
) -> None:
    trials = trials_of(digits_model, tmp_path, "unstructured")
    trials = replace(trials, limits=Limits(1.0, None, 1.0))
    for drop, milliseconds in ((0.0, 1.5), (9.0, 0.9), (20.0, 0.8)):
        trial = trials.study.ask()
        measured = Measured(drop, 1000, milliseconds)
        trials.study.note(trial, SHOWN, f"lost {drop}")
        trials.study.note(trial, RUNGS, [asdict(measured)])
        trials.study.tell(trial, [drop, milliseconds], trials.limits.constraints(measured))
    assert [best_of(trial).drop for trial in choose(trials)] == [9.0, 20.0, 0.0]

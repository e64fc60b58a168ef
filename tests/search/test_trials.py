"""A trial that fails says so and leaves nothing; a full disk is no failure of a candidate."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

pytest.importorskip("optuna")

from bmc import data as datasets
from bmc import disk
from bmc.errors import MeasuringError, StorageError
from bmc.recipes.plan import Step
from bmc.recipes.runners import InProcess
from bmc.recipes.store import StepStore
from bmc.search.budgets import Budgets, Measured
from bmc.search.chain import Effort, Origin
from bmc.search.exporting import without_test
from bmc.search.making import Made
from bmc.search.objective import Objective
from bmc.search.space import Option, Space
from bmc.search.study import REASON, SHOWN, Study
from bmc.search.trials import Trials, rungs_of

BROKEN = """
from dataclasses import dataclass

@dataclass(frozen=True)
class STEP:
    def apply(self, model, work):
        work.fit(model, epochs=1, name="training")
        return {}["layer"]

    @staticmethod
    def rebuild(model, record):
        pass
"""


def trials_of(model: Path, folder: Path, technique: str, width: int = 1) -> Trials:
    """Return trials of a space with one technique, which is tried first."""
    store = StepStore(str(folder / "steps"))
    data = without_test(datasets.load("digits"))
    objective = Objective(model, data, "onnx", folder, (1,), store, InProcess(store))
    base = objective.begin()
    limits = Budgets(50).limits(base)
    study = Study(f"sqlite:///{folder / 'study.db'}", {}, ("drop", "latency"), "tpe", 0)
    origin = Origin(str(model), {"data": "digits"})
    space = Space(structural=(Option("prune", technique),))
    rungs = (Effort(0, 1, 0),)
    common = (limits, ("drop", "latency"), "latency", base, 0)
    return Trials(space, study, objective, origin, rungs, *common, width)


def test_a_full_disk_ends_the_search_and_the_candidate_is_run_by_the_next_call(
    digits_model: Path, tmp_path: Path
) -> None:
    trials = trials_of(digits_model, tmp_path, "unstructured")

    def full(operation: str, path: Path) -> None:
        if operation == "open" and path.name == "config.json":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    disk.watch(full)
    try:
        with pytest.raises(StorageError, match="disk is full"):
            trials.run(60, 1)
    finally:
        disk.unwatch(full)
    assert not trials.study.trials()
    again = trials_of(digits_model, tmp_path, "unstructured")
    again.run(60, 1)
    assert len(again.study.complete()) == 1, "the one that was stopped is not counted"


def test_an_error_of_a_technique_fails_its_candidate_alone_and_leaves_no_files(
    digits_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = tmp_path / "site" / "breaking-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: breaking\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[bmc.techniques]\nprune.broken = breaking\n")
    (about.parent / "breaking.py").write_text(BROKEN)
    monkeypatch.syspath_prepend(about.parent)
    trials = trials_of(digits_model, tmp_path, "broken")
    trials.run(60, 1)
    (failed,) = trials.study.trials()
    assert "layer" in failed.user_attrs[REASON]
    assert not [path for path in (tmp_path / "steps").glob("*") if path.is_dir()]
    made: list[object] = []
    make = Objective.make

    def recorded(self: Objective, candidates: Sequence[Sequence[Step]]) -> list[Made]:
        made.extend(candidates)
        return make(self, candidates)

    monkeypatch.setattr(Objective, "make", recorded)
    trials.run(60, 8)
    reasons = [each.user_attrs.get(REASON) for each in trials.study.trials()]
    assert reasons.count(reasons[0]) > 1, "it is proposed again"
    assert made == [], "and not made again"


def test_candidates_that_are_proposed_twice_in_parallel_are_measured_once(
    digits_model: Path, tmp_path: Path
) -> None:
    trials = trials_of(digits_model, tmp_path, "unstructured", width=3)
    trials.run(600, 3)
    ended = trials.study.complete()
    words = {trial.user_attrs[SHOWN] for trial in ended}
    assert len(ended) == 3
    assert len(words) <= 2  # the model as it is, and pruned: there are no others
    for each in words:
        measured = [rungs_of(trial) for trial in ended if trial.user_attrs[SHOWN] == each]
        assert all(rungs == measured[0] for rungs in measured)
    trials.run(600, 3)
    assert len(trials.study.trials()) == 3


def test_a_latency_that_could_not_be_measured_is_tried_again(
    digits_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = trials_of(digits_model, tmp_path, "unstructured")
    measure, busy = Objective.measure, [True]

    def measured(self: Objective, model: Path, structure: str) -> Measured:
        if busy.pop() if busy else False:
            raise MeasuringError("there are too few samples")
        return measure(self, model, structure)

    monkeypatch.setattr(Objective, "measure", measured)
    trials.run(60, 2)
    assert len(trials.study.trials()) == 2
    (done,) = trials.study.complete()
    assert done.user_attrs[SHOWN] == "unstructured"
    assert not trials.study.impossible()

"""A trial reads no test row; a bundle of it is measured, and then removed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bmc
from bmc import artifact
from bmc import data as datasets
from bmc.data import Dataset, Examples
from bmc.errors import UsageError
from bmc.recipes.runners import InProcess
from bmc.recipes.store import StepStore
from bmc.search import exporting, timing
from bmc.search import objective as objectives
from bmc.search.budgets import shown
from bmc.search.chain import Effort, Origin, ScoredRows, steps_of
from bmc.search.exporting import export_and_score, without_test
from bmc.search.objective import Objective, scored_rows
from bmc.search.space import Candidate, Chosen

CANDIDATE = Candidate(
    Chosen("distill", "mlp", {"width": 16}),
    (Chosen("prune", "structured", {"ratio": 0.5}),),
    Chosen("quantize", "static", {}),
)


class Sealed(Sequence[Any]):
    """Rows that cannot be read."""

    def __len__(self) -> int:
        return 359

    def __getitem__(self, index: Any) -> Any:
        raise AssertionError("a test row was read")

    def __iter__(self) -> Iterator[Any]:
        raise AssertionError("the test rows were read")

    def __array__(self, *arguments: Any, **settings: Any) -> Any:
        raise AssertionError("the test rows were read")


@pytest.fixture
def sealed(monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """Return the digits with a test split that cannot be read, as everything loads them now.

    What compares hashes of rows, so that no teacher has learned a test row, may go on.
    """
    load, keys_of = datasets.load, datasets.keys_of

    def load_sealed(*arguments: Any, **settings: Any) -> Dataset:
        data = load(*arguments, **settings)
        return replace(data, test=Examples(Sealed(), Sealed()))

    def keys(rows: Any) -> Any:
        return np.zeros(0, np.uint64) if isinstance(rows, Sealed) else keys_of(rows)

    monkeypatch.setattr(datasets, "load", load_sealed)
    monkeypatch.setattr(datasets, "keys_of", keys)
    return datasets.load("digits")


def test_no_trial_reads_a_row_of_the_test_split(
    digits_model: Path, sealed: Dataset, tmp_path: Path
) -> None:
    store = StepStore(str(tmp_path / "steps"))
    data = without_test(sealed)
    objective = Objective(digits_model, data, "onnx", tmp_path, (1,), store, InProcess(store))
    base = objective.begin()
    assert objective.score > 0.7
    origin = Origin(str(digits_model), {"data": "digits"})
    steps = steps_of(CANDIDATE, origin, Effort(1, 1, 0), 0)
    (made,) = objective.make([steps])
    assert isinstance(made, Path)
    measured = objective.measure(made, CANDIDATE.shown())
    assert measured.bytes < base.bytes
    assert measured.drop <= 100 * objective.score
    assert not list(tmp_path.glob("trial-*"))
    assert len(store.keys()) == 3
    objective.forget(objective.keys(steps)[:1])
    assert store.keys() == objective.keys(steps)[:1]


def test_a_trial_is_scored_by_some_validation_rows_and_a_finalist_by_all_with_its_interval(
    digits_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objectives, "SCORED_ROWS", 60)
    data, store = without_test(datasets.load("digits")), StepStore(str(tmp_path / "steps"))
    objective = Objective(digits_model, data, "onnx", tmp_path, (1,), store, InProcess(store))
    objective.begin()
    few = data.validation.spaced(60)
    assert objective.validation_rows == 60
    worse = bmc.prune(digits_model, "unstructured", ratio=0.97, epochs=0, output=tmp_path / "cut")
    trial = objective.measure(worse.path, "worse")
    finalist = objective.measure_finalist(worse.path, tmp_path / "finalist")
    whole, some = (
        _accuracy_of(digits_model, part) - _accuracy_of(worse.path, part)
        for part in (data, replace(data, validation=few))
    )
    assert trial.drop == pytest.approx(100 * some)
    assert finalist.drop == pytest.approx(100 * whole)
    assert trial.drop != finalist.drop
    for each in (trial, finalist):
        assert each.drop_low is not None
        assert each.drop_high is not None
        assert each.drop_low < each.drop < each.drop_high
        assert each.divergence is not None
        assert each.divergence > 0
    assert "points [" in shown(finalist)


def test_a_model_that_changes_no_label_of_few_rows_may_change_some_of_others(
    digits_model: Path,
) -> None:
    model, validation = artifact.load(digits_model), datasets.load("digits").validation.spaced(50)
    logits = np.eye(10, dtype=np.float32)[np.array(validation.labels)]
    same = exporting.points_lost(model, logits, logits, validation)
    assert (same.low, same.value, same.high) == (0, 0, 0)
    other = exporting.points_lost(model, 2 * logits, logits, validation)
    assert (other.low, other.value) == (0, 0)
    none_changes = (1 - other.high / 100) ** len(validation)
    assert none_changes == pytest.approx(0.025, abs=0.004)


def test_a_step_that_trains_nothing_is_scored_by_fewer_rows_unless_it_chooses_thresholds(
    digits_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objectives, "SCORED_ROWS", 100)
    monkeypatch.setattr(objectives, "SCORED_UNTRAINED", 40)
    model, data = artifact.load(digits_model), datasets.load("digits")
    assert scored_rows(model, data, False) == scored_rows(model, data, True) == ScoredRows(100, 40)
    monkeypatch.setattr(objectives, "SCORED_UNTRAINED", 1_000)
    assert scored_rows(model, data, True) == ScoredRows(100, None)
    several = replace(model, task="multilabel")
    assert scored_rows(several, data, False) == ScoredRows(100, 100)
    assert scored_rows(several, data, True) == ScoredRows()


def test_an_export_for_measurements_refuses_data_with_its_test_split(
    digits_model: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="the test split must be removed first"):
        export_and_score(digits_model, datasets.load("digits"), "onnx", tmp_path / "bundle", 20)


def test_a_few_rows_are_compared_with_pytorch_and_all_of_them_scored(
    digits_model: Path, tmp_path: Path
) -> None:
    data = without_test(datasets.load("digits"))
    whole = export_and_score(digits_model, data, "onnx", tmp_path / "whole", 10_000)
    scored = export_and_score(digits_model, data, "onnx", tmp_path / "bundle", 20)
    assert scored == whole
    assert whole.score == pytest.approx(_accuracy_of(digits_model, data))
    with np.load(tmp_path / "bundle" / "evaluation.npz") as compared:
        assert 10 < len(compared["labels"]) <= 20
        assert len(set(compared["labels"].tolist())) > 5


def _accuracy_of(model: Path, data: Dataset) -> float:
    predicted = bmc.open(model).predict(list(data.validation.rows))
    right = [
        answer.label == data.labels[label]
        for answer, label in zip(predicted, data.validation.labels, strict=True)
    ]
    return float(np.mean(right))


def test_steps_whose_result_depends_on_the_weights_are_timed_for_each_result(
    digits_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, store = without_test(datasets.load("digits")), StepStore(str(tmp_path / "steps"))
    objective = Objective(digits_model, data, "onnx", tmp_path, (1,), store, InProcess(store))
    timed = list[Path]()
    measure = timing.milliseconds

    def milliseconds(folders: Sequence[Path], *rest: Any) -> dict[Path, float]:
        timed.extend(folder for folder in folders if "trial" in folder.name)
        return measure(folders, *rest)

    monkeypatch.setattr(timing, "milliseconds", milliseconds)
    objective.begin()
    origin = Origin(str(digits_model), {"data": "digits"})
    models = [
        objective.make([steps_of(Candidate(None, (part,), None), origin, Effort(0, 1, 0), 0)])[0]
        for part in (Chosen("share", "lowrank", {"energy": energy}) for energy in (0.5, 0.9))
    ]
    for model in (*models, models[0]):
        assert isinstance(model, Path)
        objective.measure(model, "lowrank(energy=0.9)")
    assert len(timed) == 2

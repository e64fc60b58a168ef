"""Candidates are made side by side, what they share once, and a failure is its candidate's own."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from bmc.errors import StorageError
from bmc.recipes.local_runner import LocalRunner
from bmc.recipes.plan import Step
from bmc.recipes.runners import Failure, InProcess, Outcome
from bmc.recipes.store import StepStore
from bmc.search.chain import Effort, Origin, steps_of
from bmc.search.making import keys_of, make_all
from bmc.search.space import Candidate, Chosen

UNTRAINED = Effort(0, 1, 0)


def chain(model: Path, *parts: Chosen) -> tuple[Step, ...]:
    origin = Origin(str(model), {"data": "digits"})
    return steps_of(Candidate(None, parts, None), origin, UNTRAINED, 0)


HALF = Chosen("prune", "structured", {"ratio": 0.5})
SPARSE = Chosen("prune", "unstructured", {"ratio": 0.5})
SPARSER = Chosen("prune", "unstructured", {"ratio": 0.8})
IMPOSSIBLE = Chosen("prune", "structured", {"ratio": 0.5, "what": "heads"})


class Counting(InProcess):
    """Runs steps in this process, and notes them."""

    def __init__(self, store: StepStore) -> None:
        super().__init__(store)
        self.steps: list[str] = []

    def submit(self, step: Step, key: str, inputs: Mapping[str, str]) -> None:
        self.steps.append(step.name)
        super().submit(step, key, inputs)


def test_a_step_that_candidates_share_is_made_once_and_kept(
    digits_model: Path, tmp_path: Path
) -> None:
    store = StepStore(str(tmp_path / "steps"))
    candidates = [chain(digits_model, HALF, SPARSE), chain(digits_model, HALF, SPARSER), ()]
    runner = Counting(store)
    first, second, itself = make_all(candidates, digits_model, store, runner)
    assert runner.steps == ["structured-1", "unstructured-2", "unstructured-2"]
    assert first == store.path(keys_of(candidates[0], store)[-1])
    assert second == store.path(keys_of(candidates[1], store)[-1])
    assert first != second
    assert itself == digits_model
    assert make_all(candidates, digits_model, store, runner) == [first, second, itself]
    assert len(runner.steps) == 3


def test_a_candidate_that_cannot_be_made_says_why_and_the_others_are_made(
    digits_model: Path, tmp_path: Path
) -> None:
    store = StepStore(str(tmp_path / "steps"))
    candidates = [chain(digits_model, IMPOSSIBLE, SPARSE), chain(digits_model, SPARSE)]
    failed, made = make_all(candidates, digits_model, store, InProcess(store))
    assert isinstance(failed, Failure)
    assert "heads" in failed.message
    assert isinstance(made, Path)


def test_processes_make_candidates_in_parallel(digits_model: Path, tmp_path: Path) -> None:
    store = StepStore(str(tmp_path / "steps"))
    candidates = [chain(digits_model, HALF), chain(digits_model, SPARSE)]
    with closing(LocalRunner(store, 2, 1)) as runner:
        made = make_all(candidates, digits_model, store, runner)
    assert made == [store.path(keys_of(steps, store)[-1]) for steps in candidates]


def test_a_full_disk_stops_the_search(digits_model: Path, tmp_path: Path) -> None:
    class Full(InProcess):
        def wait(self) -> Outcome:
            key = self._waiting.popleft()[1]
            return Outcome(key, failure=Failure("no space left on device", is_storage=True))

    store = StepStore(str(tmp_path / "steps"))
    with pytest.raises(StorageError, match="no space left"):
        make_all([chain(digits_model, HALF)], digits_model, store, Full(store))

"""What a worker of a cluster does with the step that it was sent."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from bmc.errors import UsageError
from bmc.recipes.keys import key_of
from bmc.recipes.plan import Step
from bmc.recipes.ray_task import (
    RemoteStep,
    difference,
    environment,
    lost,
    make_here,
    refuse_machine,
    versions,
)
from bmc.recipes.store import StepStore

BASE = Step("base", "train", {}, {"model": "mlp", "data": "digits", "epochs": 1, "width": 32})


@pytest.fixture
def work(tmp_path: Path) -> RemoteStep:
    """Return a step whose key a command computed on this machine."""
    location = str(tmp_path / "store")
    return RemoteStep(BASE, key_of(BASE, {}), {}, location, "", os.getcwd(), (), versions())


def test_a_worker_puts_the_result_into_the_store(work: RemoteStep) -> None:
    assert make_here(work).failure is None
    store = StepStore(work.location)
    assert store.keys() == [work.key]
    assert store.path(work.key).name == "base"


def test_nothing_is_run_where_the_worker_computes_another_key(work: RemoteStep) -> None:
    outcome = make_here(replace(work, key="0" * 64))
    assert outcome.failure is not None
    assert outcome.failure.exit_code == 2
    assert "other data, models, packages or code of bmc for step 'base'" in outcome.failure.message
    assert not StepStore(work.location).keys()


def test_nothing_is_run_on_a_worker_of_another_version(work: RemoteStep) -> None:
    outcome = make_here(replace(work, versions={**versions(), "torch": "1.0.0"}))
    assert outcome.failure is not None
    assert "and this command torch 1.0.0: results would differ" in outcome.failure.message
    assert "pip install torch==1.0.0 there" in outcome.failure.message


@pytest.mark.parametrize(
    ("theirs", "text"),
    [
        ({"bmc": "0.1.0"}, "head has bmc 0.1.0, and this command bmc 0.2.0"),
        ({"bmc": ""}, "head has no bmc"),
        ({"python": "3.10"}, "use Python 3.12 there"),
    ],
)
def test_a_difference_names_both_versions_and_the_way_out(
    theirs: dict[str, str], text: str
) -> None:
    ours = {"bmc": "0.2.0", "python": "3.12", "torch": "2.13.0"}
    assert text in difference("head", {**ours, **theirs}, ours)
    assert not difference("head", ours, ours)


def test_a_machine_that_does_not_see_the_store_is_refused(tmp_path: Path) -> None:
    refuse_machine("head", versions(), True, tmp_path)
    with pytest.raises(UsageError, match=r"head does not see the store .*s3://bucket/steps"):
        refuse_machine("head", versions(), False, tmp_path)


def test_a_step_that_is_given_up_says_how_often_its_worker_was_lost() -> None:
    assert lost(False, 4) == "its worker was lost 4 times; see Ray's logs"
    assert lost(True, 1) == "its worker ran out of memory 1 time; see Ray's logs"


def test_the_environment_of_workers_has_the_threads_and_what_the_caller_adds() -> None:
    found = environment(2, {"working_dir": ".", "env_vars": {"BMC_HOME": "/shared"}})
    assert found["working_dir"] == "."
    assert found["env_vars"]["OMP_NUM_THREADS"] == "2"
    assert found["env_vars"]["BMC_HOME"] == "/shared"
    assert found["env_vars"]["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] == "1"  # no GPU is seen

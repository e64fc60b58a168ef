"""Results of steps that no run has used for some time are removed; models of the workspace stay."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from bmc import locks
from bmc.errors import SettingError, UnknownError, UsageError
from bmc.recipes.cleaning import Cleaned, clean
from bmc.recipes.options import Cleaning
from bmc.recipes.store import SEAL, StepStore
from tests.cli._refusals import Run, refused

OLD, NEW, BEGUN = "a" * 64, "b" * 64, "c" * 64
DAY = 86_400


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder with an old and a new result, and with what an old, killed run left."""
    made = tmp_path / "small"
    made.mkdir()
    (made / "bmc.json").write_text("{}")
    (made / "model.safetensors").write_bytes(bytes(1000))
    store = StepStore(str(tmp_path / "steps"))
    for key in (OLD, NEW):
        store.add(key, made)
    (store.root / BEGUN / ".checkpoints").mkdir(parents=True)
    age(store.root / OLD / SEAL, 9)
    age(store.root / BEGUN / ".checkpoints", 9)
    age(store.root / BEGUN, 9)
    return store.root


def age(path: Path, days: float) -> None:
    before = time.time() - days * DAY
    os.utime(path, (before, before))


def cleaned(root: Path, days: int) -> Cleaned:
    return clean(Cleaning(days, str(root)))


def test_results_that_were_not_used_for_some_days_are_removed(root: Path) -> None:
    assert cleaned(root, 10) == Cleaned(root, removed=0, kept=3, bytes=0)
    done = cleaned(root, 8)
    assert (done.removed, done.kept) == (2, 1)
    assert 1000 < done.bytes < 2000
    assert StepStore(str(root)).keys() == [NEW]
    assert not (root / BEGUN).exists()


def test_a_run_that_takes_a_result_from_the_cache_uses_it(root: Path) -> None:
    assert StepStore(str(root)).has(OLD)
    assert cleaned(root, 8).removed == 1
    assert StepStore(str(root)).keys() == [OLD, NEW]


def test_files_with_a_name_in_the_workspace_stay_and_free_no_space(
    root: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model.safetensors"
    model.hardlink_to(root / OLD / "small" / "model.safetensors")
    assert cleaned(root, 8).bytes < 1000
    assert model.read_bytes() == bytes(1000)


def test_a_step_that_runs_keeps_its_folder(root: Path) -> None:
    holds, may_end = threading.Event(), threading.Event()

    def run() -> None:
        with locks.alone(root / BEGUN):
            holds.set()
            may_end.wait(60)

    step = threading.Thread(target=run)
    step.start()
    holds.wait(60)
    done = cleaned(root, 8)
    may_end.set()
    step.join()
    assert (done.removed, done.kept) == (1, 2)
    assert (root / BEGUN).is_dir()
    assert cleaned(root, 8).removed == 1


@pytest.mark.parametrize("days", [-1, 0])
def test_what_a_run_of_today_uses_cannot_be_removed(days: int) -> None:
    with pytest.raises(SettingError, match="at least 1"):
        Cleaning(days)


def test_other_folders_are_no_results(root: Path) -> None:
    models = (root / "bert-movie-reviews", root / "A" / "b")
    for model in models:
        model.mkdir(parents=True)
        age(model, 99)
    assert cleaned(root, 8).removed == 2
    assert all(model.is_dir() for model in models)


def test_a_url_is_refused() -> None:
    with pytest.raises(UsageError, match="s3://bucket/steps is a URL"):
        clean(Cleaning(store="s3://bucket/steps"))


def test_the_command_says_what_it_freed(bmc: Run, root: Path) -> None:
    code, out, err = bmc("recipe", "clean", "--days", 8, "--store", root)
    assert code == 0, err
    assert "removed 2 results of steps" in out
    assert "1 are left" in out
    refused(bmc("recipe", "clean", "--days", "-1"), "days is -1; it must be at least 1")


def test_a_store_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownError, match=r"no folder .*typo: --store names the folder"):
        clean(Cleaning(store=str(tmp_path / "typo")))

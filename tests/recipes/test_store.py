"""Results of steps in a folder and in a shared location."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from bmc import disk
from bmc.errors import ArtifactError, StorageError, UnknownError
from bmc.recipes.store import ChangedResultError, StepStore

KEY = "a" * 64


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Return a folder that looks like a model directory."""
    folder = tmp_path / "work" / "small"
    (folder / "parts").mkdir(parents=True)
    (folder / "bmc.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "parts" / "more.txt").write_text("more")
    return folder


@pytest.fixture(params=["", "file://", "memory://"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    kind: str = request.param
    return f"{kind}{tmp_path}/shared" if kind else ""


def test_a_result_is_there_whole_with_its_hashes(location: str, made: Path, tmp_path: Path) -> None:
    store = StepStore(location, tmp_path / "steps")
    assert not store.has(KEY)
    with pytest.raises(UnknownError):
        store.path(KEY)
    added = store.add(KEY, made, "train", 2.0)
    assert added == store.path(KEY) == tmp_path / "steps" / KEY / "small"
    assert store.has(KEY)
    assert (added / "parts" / "more.txt").read_text() == "more"
    assert store.keys() == [KEY]


def test_a_result_that_was_changed_is_named_and_refused(
    location: str, made: Path, tmp_path: Path
) -> None:
    store = StepStore(location, tmp_path / "steps")
    path = store.add(KEY, made)
    (path / "model.safetensors").write_bytes(b"changed")
    for taken in (store.has, store.path):
        with pytest.raises(
            ChangedResultError, match=r"model\.safetensors was changed; remove .*again"
        ):
            taken(KEY)
    (path / "model.safetensors").unlink()
    with pytest.raises(ChangedResultError, match="was removed"):
        store.has(KEY)
    store.remove(KEY)
    assert not store.has(KEY)


@pytest.mark.parametrize("kind", ["file://", "memory://"])
def test_another_machine_takes_a_result_from_the_shared_location(
    kind: str, made: Path, tmp_path: Path
) -> None:
    location = f"{kind}{tmp_path}/shared"
    StepStore(location, tmp_path / "one").add(KEY, made)
    other = StepStore(location, tmp_path / "two")
    assert other.has(KEY)
    assert (other.path(KEY) / "model.safetensors").read_bytes() == b"weights"


def test_a_shared_result_that_was_changed_leaves_nothing_here(made: Path, tmp_path: Path) -> None:
    location = f"file://{tmp_path}/shared"
    StepStore(location, tmp_path / "one").add(KEY, made)
    (changed,) = (tmp_path / "shared").rglob("model.safetensors")
    changed.write_bytes(b"changed")
    other = StepStore(location, tmp_path / "two")
    with pytest.raises(ChangedResultError, match="shared"):
        other.path(KEY)
    assert not (tmp_path / "two" / KEY / "small").exists()


def test_a_result_without_its_marker_is_no_result(made: Path, tmp_path: Path) -> None:
    location = f"file://{tmp_path}/shared"
    StepStore(location, tmp_path / "one").add(KEY, made)
    (tmp_path / "shared" / KEY / "step.json").unlink()
    assert not StepStore(location, tmp_path / "two").has(KEY)


def test_the_marker_of_a_shared_folder_is_replaced_in_one_step(made: Path, tmp_path: Path) -> None:
    marker = tmp_path / "shared" / KEY / "step.json"
    renamed = []

    def note(operation: str, path: Path) -> None:
        if operation == "rename" and path == marker:
            renamed.append(path.exists())

    disk.watch(note)
    try:
        StepStore(f"file://{tmp_path}/shared", tmp_path / "one").add(KEY, made)
    finally:
        disk.unwatch(note)
    assert renamed == [False]


def test_a_full_disk_leaves_no_half_result(made: Path, tmp_path: Path) -> None:
    store = StepStore("", tmp_path / "steps")
    copied = []

    def full(operation: str, path: Path) -> None:
        if operation == "open" and path.name == "model.safetensors":
            copied.append(path)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    disk.watch(full)
    try:
        with pytest.raises(StorageError, match="disk is full"):
            store.add(KEY, made)
    finally:
        disk.unwatch(full)
    assert copied
    assert not store.has(KEY)
    assert not list((tmp_path / "steps").rglob("bmc.json"))
    assert store.add(KEY, made).is_dir()


def test_a_damaged_seal_and_a_folder_of_something_else_are_refused(
    made: Path, tmp_path: Path
) -> None:
    store = StepStore("", tmp_path / "steps")
    with pytest.raises(ArtifactError, match="neither"):
        store.add(KEY, tmp_path)
    store.add(KEY, made)
    (tmp_path / "steps" / KEY / "step.json").write_text('{"key": "../..", "name": "../x"}')
    with pytest.raises(ArtifactError, match="remove"):
        store.has(KEY)


def test_a_step_writes_to_the_same_place_under_another_name(tmp_path: Path) -> None:
    store = StepStore("", tmp_path / "steps")
    first = store.output(KEY, "pruned[ratio=0.5,seed=1]")
    assert first == tmp_path / "steps" / KEY / "pruned-ratio-0.5-seed-1"
    (first.parent / ".checkpoints" / first.name).mkdir(parents=True)  # a killed training
    assert store.output(KEY, "other") == first


def test_a_result_that_was_made_before_there_was_a_shared_location_is_shared(
    made: Path, tmp_path: Path
) -> None:
    StepStore(str(tmp_path / "one")).add(KEY, made)
    location = f"file://{tmp_path}/shared"
    store = StepStore(location, tmp_path / "one")
    assert store.has(KEY)
    assert not StepStore(location, tmp_path / "two").has(KEY)
    store.share(KEY)
    assert (StepStore(location, tmp_path / "two").path(KEY) / "model.safetensors").is_file()


def test_what_a_killed_step_was_writing_is_no_result(made: Path, tmp_path: Path) -> None:
    store, key = StepStore(str(tmp_path / "steps")), "d" * 64
    begun = store.root / key / ".small.1a2b3c4d.bmc-new"
    shutil.copytree(made, begun)
    assert store.output(key, "small").name == "small"
    assert not begun.exists()

"""The workspace: what is newest, what a name means, what failed stays out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bmc import workspace as home
from bmc.errors import UnknownError


def make(folder: Path, manifest: str, age: int) -> Path:
    folder.mkdir(parents=True)
    (folder / manifest).write_text("{}")
    os.utime(folder / manifest, (1_000_000 - age, 1_000_000 - age))
    return folder


def test_entries_are_sorted_by_age_and_separated_by_kind(workspace: Path) -> None:
    old = make(workspace / "b-old", "manifest.json", 20)
    new = make(workspace / "a-new", "manifest.json", 10)
    model = make(workspace / "model", "bmc.json", 5)
    make(workspace / ".hidden", "manifest.json", 0)
    failed = make(workspace / "c.failed", "manifest.json", 0)
    (workspace / "file").touch()
    assert home.entries("bundle") == [old, new]
    assert home.entries("bundle", failed=True) == [failed]
    assert home.newest("bundle") == new
    assert home.newest("model") == model


def test_an_empty_workspace_says_how_to_fill_it() -> None:
    with pytest.raises(UnknownError, match="make one with bmc train"):
        home.newest("model")
    with pytest.raises(UnknownError, match="make one with bmc export"):
        home.newest("bundle")
    with pytest.raises(UnknownError, match="no bundle named 'x', and none in"):
        home.find("x", "bundle")


def test_a_reference_is_a_path_or_a_name_in_the_workspace(workspace: Path, tmp_path: Path) -> None:
    inside = make(workspace / "tiny-onnx", "manifest.json", 0)
    outside = make(tmp_path / "elsewhere", "manifest.json", 0)
    assert home.find("tiny-onnx", "bundle") == inside
    assert home.find(str(outside), "bundle") == outside
    with pytest.raises(UnknownError, match="Did you mean 'tiny-onnx'"):
        home.find("tiny-onx", "bundle")


def test_the_folder_that_one_is_in_has_its_name(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = make(tmp_path / "tiny-onnx", "manifest.json", 0)
    monkeypatch.chdir(bundle)
    assert home.find(".", "bundle") == bundle
    (bundle / "inside").mkdir()
    monkeypatch.chdir(bundle / "inside")
    assert home.find("..", "bundle") == bundle


def test_a_folder_of_the_other_kind_says_what_it_lacks(tmp_path: Path) -> None:
    created = make(tmp_path / "tiny-onnx", "manifest.json", 0)
    with pytest.raises(UnknownError, match=r"is not a model directory: it has no bmc\.json"):
        home.find(str(created), "model")


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("bert", "bert"),
        ("hf:org/some-bert@main", "some-bert-main"),
        ("models/my model/", "my-model"),
        ("..", "model"),
        ("", "model"),
    ],
)
def test_a_slug_is_a_safe_name_for_a_folder(reference: str, name: str) -> None:
    assert home.slug(reference) == name


def test_the_workspace_is_where_bmc_home_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BMC_HOME", str(tmp_path / "there"))
    assert home.root() == tmp_path / "there"
    monkeypatch.delenv("BMC_HOME")
    assert home.root() == Path("bmc-runs")
    assert home.checkpoints_of(tmp_path / "a" / "tiny") == (
        tmp_path / "a" / ".checkpoints" / "tiny"
    )

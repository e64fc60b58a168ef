"""Plug-ins are found by their file's name, and only the named one is imported."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bmc import plugins
from bmc.errors import MissingError, UnknownError


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a package with a good plug-in and three that cannot be imported."""
    name = f"plugins_of_{tmp_path.name.replace('-', '_')}"
    folder = tmp_path / name
    folder.mkdir()
    files = {
        "__init__": "",
        "low_rank": "VALUE = 7",
        "_helper": "VALUE = 8",
        "needy": "import openvino_that_is_not_here.core",
        "wanting": "raise ModuleNotFoundError('No module', name='onnxruntime')",
        "broken": "import bmc.nothing_of_that_name",
    }
    for stem, text in files.items():
        (folder / f"{stem}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    return name


def test_names_are_the_files_names_with_dashes_and_importing_none(package: str) -> None:
    assert plugins.names(package) == ["broken", "low-rank", "needy", "wanting"]
    assert f"{package}.low_rank" not in sys.modules


def test_a_plug_in_is_loaded_by_its_name(package: str) -> None:
    assert plugins.load(package, "low-rank", "method").VALUE == 7


@pytest.mark.parametrize("name", ["low-rnk", "_helper", "os", "../os", ""])
def test_a_name_that_is_no_plug_in_is_refused(package: str, name: str) -> None:
    with pytest.raises(UnknownError, match="no method named"):
        plugins.load(package, name, "method")


def test_a_package_that_is_missing_becomes_the_command_that_installs_it(package: str) -> None:
    with pytest.raises(MissingError, match=r"pip install 'bmc-toolkit\[onnx\]'") as caught:
        plugins.load(package, "wanting", "target")
    assert "the target 'wanting' needs the package onnxruntime" in str(caught.value)
    with pytest.raises(MissingError, match="openvino_that_is_not_here"):
        plugins.load(package, "needy", "target")


def test_a_missing_module_of_bmc_itself_is_a_bug_and_stays_one(package: str) -> None:
    with pytest.raises(ModuleNotFoundError, match="nothing_of_that_name"):
        plugins.load(package, "broken", "target")

"""What tests of several verbs share: a small perceptron, trained at the command line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bmc import cli


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small perceptron that was trained on digits at the command line."""
    folder = tmp_path_factory.mktemp("trained") / "mlp"
    options = ("--data", "digits", "--set", "width=64", "--epochs", "6", "--output", str(folder))
    assert (
        cli.run(["train", "mlp", *options, "--precision", "fp32", "--device", "cpu", "--quiet"])
        == 0
    )
    return folder


@pytest.fixture
def known(trained: Path, workspace: Path) -> Path:
    """Put that model into the test's workspace."""
    return shutil.copytree(trained, workspace / "mlp")


@pytest.fixture
def made_bundle(bundle_of: Callable[[str], Path], tmp_path: Path) -> Path:
    """Return a bundle that a test may damage."""
    return Path(shutil.copytree(bundle_of("onnx"), tmp_path / "bundle"))


@pytest.fixture
def made_model(model_folder: Path, tmp_path: Path) -> Path:
    """Return a model directory that a test may damage."""
    return Path(shutil.copytree(model_folder, tmp_path / "model"))


@pytest.fixture
def csv(tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that writes a table."""

    def write(text: str) -> Path:
        path = tmp_path / "table.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return write

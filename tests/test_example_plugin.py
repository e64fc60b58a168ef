"""examples/plugin, installed as somebody else's package, works from the command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest

EXAMPLE = Path(__file__).parents[1] / "examples" / "plugin"
BMC = (sys.executable, "-c", "from bmc.cli import main; main()")
Run = Callable[..., CompletedProcess[str]]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install a copy of the example, and nothing else, into a folder."""
    source = tmp_path_factory.mktemp("source") / "plugin"
    shutil.copytree(EXAMPLE, source, ignore=shutil.ignore_patterns("__pycache__"))
    target = tmp_path_factory.mktemp("site")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--target"]
    command = [sys.executable, "-m", "pip", "install", *options, str(target), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return target


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a workspace for all tests of this file."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def run(site: Path, home: Path) -> Run:
    """Return a function that runs bmc beside the example, or without it."""

    def command(*arguments: object, installed: bool = True) -> CompletedProcess[str]:
        environment = {**os.environ, "BMC_HOME": str(home), "OMP_NUM_THREADS": "1"}
        environment["PYTHONPATH"] = str(site) if installed else ""
        typed = [str(argument) for argument in arguments]
        return subprocess.run(
            [*BMC, *typed], env=environment, capture_output=True, text=True, check=False
        )

    return command


@pytest.fixture(scope="module")
def trained(run: Run, home: Path) -> Path:
    """Train its family on its data."""
    options = ("--epochs", 4, "--set", "hidden=16", "--device", "cpu", "--precision", "fp32")
    done = run("train", "tcn", "--data", "digit-rows", *options)
    assert done.returncode == 0, done.stderr
    return home / "tcn-digit-rows"


@pytest.fixture(scope="module")
def pruned(run: Run, trained: Path, home: Path) -> Path:
    """Prune that model with its technique."""
    options = ("--ratio", 0.7, "--epochs", 1, "--device", "cpu", "--precision", "fp32")
    done = run("prune", trained, "--method", "lamp", *options)
    assert done.returncode == 0, done.stderr
    return home / "tcn-digit-rows-lamp"


@pytest.fixture(scope="module")
def exported(run: Run, pruned: Path, home: Path) -> Path:
    """Export it to its target, and to ONNX Runtime."""
    done = run("export", pruned, "--target", "onnx-reference,onnx")
    assert done.returncode == 0, done.stderr
    return home / "tcn-digit-rows-lamp-onnx-reference"


def test_lists_name_its_plug_ins(run: Run) -> None:
    assert "tcn" in json.loads(run("models", "--json").stdout)["baselines"]
    data = json.loads(run("datasets", "--json").stdout)["datasets"]
    assert "digit-rows" in {entry["name"] for entry in data}
    assert "target onnx-reference" in json.loads(run("doctor", "--json").stdout)["found"]


def test_its_family_learns_its_data(trained: Path) -> None:
    manifest = json.loads((trained / "bmc.json").read_text())
    assert manifest["family"] == "tcn"
    assert manifest["scores"]["validation_accuracy"] > 0.8
    about = {"package": "bmc-sequences", "version": "0.1.0"}
    assert manifest["plugins"] == [{"kind": "model family", "name": "tcn", **about}]
    assert manifest["data"]["plugins"] == [{"kind": "data set", "name": "digit-rows", **about}]


def test_its_technique_sets_weights_to_zero_and_training_keeps_them(pruned: Path) -> None:
    manifest = json.loads((pruned / "bmc.json").read_text())
    (step,) = manifest["steps"]
    assert step["method"] == "prune/lamp"
    shares = list(step["record"]["parameters"].values())
    assert max(shares) > 0.7 > min(shares)  # the share differs from layer to layer
    from safetensors.numpy import load_file

    weights = load_file(pruned / "model.safetensors")
    kept = [weights[name] for name in step["record"]["parameters"]]
    zeros = sum(int((weight == 0).sum()) for weight in kept)
    assert zeros / sum(weight.size for weight in kept) == pytest.approx(0.7, abs=0.01)


def test_its_target_answers_as_pytorch_does_and_is_checked(run: Run, exported: Path) -> None:
    manifest = json.loads((exported / "manifest.json").read_text())
    assert manifest["target"] == "onnx-reference"
    assert manifest["parity"]["max_error"] < 1e-3
    assert manifest["scores"]["accuracy"]["value"] > 0.8
    done = run("check", exported)
    assert done.returncode == 0, done.stderr


def test_its_bundle_predicts(run: Run, exported: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "series.npy", np.zeros((8, 8), np.float32))
    done = run("predict", exported, tmp_path / "series.npy", "--json")
    assert done.returncode == 0, done.stderr
    assert "label" in done.stdout


def test_a_plain_target_needs_the_plug_in_no_more(run: Run, exported: Path) -> None:
    plain = exported.with_name("tcn-digit-rows-lamp-onnx")
    done = run("check", plain, installed=False)
    assert done.returncode == 0, done.stderr


def test_without_the_package_its_model_directory_and_bundle_name_it(
    run: Run, pruned: Path, exported: Path
) -> None:
    for command in (
        ("prune", pruned, "--method", "unstructured"),
        ("export", pruned, "--target", "onnx", "--force"),
        ("check", exported),
        ("predict", exported, "x.npy"),
    ):
        done = run(*command, installed=False)
        assert done.returncode == 3, done.stderr
        assert "pip install bmc-sequences" in done.stderr.splitlines()[-1]

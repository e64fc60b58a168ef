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
Run = Callable[..., CompletedProcess[str]]
RunCode = Callable[..., CompletedProcess[str]]
RunAll = Callable[..., list[tuple[int, str, str]]]
_ALL = """
import contextlib, io, json, sys
from bmc import cli
results = []
for words in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.run(words)
    results.append((code, out.getvalue(), err.getvalue()))
print(json.dumps(results))
"""


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
def run_code(site: Path, home: Path) -> RunCode:
    """Return a function that runs Python code next to the example, or without it."""

    def run(code: str, *arguments: str, installed: bool = True) -> CompletedProcess[str]:
        environment = {**os.environ, "BMC_HOME": str(home), "OMP_NUM_THREADS": "1"}
        environment["PYTHONPATH"] = str(site) if installed else ""
        command = [sys.executable, "-c", code, *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    return run


@pytest.fixture(scope="module")
def run(run_code: RunCode) -> Run:
    """Return a function that runs bmc next to the example, or without it."""

    def command(*arguments: object, installed: bool = True) -> CompletedProcess[str]:
        typed = map(str, arguments)
        return run_code("from bmc.cli import main; main()", *typed, installed=installed)

    return command


@pytest.fixture(scope="module")
def run_all(run_code: RunCode) -> RunAll:
    """Return a function that runs several commands in one process: exit code and output of each.

    Importing torch takes longer than what the commands do.
    """

    def commands(*typed: tuple[object, ...], installed: bool = True) -> list[tuple[int, str, str]]:
        words = [[str(word) for word in command] for command in typed]
        done = run_code(_ALL, json.dumps(words), installed=installed)
        assert done.returncode == 0, done.stderr
        return [(code, out, err) for code, out, err in json.loads(done.stdout)]

    return commands


@pytest.fixture(scope="module")
def results(run_all: RunAll, home: Path) -> list[tuple[int, str, str]]:
    """Train its family on its data, prune with its technique, export to its target and to ONNX.

    Then list models, data sets and what is installed.
    """
    quick = ("--device", "cpu", "--precision", "fp32")
    model, pruned = home / "tcn-digit-rows", home / "tcn-digit-rows-lamp"
    return run_all(
        ("train", "tcn", "--data", "digit-rows", "--epochs", 4, "--set", "hidden=16", *quick),
        ("prune", model, "--method", "lamp", "--ratio", 0.7, "--epochs", 1, *quick),
        ("export", pruned, "--target", "onnx-reference,onnx"),
        *((verb, "--json") for verb in ("models", "datasets", "doctor")),
    )


@pytest.fixture(scope="module")
def made(results: list[tuple[int, str, str]], home: Path) -> Path:
    """Return the workspace with what was made."""
    assert [code for code, _, _ in results[:3]] == [0, 0, 0], results
    return home


@pytest.fixture(scope="module")
def trained(made: Path) -> Path:
    """Return the trained model."""
    return made / "tcn-digit-rows"


@pytest.fixture(scope="module")
def pruned(made: Path) -> Path:
    """Return the pruned model."""
    return made / "tcn-digit-rows-lamp"


@pytest.fixture(scope="module")
def exported(made: Path) -> Path:
    """Return the bundle for its target."""
    return made / "tcn-digit-rows-lamp-onnx-reference"


def test_lists_name_its_plug_ins(results: list[tuple[int, str, str]]) -> None:
    models, data, doctor = (json.loads(out) for _, out, _ in results[3:])
    assert "tcn" in models["baselines"]
    assert "digit-rows" in {entry["name"] for entry in data["datasets"]}
    assert "target onnx-reference" in doctor["found"]


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
    run_all: RunAll, pruned: Path, exported: Path
) -> None:
    commands: list[tuple[object, ...]] = [
        ("prune", pruned, "--method", "unstructured"),
        ("export", pruned, "--target", "onnx", "--force"),
        ("check", exported),
        ("predict", exported, "x.npy"),
    ]
    for code, _, err in run_all(*commands, installed=False):
        assert code == 3, err
        assert "pip install bmc-sequences" in err.splitlines()[-1]

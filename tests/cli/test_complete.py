"""Shell completion: without torch, and silent where a folder cannot be read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli._refusals import BMC

HEAVY = ("torch", "numpy", "pydantic")


def asked(line: str, **more: str) -> dict[str, str]:
    """Return the variables by which bash asks; what is to be completed is the last word."""
    words = line.split(" ")
    count = {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    return {**os.environ, **count, "_BMC_COMPLETE": "complete_bash", **more}


def completed(line: str, **more: str) -> list[str]:
    done = subprocess.run(
        BMC, env=asked(line, **more), capture_output=True, text=True, check=False, timeout=300
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.fixture
def kept(workspace: Path) -> Path:
    for name, manifest in (("mine", "bmc.json"), ("other", "bmc.json"), ("b", "manifest.json")):
        (workspace / name).mkdir(parents=True)
        (workspace / name / manifest).write_text("{}")
    return workspace


_COMPLETIONS: dict[str, set[str]] = {
    "bmc qu": {"quantize"},
    "bmc quantize ": {"mine", "other"},
    "bmc check ": {"b"},
    "bmc bench b ": {"b"},
    "bmc inspect ": {"mine", "other", "b"},
    "bmc quantize mine --method s": {"static"},
    "bmc prune --method un": {"unstructured"},
    "bmc export mine --target open": {"openvino"},
    "bmc export mine --target onnx,open": {"onnx,openvino"},
    "bmc train resnet": {"resnet18", "resnet34", "resnet50"},
    "bmc train --data fash": {"fashion-mnist"},
    "bmc train --schedule co": {"cosine"},
    "bmc datasets dig": {"digits"},
    "bmc distill --student ": {"tiny", "mini", "small", "ngram"},
    "bmc distill --student mini --set la": {"layers="},
    "bmc share --method lowrank --set en": {"energy="},
    "bmc quantize --set calib": {"calibrator="},
    "bmc quantize --method qat --set calib": {"calibrator="},  # declared by static
    "bmc train mlp --set dep": {"depth="},
    "bmc export --allow": {"--allow-slower"},
    "bmc train bert --set nothing": set(),
}
_COMPLETE_ALL = """
import contextlib, io, json, os, sys
from bmc.cli import main
for line in json.loads(sys.argv[1]):
    os.environ.update(COMP_WORDS=line, COMP_CWORD=str(line.count(" ")))
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
        main()
    print(json.dumps(out.getvalue().split()))
"""


def test_a_shell_completes(kept: Path) -> None:
    """In one process: each line would take a start of Python."""
    done = subprocess.run(
        [sys.executable, "-c", _COMPLETE_ALL, json.dumps([*_COMPLETIONS])],
        env=asked("bmc "),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    completions = [set(json.loads(line)) for line in done.stdout.splitlines()]
    assert dict(zip(_COMPLETIONS, completions, strict=True)) == _COMPLETIONS


@pytest.mark.parametrize(
    "line", ["bmc ", "bmc quantize ", "bmc share --set ", "bmc train mlp --se"]
)
def test_a_completion_imports_nothing_heavy(kept: Path, line: str) -> None:
    """benchmarks/startup.py measures the time that this saves."""
    code = (
        "import sys\n"
        "from bmc.cli import main\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        f"    heavy = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "    print(*heavy, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=asked(line), capture_output=True, text=True, check=True
    )
    assert done.stderr.split() == []


def test_a_workspace_without_rights_completes_nothing(kept: Path) -> None:
    """Root may read everything: it becomes somebody else once all code is imported."""
    code = (
        "import contextlib, os\n"
        "from bmc.cli import main\n"
        "with contextlib.suppress(SystemExit):\n"
        "    main()\n"
        "print('then', flush=True)\n"
        "if os.geteuid() == 0:\n"
        "    os.setuid(65534)\n"
        "main()\n"
    )
    command = [sys.executable, "-c", code]
    kept.chmod(0)
    try:
        done = subprocess.run(
            command, env=asked("bmc quantize "), capture_output=True, text=True, check=False
        )
    finally:
        kept.chmod(0o700)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.partition("then")[2].strip() == ""


def test_a_workspace_that_is_a_file_or_gone_completes_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for home in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / "gone"):
        assert completed("bmc quantize ", BMC_HOME=str(home)) == []


def test_a_shell_that_shows_help_gets_each_option_in_one_line() -> None:
    environment = {
        **os.environ,
        "_TYPER_COMPLETE_ARGS": "bmc quantize --",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        "_BMC_COMPLETE": "complete_fish",
    }
    done = subprocess.run(BMC, env=environment, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert all(line.startswith("--") for line in lines)
    assert any(line.startswith("--method\tstatic is int8") for line in lines)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_is_shown(shell: str, tmp_path: Path) -> None:
    """Which shell asks is found by the processes above; a test has none."""
    environment = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    command = [*BMC, "--show-completion", shell]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "_BMC_COMPLETE" in done.stdout


def test_completion_is_installed_in_the_home_of_the_user(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1",
    }
    command = [*BMC, "--install-completion", "bash"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "_BMC_COMPLETE" in (tmp_path / ".bash_completions" / "bmc.sh").read_text()

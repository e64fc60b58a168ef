"""Which package imports which: the contract holds, and its picture is up to date."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_every_package_imports_only_what_stands_below_it() -> None:
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"
    done = run("-c", code)
    assert done.returncode == 0, done.stdout
    assert " 0 broken" in done.stdout


def test_the_picture_and_the_table_show_the_imports_that_there_are() -> None:
    done = run("tools/architecture.py", "--check")
    assert done.returncode == 0, done.stdout

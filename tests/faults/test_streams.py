"""A command's streams may be closed, full, narrow or left: that is one line, never a crash."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

BMC = f"{sys.executable} -c 'from bmc.cli import main; main()'"


def shell(line: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a shell line in which BMC is the command."""
    command = ["bash", "-o", "pipefail", "-c", line.replace("BMC", BMC)]
    variables = {**os.environ, **environment}
    return subprocess.run(
        command, cwd=folder, env=variables, capture_output=True, timeout=300, check=False
    )


def one_line(done: subprocess.CompletedProcess[bytes]) -> str:
    lines = done.stderr.decode().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("bmc: ")
    return lines[0]


@pytest.mark.parametrize("command", ["models", "--help"])
def test_a_reader_that_leaves_ends_a_command_quietly(tmp_path: Path, command: str) -> None:
    done = shell(f"BMC {command} | true", tmp_path)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("command", ["models", "--help"])
def test_a_full_or_closed_stdout_is_one_line_and_exit_2(tmp_path: Path, command: str) -> None:
    full = shell(f"BMC {command} > /dev/full", tmp_path)
    assert full.returncode == 2
    assert "could not be printed" in one_line(full)
    assert "no space left" in one_line(full).lower()
    closed = shell(f"BMC {command} >&-", tmp_path)
    assert closed.returncode == 2
    assert "stdout is closed" in one_line(closed)


NOISY = """
import contextlib, functools, os, sys
from bmc import cli, console
from bmc.cli import models
real = models.models
@functools.wraps(real)
def noisy(*arguments, **options):
    print("from Python")
    with contextlib.suppress(OSError):
        os.write(1, b"from C++\\n")
        os.write(2, b"to stderr\\n")
    console.note("a note")
    return real(*arguments, **options)
models.models = noisy
cli.main(["models", "--json"])
"""


def test_json_is_one_document_whatever_libraries_print_and_whichever_stream_is_closed(
    tmp_path: Path,
) -> None:
    script = tmp_path / "noisy.py"
    script.write_text(NOISY)
    for closed in ("2>&-", "2>/dev/full"):
        done = shell(f"{sys.executable} {script} {closed}", tmp_path)
        assert done.returncode == 0, done.stderr
        assert "baselines" in json.loads(done.stdout)


def test_an_ascii_terminal_gets_escapes(tmp_path: Path) -> None:
    done = shell("BMC predict größe 'ein Text'; BMC models", tmp_path, PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert r"gr\xf6" in one_line(done)
    assert b"bert" in done.stdout


def test_a_working_folder_that_was_removed_is_said(tmp_path: Path) -> None:
    done = shell('mkdir gone; cd gone; rmdir "$PWD"; BMC models', tmp_path)
    assert done.returncode == 2
    assert "working folder was removed" in one_line(done)


STOPPED = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may ignore them
signal.signal(signal.SIGHUP, signal.SIG_DFL)
import sys, time
from pathlib import Path
from bmc import cli, writing
from bmc.cli import models
def slow():
    "Wait."
    with writing.new_folder(Path("out")), writing.scratch():
        print("started", file=sys.stderr, flush=True)
        time.sleep(60)
models.models = slow
cli.main(["models"])
"""


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_stopped_command_removes_what_it_was_writing(
    tmp_path: Path, number: int, code: int
) -> None:
    (tmp_path / "tmp").mkdir()
    (tmp_path / "work").mkdir()
    command = [sys.executable, "-c", STOPPED]
    variables = {**os.environ, "TMPDIR": str(tmp_path / "tmp")}
    with subprocess.Popen(
        command, cwd=tmp_path / "work", env=variables, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stderr
        assert running.stderr.readline() == "started\n"
        time.sleep(0.1)
        running.send_signal(number)
        _, err = running.communicate(timeout=300)
    assert (running.returncode, err) == (code, "bmc: stopped. Nothing was kept\n")
    assert [*(tmp_path / "work").iterdir(), *(tmp_path / "tmp").iterdir()] == []

"""Outputs: written alone, whole or not at all; what a killed command left is mended by the next."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bmc import writing
from bmc.errors import StorageError, UsageError


def made_by_bmc(folder: Path, content: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(content)
    return folder


def test_a_folder_appears_when_its_block_ends_well(tmp_path: Path) -> None:
    output = tmp_path / "deep" / "out"
    with writing.new_folder(output) as folder:
        (folder / "a").write_text("1")
        assert not output.exists()
    assert (output / "a").read_text() == "1"
    assert os.listdir(output.parent) == ["out"]


def test_a_failed_block_leaves_nothing_or_the_old_folder(tmp_path: Path) -> None:
    def fail(output: Path, force: bool) -> None:
        with writing.new_folder(output, force) as folder:
            (folder / "half").touch()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail(tmp_path / "out", force=False)
    assert not list(tmp_path.iterdir())
    old = made_by_bmc(tmp_path / "old", "old")
    with pytest.raises(ZeroDivisionError):
        fail(old, force=True)
    assert os.listdir(tmp_path) == ["old"]
    assert (old / "manifest.json").read_text() == "old"


def test_a_killed_command_leaves_the_old_folder(tmp_path: Path) -> None:
    old = made_by_bmc(tmp_path / "old", "old")
    script = (
        "import os, pathlib, signal, sys\n"
        "from bmc.writing import new_folder\n"
        "with new_folder(pathlib.Path(sys.argv[1]), force=True) as folder:\n"
        "    (folder / 'manifest.json').write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(old)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert (old / "manifest.json").read_text() == "old"


def test_an_output_that_exists_is_replaced_only_by_force(tmp_path: Path) -> None:
    old = made_by_bmc(tmp_path / "old", "old")
    with pytest.raises(UsageError, match="--force replaces it"):
        writing.refuse_existing(old, force=False)
    with writing.new_folder(old, force=True) as folder:
        (folder / "new").touch()
    assert os.listdir(old) == ["new"]
    assert os.listdir(tmp_path) == ["old"]


def test_force_never_replaces_what_bmc_did_not_write(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").touch()
    (tmp_path / "file").touch()
    for name in ("thesis", "file"):
        with pytest.raises(UsageError, match="nothing that bmc wrote"):
            writing.refuse_existing(tmp_path / name, force=True)


def test_a_place_below_a_file_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"file is no folder"):
        writing.refuse_existing(tmp_path / "file" / "deep" / "out", force=False)


def test_a_full_disk_is_recognised_and_the_place_named(tmp_path: Path) -> None:
    def write(folder: Path) -> None:
        with Path("/dev/full").open("wb") as file:  # every write there fails with ENOSPC
            file.write(b"1")
        raise AssertionError(folder)

    with (
        pytest.raises(StorageError, match=r"disk is full: .*out could not be written"),
        writing.new_folder(tmp_path / "out") as folder,
    ):
        write(folder)
    assert not list(tmp_path.iterdir())


def test_a_file_is_replaced_in_one_step_or_stays(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    writing.write_atomically(path, b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(StorageError, match=r"disk is full: .*checkpoint"):
            writing.write_atomically(path, b"new" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["checkpoint"]
    writing.write_atomically(path, b"new")
    assert path.read_bytes() == b"new"

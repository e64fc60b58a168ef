"""Outputs: written alone, whole or not at all; what a killed command left is mended by the next."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from bmc import disk, files, workspace, writing
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
        with pytest.raises(UsageError, match="was not written by bmc"):
            writing.refuse_existing(tmp_path / name, force=True)


def test_a_place_below_a_file_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"file is not a folder"):
        writing.refuse_existing(tmp_path / "file" / "deep" / "out", force=False)


def test_a_full_disk_is_recognized_and_the_place_named(tmp_path: Path) -> None:
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


def test_what_is_written_is_on_the_disk_before_it_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other tests write without syncing; this one counts what a power cut would find."""
    done: list[str] = []

    def synced(descriptor: int) -> None:
        done.append(os.readlink(f"/proc/self/fd/{descriptor}"))

    def watch(operation: str, path: Path) -> None:
        if operation == "rename":
            done.append(f"rename to {path.name}")

    monkeypatch.setattr(os, "fsync", synced)
    disk.watch(watch)
    try:
        writing.write_atomically(tmp_path / "file", b"new")
        with writing.new_folder(tmp_path / "folder") as folder:
            (folder / "a").write_text("1")
    finally:
        disk.unwatch(watch)
    file, renamed, parent, *rest = done
    assert Path(file).name.startswith(".file.")
    assert (renamed, parent) == ("rename to file", str(tmp_path))
    assert rest == [str(folder / "a"), str(folder), "rename to folder", str(tmp_path)]


def in_a_child(act: Callable[[], object]) -> int:
    """Run a function in a forked process; return its exit code (negative: the signal)."""
    child = os.fork()
    if not child:
        with suppress(BaseException):
            act()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def write_and(act: Callable[[], object], output: Path) -> None:
    with writing.new_folder(output, force=True) as folder:
        (folder / "manifest.json").write_text("new")
        act()


def test_one_command_at_a_time_writes_an_output_and_the_other_hears_which(tmp_path: Path) -> None:
    output = tmp_path / "deep" / "out"
    ready, go = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        with writing.new_folder(output):
            os.write(ready[1], b"1")
            os.read(go[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    for attempt in (writing.hold, lambda path: write_and(lambda: None, path)):
        with pytest.raises(UsageError, match=rf"being written by another bmc command.*{child}\)"):
            attempt(output)
    os.write(go[1], b"1")
    os.waitpid(child, 0)
    assert os.listdir(tmp_path / "deep") == ["out"]


def test_a_command_holds_its_outputs_until_it_ends(tmp_path: Path) -> None:
    output = tmp_path / "out"

    def fails() -> None:
        with pytest.raises(UsageError, match="another bmc command"):
            writing.hold(output)
        die()

    with writing.command():
        writing.hold(output)
        write_and(lambda: None, output)
        assert in_a_child(fails) == -signal.SIGKILL
    assert os.listdir(tmp_path) == ["out"]


def test_what_killed_commands_left_goes_with_the_next_one_and_a_living_ones_stays(
    tmp_path: Path,
) -> None:
    assert in_a_child(lambda: write_and(die, tmp_path / "killed")) == -signal.SIGKILL
    assert len(os.listdir(tmp_path)) == 2  # its lock and its folder

    def next_one() -> None:
        write_and(lambda: None, tmp_path / "one")
        assert len(os.listdir(tmp_path)) == 3  # out, its lock and its folder live
        die()

    write_and(lambda: in_a_child(next_one), tmp_path / "out")
    assert sorted(os.listdir(tmp_path)) == ["one", "out"]


def test_temporary_folders_of_killed_commands_go_with_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def work() -> None:
        with writing.scratch() as folder:
            (folder / "large").touch()
            die()

    (tmp_path / "bmc-notes").mkdir()  # a user's
    assert in_a_child(work) == -signal.SIGKILL
    with writing.scratch() as folder:
        assert sorted(os.listdir(folder)) == []
        assert len(os.listdir(tmp_path)) == 3
    assert os.listdir(tmp_path) == ["bmc-notes"]


def test_where_names_cannot_be_swapped_a_killed_replacement_is_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = made_by_bmc(tmp_path / "old", "old")
    monkeypatch.setattr(disk, "exchange", lambda item, other: False)
    seen: list[Path] = []

    def watch(operation: str, path: Path) -> None:
        if operation == "rename":
            seen.append(path)
            if len(seen) == 2:
                die()

    disk.watch(watch)
    try:
        assert in_a_child(lambda: write_and(lambda: None, old)) == -signal.SIGKILL
    finally:
        disk.unwatch(watch)
    assert not old.exists()
    assert workspace.find(str(old), "bundle") == old
    assert (old / "manifest.json").read_text() == "old"
    write_and(lambda: None, old)
    assert (old / "manifest.json").read_text() == "new"
    assert os.listdir(tmp_path) == ["old"]


def test_what_is_written_has_the_mode_that_the_umask_leaves(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with writing.new_folder(tmp_path / "out") as folder:
            (folder / "deep").mkdir()
            (folder / "deep" / "private").touch(mode=0o600)
        with writing.replacing(tmp_path / "file") as path:
            path.unlink()
            path.touch(mode=0o600)
    finally:
        os.umask(before)
    modes = {name: (tmp_path / name).stat().st_mode & 0o777 for name in ("out", "file")}
    assert modes == {"out": 0o750, "file": 0o640}
    assert (tmp_path / "out" / "deep" / "private").stat().st_mode & 0o777 == 0o640


def test_a_stale_failure_goes_when_the_output_is_written(tmp_path: Path) -> None:
    made_by_bmc(tmp_path / "out.failed", "slower")
    write_and(lambda: None, tmp_path / "out")
    assert os.listdir(tmp_path) == ["out"]


def test_checkpoints_older_than_their_output_go_with_the_next_command(tmp_path: Path) -> None:
    checkpoints = tmp_path / ".checkpoints"
    for name in ("done", "stopped"):
        (checkpoints / name).mkdir(parents=True)
        (checkpoints / name / "checkpoint.safetensors").touch()
    made_by_bmc(tmp_path / "done", "new")
    made_by_bmc(tmp_path / "stopped", "old")
    os.utime(tmp_path / "stopped" / "manifest.json", (0, 0))
    write_and(lambda: None, tmp_path / "out")
    assert os.listdir(checkpoints) == ["stopped"]


def test_checkpoints_that_were_being_removed_go_with_the_next_command(tmp_path: Path) -> None:
    (tmp_path / ".checkpoints" / "out").mkdir(parents=True)
    disk.watch(watch := lambda operation, path: die() if operation == "unlink" else None)
    try:
        removing = in_a_child(lambda: writing.remove(tmp_path / ".checkpoints" / "out"))
    finally:
        disk.unwatch(watch)
    assert removing == -signal.SIGKILL
    write_and(lambda: None, tmp_path / "other")
    assert os.listdir(tmp_path) == ["other"]


def test_what_openvino_says_of_a_full_disk_is_understood(tmp_path: Path) -> None:
    message = RuntimeError("basic_ios::clear: iostream error")

    def fails(output: Path) -> None:
        with writing.new_folder(output):
            raise message

    with pytest.raises(StorageError, match="out could not be written: the disk is full or fails"):
        fails(tmp_path / "out")


def test_a_link_as_output_leads_to_where_the_folder_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    made_by_bmc(tmp_path / "large" / "real", "old")
    (tmp_path / "here" / "link").symlink_to(tmp_path / "large" / "real")
    write_and(lambda: None, tmp_path / "here" / "link")
    assert (tmp_path / "here" / "link").is_symlink()
    assert (tmp_path / "large" / "real" / "manifest.json").read_text() == "new"
    assert [os.listdir(tmp_path / name) for name in ("here", "large")] == [["link"], ["real"]]


@pytest.mark.parametrize("name", ["n" * 300, "ü" * 120, "n" * 300 + "/out"])
def test_a_name_that_is_too_long_is_refused_before_any_work(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="name a shorter one"):
        writing.refuse_existing(tmp_path / name, force=False)


def test_a_file_that_cannot_be_read_is_said_as_that(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    secret = tmp_path / "secret.csv"
    secret.touch(mode=0o000)
    secret.chmod(0)
    denied = PermissionError(13, "Permission denied", str(secret))

    def as_nobody() -> None:
        if os.getuid() == 0:
            os.setuid(65534)
        message = str(files.storage_error(denied, tmp_path / "out"))
        if message.startswith(f"{secret} cannot be read (permission denied)") or not os.access(
            tmp_path, os.X_OK
        ):
            die()

    assert in_a_child(as_nobody) == -signal.SIGKILL

"""What tests of refusals share: how one must look, and ways to bring one about."""

from __future__ import annotations

import contextlib
import json
import resource
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

from bmc import files

Run = Callable[..., tuple[int, str, str]]
Blocked = Callable[..., CompletedProcess[str]]
BMC = (sys.executable, "-c", "from bmc.cli import main; main()")


def refused(result: tuple[int, str, str], *words: str, code: int = 2) -> str:
    """Check that a command was refused in one line that holds these words; return the line."""
    actual, out, err = result
    lines = err.splitlines()
    assert actual == code, err
    assert out == ""
    assert lines, "nothing on stderr"
    assert lines[-1].startswith("bmc: "), err
    assert not any(line.startswith("bmc: ") for line in lines[:-1]), err
    assert "Traceback" not in err
    assert "bug in bmc" not in err, err
    for word in words:
        assert word in lines[-1], lines[-1]
    return lines[-1]


def contents(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file below a folder."""
    return files.sha256_of_folder(folder, leave_out="") if folder.exists() else {}


def edit(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@contextlib.contextmanager
def room_for_files_of(size: int) -> Iterator[None]:
    """Let no file grow beyond `size` bytes: the kernel then refuses writes as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

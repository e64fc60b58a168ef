"""The example of a web page: its packages, once for a machine; the page, built and served."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests._pages import ROOT

EXAMPLE = ROOT / "examples" / "browser"
_PACKAGES = ("package.json", "package-lock.json", ".npmrc")
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def copied(folder: Path) -> Path:
    """Copy the example, and link its packages into the copy; skip the test without node 20.11."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("node and npm are not installed (Debian 13: apt-get install nodejs npm)")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True).stdout.strip()
    if tuple(map(int, version.removeprefix("v").split(".")[:2])) < (20, 11):
        pytest.skip(f"node {version} is too old: the example needs 20.11 or newer")
    ignored = shutil.ignore_patterns("node_modules", "dist", "__pycache__")
    shutil.copytree(EXAMPLE, folder, ignore=ignored)
    (folder / "node_modules").symlink_to(_modules())
    return folder


def browser() -> str:
    """Return the path of Chromium; skip the test without one."""
    found = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if not found:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    return found


@contextmanager
def served(folder: Path, *options: str) -> Iterator[str]:
    """Serve a folder with the example's server, and give its address."""
    command = [sys.executable, str(EXAMPLE / "serve.py"), str(folder), "--port", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait(10)


def _modules() -> Path:
    """Return node_modules as the lock file has them; npm installs them once for a machine."""
    content = b"".join((EXAMPLE / name).read_bytes() for name in _PACKAGES)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bmc-node-modules"
    folder = cache / hashlib.sha256(content).hexdigest()[:16]
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            for name in _PACKAGES:
                shutil.copy(EXAMPLE / name, scratch)
            done = subprocess.run(["npm", "ci"], cwd=scratch, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            _publish(Path(scratch), folder)
    return folder / "node_modules"


def _publish(scratch: Path, folder: Path) -> None:
    """Move the packages to their place, unless another process was faster."""
    ready = scratch.with_name(f"{scratch.name}-ready")
    shutil.move(scratch, ready)
    scratch.mkdir()
    try:
        ready.rename(folder)
    except OSError:
        shutil.rmtree(ready)

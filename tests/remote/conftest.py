"""A device on loopback that this user can log in to."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bmc.remote.parcel import Parcel
from tests import _ssh_server
from tests._ssh_server import Server
from tests.remote._parcels import short_parcel


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Return a server on loopback that `ssh` logs in to with a key."""
    if shutil.which("ssh") is None:
        pytest.skip("the OpenSSH client is not installed")
    folder = tmp_path / "device"
    folder.mkdir()
    with _ssh_server.serving(folder) as server:
        monkeypatch.setenv("PATH", f"{server.write_client()}{os.pathsep}{os.environ['PATH']}")
        yield server


@pytest.fixture
def parcel(bundle_of: Callable[[str], Path]) -> Parcel:
    """Return the small model's ONNX bundle with a runner, for a short measurement."""
    return short_parcel([bundle_of("onnx")])

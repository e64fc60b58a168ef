"""Switch off the telemetry of the packages that bmc uses, before any of them is imported.

ONNX Runtime (1.29 and newer) writes a device id and an event database into the home and temporary
folders and looks up a host; OpenVINO writes a client id into the home folder and sends an event
when it is imported. Both decide once, at their import: afterwards is too late.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_OFF = {
    "ORT_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def switch_off() -> None:
    """Switch telemetry off in this process and in those that it starts.

    A variable that is set already is not changed: it is the choice of the user.
    """
    for name, value in _OFF.items():
        os.environ.setdefault(name, value)
    # OpenVINO has no variable for it. Without this package it takes its own stub, which sends
    # nothing; None makes the import fail as if the package were not installed.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]


@contextmanager
def no_temporary_files() -> Iterator[None]:
    """Import packages, in the block, without a trace in the folder for temporary files.

    torch makes the folder of its compiler's cache there, and dill, which torch imports where it is
    installed, has Python try whether it can write.
    """
    names = (os.environ.get("TMPDIR"), os.environ.get("TEMP"), os.environ.get("TMP"), "/tmp")
    folder = next((name for name in names if name and Path(name).is_dir()), None)
    if folder is None:
        yield
        return
    unknown = tempfile.tempdir is None
    if unknown:
        tempfile.tempdir = folder
    ours = "TORCHINDUCTOR_CACHE_DIR" not in os.environ
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", folder)
    try:
        yield
    finally:
        if unknown:
            tempfile.tempdir = None
        if ours:
            os.environ.pop("TORCHINDUCTOR_CACHE_DIR", None)

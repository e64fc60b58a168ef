"""A service that tests ask: the command itself, in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from pathlib import Path


def start(bundle: Path, *options: str) -> tuple[subprocess.Popen[str], str]:
    """Start `bmc serve` on a free port; return the process and the service's address."""
    command = [sys.executable, "-c", "from bmc.cli import main; main()", "serve", str(bundle)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [*command, "--port", "0", *options], stderr=subprocess.PIPE, text=True, env=environment
    )
    assert process.stderr
    for line in process.stderr:
        if address := re.search(r"http://[\d.:]+", line):
            threading.Thread(target=process.stderr.read, daemon=True).start()
            return process, address[0]
    raise AssertionError(f"it ended with code {process.wait()}")

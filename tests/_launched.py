"""Start a module of Python in two processes of one training, on the CPU."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

_ROOT = Path(__file__).parent.parent


def by_accelerate(*module: str, log: Path) -> subprocess.Popen[bytes]:
    """Start `accelerate launch -m MODULE ARGUMENTS`; what all print goes to a log file."""
    launcher = ("-m", "accelerate.commands.launch", "--multi_gpu", "--num_machines", "1")
    processes = ("--num_processes", "2", "--main_process_port", "0")
    return _started((*launcher, *processes, "-m", *module), {}, log)


def by_hand(*module: str, log: Path) -> list[subprocess.Popen[bytes]]:
    """Start `python -m MODULE ARGUMENTS` twice, with the variables that a launcher sets."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launched = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [_started(("-m", *module), {**launched, "RANK": rank}, log) for rank in ("0", "1")]


def _started(
    arguments: tuple[str, ...], variables: Mapping[str, str], log: Path
) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", **variables}
    with log.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=_ROOT,
            env=environment,
            stdout=file,
            stderr=subprocess.STDOUT,
        )

"""Create environments of peers whose pinned packages conflict with bmc's, when needed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_HERE = Path(__file__).parent


def program(peer: str, name: str) -> Path:
    """Return a program of a peer's environment, which is made first if PEER.txt changed."""
    pins, environment = _HERE / f"{peer}.txt", _HERE / f"env-{peer}"
    stamp = environment / "made-from.txt"
    folder = environment / ("Scripts" if sys.platform == "win32" else "bin")
    if not stamp.is_file() or stamp.read_text() != pins.read_text():
        print(f"making {environment} (about 1.3 GB)", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(environment)], check=True)
        install = [str(folder / "python"), "-m", "pip", "install", "-q", "-r", str(pins)]
        subprocess.run(install, check=True)
        shutil.copyfile(pins, stamp)
    return folder / name


def run_on_rows(
    peer: str,
    program_text: str,
    model: Path,
    batches: Sequence[Mapping[str, NDArray[np.int64]]],
    path: Path,
) -> None:
    """Run a program in a peer's environment: a model and rows (JSON) in, an output file out."""
    rows = path.with_suffix(".json")
    rows.write_text(
        json.dumps([{name: batch[name].tolist() for name in batch} for batch in batches])
    )
    command = [str(program(peer, "python")), "-c", program_text, str(model), str(rows), str(path)]
    subprocess.run(command, check=True, capture_output=True)
    rows.unlink()

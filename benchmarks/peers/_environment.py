"""Create environments of peers whose pinned packages conflict with bmc's, when needed.

They are in this folder, or in the folder that the variable BMC_PEERS names.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_HERE = Path(__file__).parent


def program(peer: str, name: str) -> Path:
    """Return a program of a peer's environment, which is made first if PEER.txt changed."""
    pins, environment = _HERE / f"{peer}.txt", _environment(peer)
    stamp = environment / "made-from.txt"
    folder = environment / ("Scripts" if sys.platform == "win32" else "bin")
    if not is_made(peer):
        print(f"making {environment} (about 1.3 GB)", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(environment)], check=True)
        install = [str(folder / "python"), "-m", "pip", "install", "-q", "-r", str(pins)]
        subprocess.run(install, check=True)
        shutil.copyfile(pins, stamp)
    return folder / name


def is_made(peer: str) -> bool:
    """Tell whether a peer's environment exists, made from the present PEER.txt."""
    stamp = _environment(peer) / "made-from.txt"
    return stamp.is_file() and stamp.read_text() == (_HERE / f"{peer}.txt").read_text()


def _environment(peer: str) -> Path:
    return Path(os.environ.get("BMC_PEERS", _HERE)) / f"env-{peer}"


def run_on_arrays(
    peer: str,
    program_text: str,
    model: Path,
    samples: Sequence[Mapping[str, NDArray[Any]]],
    path: Path,
    *arguments: str,
) -> None:
    """Run a program in a peer's environment: a model and samples (.npz) in, an output file out.

    The array of a sample's input is named INDEX.INPUT.
    """
    arrays = {f"{i:05}.{name}": a for i, sample in enumerate(samples) for name, a in sample.items()}
    run_on_file(peer, program_text, model, arrays, path, *arguments)


def run_on_file(
    peer: str,
    program_text: str,
    model: Path,
    arrays: Mapping[str, NDArray[Any]],
    path: Path,
    *arguments: str,
) -> None:
    """Run a program in a peer's environment: a model and arrays (.npz) in, an output file out."""
    file = path.with_suffix(".npz")
    np.savez(file, **arrays)  # type: ignore[arg-type]
    command = [str(program(peer, "python")), "-c", program_text, str(model), str(file), str(path)]
    subprocess.run([*command, *arguments], check=True, capture_output=True, text=True)
    file.unlink()


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

"""Peer: torchao's PT2E with its quantizer for x86, compiled by `torch.compile`."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from peers._environment import program

_PROGRAM = Path(__file__).with_name("_pt2e_program.py")
Rows = Sequence[NDArray[np.int64]]


def logits_of(folder: Path, calibration: Rows, test: Rows, work: Path) -> NDArray[np.float32]:
    """Quantize a BERT with calibration rows (token ids); return float32 logits of the test rows."""
    rows = _write_rows(calibration, test, work)
    _run("predict", str(folder), str(rows), str(work / "logits.npy"))
    logits: NDArray[np.float32] = np.load(work / "logits.npy")
    return logits


def samples(folder: Path, calibration: Rows, work: Path, threads: int, length: int) -> list[int]:
    """Return the durations of single calls in a fresh process, in nanoseconds."""
    rows = _write_rows(calibration, (), work)
    output = _run("time", str(folder), str(rows), str(threads), str(length))
    return list(json.loads(output.splitlines()[-1]))


def _write_rows(calibration: Rows, test: Rows, work: Path) -> Path:
    """Write the rows to a file for the program in the peer's environment; return its path."""
    work.mkdir(parents=True, exist_ok=True)
    rows = {f"calibration-{index:05}": row for index, row in enumerate(calibration)}
    rows |= {f"test-{index:05}": row for index, row in enumerate(test)}
    np.savez(work / "rows.npz", **rows)  # type: ignore[arg-type]
    return work / "rows.npz"


def _run(*arguments: str) -> str:
    command = [str(program("pt2e", "python")), str(_PROGRAM), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout

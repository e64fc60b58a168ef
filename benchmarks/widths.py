"""How long does ONNX Runtime take for convolutions of 8, 16, 24 and 32 channels?

    python benchmarks/widths.py        (two minutes)

Networks of the shape of bmc's cnn (28x28, two convolutions with ReLU and pooling, a linear layer of
64), untrained, exported as bmc exports, one thread, timed in turn in one process: what is asked is
which channel counts a pruning should leave, not how fast anything is.

Writes benchmarks/results/widths.json.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from _common import finish
from torch import nn

WIDTHS = ((8, 16), (16, 16), (16, 24), (16, 32), (24, 16), (32, 16), (24, 24), (24, 32), (32, 32))
HIDDEN, SIDE = 64, 28
TURNS, CALLS = 12, 200


def main() -> int:
    """Time each network in its turns."""
    argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "").parse_args()
    pixels = np.random.default_rng(0).normal(size=(1, 1, SIDE, SIDE)).astype(np.float32)
    sessions = {widths: _session(*widths) for widths in WIDTHS}
    times: dict[tuple[int, int], list[int]] = {widths: [] for widths in WIDTHS}
    for _ in range(TURNS):
        for widths, session in sessions.items():
            for _ in range(CALLS):
                start = time.perf_counter_ns()
                session.run(None, {"pixels": pixels})
                times[widths].append(time.perf_counter_ns() - start)
    lines = []
    for first, second in WIDTHS:
        multiplications = 9 * SIDE**2 * (first + first * second // 4)
        p50 = float(np.median(times[first, second])) / 1000
        lines.append({"channels": (first, second), "p50_us": p50, "macs": multiplications})
        print(f"{first:3} and {second:3} channels: {p50:6.1f} us, {multiplications:10,} MACs")
    return finish("widths", [], {"found": lines})


def _session(first: int, second: int) -> onnxruntime.InferenceSession:
    network = nn.Sequential(
        *(nn.Conv2d(1, first, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(first, second, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(second * (SIDE // 4) ** 2, HIDDEN), nn.ReLU()),
        nn.Linear(HIDDEN, 10),
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        example = (torch.zeros(1, 1, SIDE, SIDE),)
        torch.onnx.export(
            network.eval(), example, path, input_names=["pixels"], dynamo=True, verbose=False
        )
        return onnxruntime.InferenceSession(path, options)


if __name__ == "__main__":
    sys.exit(main())

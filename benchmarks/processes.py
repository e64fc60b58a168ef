"""How much faster do two processes of one thread train than one, and do they learn the same?

    python benchmarks/processes.py        (8 minutes on two quiet cores)

`bert` (MiniLM, 22.7 M parameters) is fine-tuned on movie reviews, the same steps in each way,
without dropout, in fp32, in fresh processes, in turn:

    one thread      1 process x 1 thread
    two threads     1 process x 2 threads
    two processes   2 processes x 1 thread, which exchange outputs and gradients (Gloo)
    two alone       2 processes x 1 thread, which train the same apart and exchange nothing: the
                    most that two cores allow is twice their work in their time

The machine may be busy otherwise: the CPU time of the slower of two processes says what they would
reach on cores of their own.

Writes benchmarks/results/processes.json. Exit code 1: a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from _common import Bar, finish
from torch import Tensor, nn

from bmc import data as datasets
from bmc.data import Examples
from bmc.training import collective
from bmc.training.batches import Batch
from bmc.training.work import fit_model, label_loss
from bmc.workflows import baselines

WAYS = {"one thread": (1, 1), "two threads": (1, 2), "two processes": (2, 1), "two alone": (2, 1)}
LEAST = 1.7
TOLERANCE = 1e-5
WARM = 2  # steps before the timed ones


def main() -> int:
    """Time each way, and compare the losses."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--worker", type=Path)
    options = parser.parse_args()
    if options.worker:
        return _train(options.worker, options.steps, options.batch_size)
    sizes = ["--steps", str(options.steps), "--batch-size", str(options.batch_size)]
    runs: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for turn in range(options.turns):
        for way in list(WAYS) if turn % 2 == 0 else reversed(list(WAYS)):
            runs[way].append(_run(way, sizes))
            print(f"{way}: {runs[way][-1]['seconds']:.1f} s", flush=True)
    times = {
        name: {way: [run[name] for run in of_way] for way, of_way in runs.items()}
        for name in ("seconds", "cpu_seconds")
    }
    by_clock, by_cpu = (_factors(of_ways) for of_ways in times.values())
    one, two = (runs[way][0]["losses"] for way in ("one thread", "two processes"))
    apart = max(abs(first - second) for first, second in zip(one, two, strict=True))
    bars = [
        Bar(
            f"2 processes train >= {LEAST} x as fast as one",
            f"{by_clock['two processes']:.2f} x; two that exchange nothing "
            f"{by_clock['two alone']:.2f} x, two threads {by_clock['two threads']:.2f} x",
            by_clock["two processes"] >= LEAST,
        ),
        Bar(
            f"each of the 2 takes <= 1 / {LEAST} of the CPU time of one",
            f"1 / {by_cpu['two processes']:.2f}",
            by_cpu["two processes"] >= LEAST,
        ),
        Bar(
            f"the losses of all steps differ by <= {TOLERANCE}", f"{apart:.1e}", apart <= TOLERANCE
        ),
    ]
    content = {**times, "factors": by_clock, "losses": {"one": one, "two": two}}
    settings = {"steps": options.steps, "batch_size": options.batch_size}
    return finish("processes", bars, {**settings, **content})


def _factors(times: Mapping[str, list[float]]) -> dict[str, float]:
    """Return how many times as much each way trains in the time of one thread."""
    middle = {way: statistics.median(of_way) for way, of_way in times.items()}
    factors = {way: middle["one thread"] / middle[way] for way in WAYS}
    return {**factors, "two alone": 2 * factors["two alone"]}  # both have trained the whole


def _run(way: str, sizes: list[str]) -> dict[str, Any]:
    """Train in fresh processes; return the losses, and the seconds of the slowest."""
    count, threads = WAYS[way]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        started = []
        for number in range(count):
            environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
            if way == "two processes":
                address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
                environment |= {"RANK": str(number), "WORLD_SIZE": str(count), **address}
            path = Path(folder) / str(number)
            command = [sys.executable, __file__, "--worker", str(path), *sizes]
            started.append((subprocess.Popen(command, env=environment), path))
        if any(process.wait() for process, _ in started):
            sys.exit(f"{way}: a process failed")
        found = [json.loads(path.read_text()) for _, path in started]
    slowest = {name: max(each[name] for each in found) for name in ("seconds", "cpu_seconds")}
    return {"losses": found[0]["losses"], **slowest}


def _train(path: Path, steps: int, batch_size: int) -> int:
    """Fine-tune for some steps; write the loss of each, and the seconds without the first ones."""
    data = datasets.load("movie-reviews")
    chosen = baselines.choose("bert", {})
    settings = replace(chosen.recipe, epochs=1, batch_size=batch_size, batch_tokens=0)
    settings = replace(settings, precision="fp32", device="cpu", augment=())
    rows = (steps + WARM) * batch_size
    data = replace(
        data,
        train=Examples(data.train.rows[:rows], data.train.labels[:rows]),
        validation=Examples(data.validation.rows[:64], data.validation.labels[:64]),
    )
    torch.manual_seed(0)
    model = baselines.built(chosen, data)
    for layer in model.module.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    of_labels = label_loss(model, data.train.labels, settings)
    losses: list[float] = []
    times: list[tuple[float, float]] = []

    def loss(outputs: Tensor, batch: Batch) -> Tensor:
        value = of_labels(outputs, batch)
        losses.append(float(value.detach()))
        return value

    with tempfile.TemporaryDirectory() as folder:
        fit_model(
            *(model, data, settings, Path(folder)),
            loss=loss,
            after_step=lambda module, done: times.append(
                (time.perf_counter(), time.process_time())
            ),
        )
    seconds, cpu = (end - start for start, end in zip(times[WARM], times[-1], strict=True))
    path.write_text(json.dumps({"seconds": seconds, "cpu_seconds": cpu, "losses": losses}))
    collective.leave()
    return 0


if __name__ == "__main__":
    sys.exit(main())

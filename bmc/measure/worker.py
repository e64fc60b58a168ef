"""The process of one candidate of a bench: `python -m bmc.measure.worker SETTINGS`.

The process loads a bundle, runs one row (the cold start) and prints a JSON line about it. Each line
on stdin then requests a number of calls of a batch size, and the process prints their nanoseconds,
and the energy that they took, as a JSON line.
Between turns the bench stops the whole process, since idle threads that busy-wait would slow other
candidates down.
"""

from __future__ import annotations

import ctypes
import json
import signal
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from bmc import bundle as bundles
from bmc.errors import BmcError
from bmc.inputs import longest_row
from bmc.measure.energy import Meter
from bmc.pipeline import Pipeline
from bmc.targets import RuntimeOptions
from bmc.trust import trusting

_STEADY = 0.03  # relative change of the median between blocks of calls
_UNTIMED_CALLS = 2  # at the start of each turn
_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG


def main() -> None:
    """Serve one candidate until stdin closes."""
    _end_with_parent()
    settings = json.loads(sys.argv[1])
    try:
        with trusting(*settings["codes"]):
            _serve(settings)
    except BmcError as error:
        _send({"error": str(error), "exit_code": error.exit_code})


def _serve(settings: dict[str, Any]) -> None:
    started = time.perf_counter()
    bundle = bundles.read(Path(settings["bundle"]))
    options = RuntimeOptions(settings["threads"], settings["precision"])
    with Pipeline(bundle, options) as pipeline:
        bundle = pipeline.bundle
        pipeline(bundle.encoder.example())
        loaded = time.perf_counter() - started
        requested = settings["length"]
        most = longest_row(bundle.encoder)
        length = requested if most is None else min(requested, most)
        cut = {} if length == requested else {"cut_to": length}
        execution = {**pipeline.session.execution, **cut}
        _send({"load_seconds": loaded, "execution": execution, "peak_mb": peak_memory_mb()})
        golden, _ = bundle.golden()
        batches = settings["batches"]
        inputs_of = {rows: bundle.encoder.sized(golden, rows, length) for rows in batches}
        _warm_up(pipeline, inputs_of[batches[0]], settings["warm_up_seconds"])
        _send({"warm": True})
        meter = Meter()
        for line in sys.stdin:
            turn = json.loads(line)
            inputs = inputs_of[turn["batch"]]
            for _ in range(_UNTIMED_CALLS):
                pipeline.session.run(inputs)
            samples: list[int] = []
            energy = meter.read()
            end = time.perf_counter() + turn["seconds"]
            while len(samples) < turn["calls"] or time.perf_counter() < end:
                before = time.perf_counter_ns()
                pipeline.session.run(inputs)
                samples.append(time.perf_counter_ns() - before)
            microjoules = meter.between(energy, meter.read())
            _send({"nanoseconds": samples, "microjoules": microjoules})


def peak_memory_mb() -> float:
    """Return this process's peak resident memory in MB (10**6 bytes)."""
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    except OSError:
        pass
    import resource  # noqa: PLC0415  missing on Windows; on Linux it may report the parent's peak

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def _end_with_parent() -> None:
    """Let Linux kill this process when the bench dies: a stopped process cannot exit by itself."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)


def _warm_up(pipeline: Pipeline, inputs: dict[str, NDArray[Any]], max_seconds: float) -> None:
    """Run calls until two blocks in a row have similar medians, or for the maximum time."""
    end = time.perf_counter() + max_seconds
    last = 0.0
    while time.perf_counter() < end:
        block = []
        for _ in range(20):
            before = time.perf_counter()
            pipeline.session.run(inputs)
            block.append(time.perf_counter() - before)
        median = statistics.median(block)
        if abs(median - last) < _STEADY * median:
            return
        last = median


def _send(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    main()

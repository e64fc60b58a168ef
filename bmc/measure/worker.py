"""One candidate of a bench, in a process of its own: `python -m bmc.measure.worker SETTINGS`.

It loads a bundle, answers one row (the cold start), says so in one JSON line, and then runs as
many calls as each line on stdin asks for, answering with their nanoseconds. Between its turns the
bench stops the whole process, so that no idle thread spins beside another candidate's turn.
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
from bmc.pipeline import Pipeline
from bmc.targets import RuntimeOptions

_WARM_SECONDS = 2.0
_STEADY = 0.03
_UNCOUNTED = 2
_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG


def main() -> None:
    """Serve one candidate until stdin closes."""
    _end_with_parent()
    settings = json.loads(sys.argv[1])
    try:
        _serve(settings)
    except BmcError as error:
        _say({"error": str(error), "exit_code": error.exit_code})


def _serve(settings: dict[str, Any]) -> None:
    started = time.perf_counter()
    bundle = bundles.read(Path(settings["bundle"]))
    options = RuntimeOptions(settings["threads"], settings["precision"])
    with Pipeline(bundle, options) as pipeline:
        bundle = pipeline.bundle
        pipeline(bundle.encoder.example())
        loaded = time.perf_counter() - started
        wanted = settings["length"]
        length = min(wanted, bundle.encoder.longest().get("sequence", wanted))
        cut = {} if length == wanted else {"cut_to": length}
        execution = {**pipeline.session.execution, **cut}
        _say({"load_seconds": loaded, "execution": execution, "peak_mb": peak_memory_mb()})
        golden, _ = bundle.golden()
        inputs = bundle.encoder.sized(golden, settings["batch"], length)
        _warm(pipeline, inputs)
        _say({"warm": True})
        for line in sys.stdin:
            turn = json.loads(line)
            for _ in range(_UNCOUNTED):
                pipeline.session.run(inputs)
            samples: list[int] = []
            end = time.perf_counter() + turn["seconds"]
            while len(samples) < turn["calls"] or time.perf_counter() < end:
                before = time.perf_counter_ns()
                pipeline.session.run(inputs)
                samples.append(time.perf_counter_ns() - before)
            _say({"nanoseconds": samples})


def peak_memory_mb() -> float:
    """Return this process's peak resident memory in MB."""
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    import resource  # noqa: PLC0415  not on Windows, and on Linux a parent's peak shines through

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def _end_with_parent() -> None:
    """Have Linux kill this process when the bench dies: stopped, it would never see that."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)


def _warm(pipeline: Pipeline, inputs: dict[str, NDArray[Any]]) -> None:
    """Run until two blocks of calls have like medians, or the time for it is over."""
    end = time.perf_counter() + _WARM_SECONDS
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


def _say(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    main()

"""How much time and memory do the command line, a first prediction and a training run take?

    python benchmarks/footprint.py --bundle TINY-ONNX                       (1 minute)
    python benchmarks/footprint.py --bundle TINY-ONNX --run "bmc train bert" --run "bmc distill ..."

`bmc --help` must come within 0.5 s without importing torch; a fresh process that loads the bundle
and answers one sentence must do so within 1 s, in 200 MB at its peak, without torch; each command
of --run must stay below 3 GB. Times are from starting the process, medians of several processes,
after one that is not counted; memory is the peak of the resident set, as the kernel kept it.

Writes benchmarks/results/footprint.json; Linux only. Exit code 1: a bar is not met.
"""

from __future__ import annotations

import argparse
import os
import shlex
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from _common import Bar, finish

from bmc import workspace

PROGRAMS = Path(sys.executable).parent
HELP_SECONDS, ANSWER_SECONDS, ANSWER_MB, RUN_GB = 0.5, 1.0, 200, 3.0
_PREDICT_PROGRAM = """
import sys, bmc
answer = bmc.load(sys.argv[1])("what a film")
status = open("/proc/self/status").read().split("VmHWM:")[1].split()[0]
print("torch" in sys.modules, int(status) / 1024, answer.label)
"""


def main() -> int:
    """Measure, judge."""
    options = _options()
    content: dict[str, Any] = {}
    runs = [_run(command, content) for command in options.run]  # a command can write the bundle
    bars = [
        *_help(options.processes, content),
        *_first_prediction(workspace.find(options.bundle, "bundle"), options.processes, content),
        *runs,
    ]
    return finish("footprint", bars, content)


def _help(processes: int, content: dict[str, Any]) -> list[Bar]:
    program = str(PROGRAMS / "bmc")
    seconds = [_timed([program, "--help"])[0] for _ in range(processes + 1)][1:]
    listing = subprocess.run(
        [sys.executable, "-X", "importtime", program, "--help"],
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    modules = {line.rpartition("|")[2].strip() for line in listing.splitlines()}
    content["help"] = {"seconds": seconds, "modules": len(modules)}
    median = statistics.median(seconds)
    return [
        Bar(f"bmc --help < {HELP_SECONDS} s", f"{median:.2f} s", median < HELP_SECONDS),
        Bar(
            "bmc --help imports bmc and no torch",
            f"{len(modules)} modules",
            "bmc.cli" in modules and "torch" not in modules,
        ),
    ]


def _first_prediction(bundle: Path, processes: int, content: dict[str, Any]) -> list[Bar]:
    command = [sys.executable, "-c", _PREDICT_PROGRAM, str(bundle)]
    timings = [_timed(command) for _ in range(processes + 1)][1:]
    seconds = [timing[0] for timing in timings]
    outputs = [timing[1].split() for timing in timings]
    megabytes = [float(words[1]) for words in outputs]
    content["answer"] = {"bundle": bundle.name, "seconds": seconds, "peak_mb": megabytes}
    median, peak = statistics.median(seconds), max(megabytes)
    return [
        Bar(f"first answer <= {ANSWER_SECONDS} s", f"{median:.2f} s", median <= ANSWER_SECONDS),
        Bar(f"its peak memory <= {ANSWER_MB} MB", f"{peak:.0f} MB", peak <= ANSWER_MB),
        Bar("it imports no torch", outputs[0][0], all(words[0] == "False" for words in outputs)),
    ]


def _run(command: str, content: dict[str, Any]) -> Bar:
    """Run a command, and return the peak memory of the process and its children."""
    path = f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"
    started = time.perf_counter()
    process = subprocess.Popen(shlex.split(command), env={**os.environ, "PATH": path})
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{command}: exit code {process.returncode}")
    gigabytes = usage.ru_maxrss * 1024 / 1e9
    seconds = time.perf_counter() - started
    content.setdefault("runs", []).append(
        {"command": command, "seconds": seconds, "peak_gb": gigabytes}
    )
    return Bar(
        f"{command}: peak memory <= {RUN_GB} GB",
        f"{gigabytes:.2f} GB in {seconds:.0f} s",
        gigabytes <= RUN_GB,
    )


def _timed(command: list[str]) -> tuple[float, str]:
    """Return the seconds from the start of a process to its end, and its output."""
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return time.perf_counter() - started, done.stdout


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--bundle", required=True, help="a bundle, or its name in the workspace")
    parser.add_argument("--run", action="append", default=[], help="a command to run and watch")
    parser.add_argument("--processes", type=int, default=7)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

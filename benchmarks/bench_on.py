"""Does `bmc bench --on` measure on loopback what `bmc bench` measures here?

    python benchmarks/bench_on.py BUNDLE          (10 minutes; leave the machine alone meanwhile)

A bundle is benched here and over ssh on this same machine, alternately, ten times. The 95 %
interval of the ratio of the two medians must contain 1 in at least 9 runs of 10. (An interval that
is exactly right does so with a probability of 0.91.) Without --on an SSH server is started on
loopback, which needs the package asyncssh.

Writes benchmarks/results/bench_on.json. Exit code 1: the bar is not met.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from _common import Bar, finish

from bmc import console, workspace
from bmc.measure import results
from bmc.measure.latency import BenchSettings
from bmc.measure.results import Run
from bmc.measure.scores import Interval
from bmc.measure.shown import with_interval
from bmc.measure.statistics import speed_up
from bmc.remote.destination import Destination
from bmc.remote.parcel import parcel_of
from bmc.remote.session import measure_on

ROOT = Path(__file__).parents[1]
SHARE = 0.9


def main() -> int:
    """Bench here and there, count."""
    options = _options()
    console.set_mode(quiet=True, json=False)
    settings = BenchSettings(launches=options.launches, rounds=options.rounds)
    bundle = workspace.find(options.bundle, "bundle")
    runs = []
    with _device(options.on) as device:
        destination = Destination.read(device)
        for number in range(options.runs):
            measured: dict[str, Run] = {}
            for where in ("here", "there") if number % 2 == 0 else ("there", "here"):
                if where == "here":
                    run = results.measure_bundles([bundle], options.threads, settings)
                else:
                    parcel = parcel_of([bundle], options.threads, settings, "f32")
                    run = measure_on(destination, parcel, options.python)
                measured[where] = run
            runs.append(_ratio(measured["there"], measured["here"]))
            print(f"{number + 1:3}  {with_interval(runs[-1])}", flush=True)
    content = {
        "bundle": bundle.name,
        "threads": options.threads,
        "settings": asdict(settings),
        "ratios": [asdict(ratio) for ratio in runs],
    }
    return finish("bench_on", [_bar(runs)], content)


def _ratio(there: Run, here: Run) -> Interval:
    """Return the ratio of the latencies with the first thread count."""
    return speed_up(there.samples[0].nanoseconds, here.samples[0].nanoseconds)


def _bar(ratios: list[Interval]) -> Bar:
    least = math.ceil(SHARE * len(ratios))
    right = sum(ratio.low <= 1 <= ratio.high for ratio in ratios)
    half = statistics.median((ratio.high - ratio.low) / 2 for ratio in ratios)
    must = f"the interval contains 1 in at least {least} of {len(ratios)} runs"
    return Bar(must, f"{right} (median half width {half:.1%})", right >= least)


@contextmanager
def _device(destination: str | None) -> Iterator[str]:
    """Yield the machine to measure on: a server on loopback, which ends with the block, if None."""
    if destination is not None:
        yield destination
        return
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen(
            [sys.executable, "-m", "tests._ssh_server", folder],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            started = json.loads(server.stdout.readline()) if server.stdout else {}
            os.environ["PATH"] = f"{started['client']}{os.pathsep}{os.environ['PATH']}"
            yield started["destination"]
        finally:
            server.communicate()  # closes its stdin, with which it ends


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("bundle", help="a bundle's folder, or its name in the workspace")
    parser.add_argument("--on", help="user@host[:port] of this machine; a server is started if not")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--launches", type=int, default=BenchSettings.launches)
    parser.add_argument("--rounds", type=int, default=BenchSettings.rounds)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

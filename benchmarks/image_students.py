"""How much does `cnn` gain from `resnet18`, and how good is a pruned int8 `resnet18`?

    python benchmarks/image_students.py cnn                   (60 minutes with the teacher, then 25)
    python benchmarks/image_students.py prune-int8            (30 minutes)
    python benchmarks/image_students.py prune-int8 --latency  (nothing else may run)

cnn: `cnn` by its recipe, taught by resnet18, must be better than the same `cnn` trained alone, over
three seeds, interval above 0.

prune-int8: resnet18 with 0.24x of its MACs and 0.2x of its parameters, then static 8 bits, must
lose at most 0.5 points, be 15 times smaller, and have a 10 times lower p50 in ONNX Runtime or
OpenVINO.

The teacher is trained if the workspace (BMC_HOME, else benchmarks/runs/images) has none. What is
missing is made, what is there is kept. Scores are those of the bundles on the held-out split; a
difference is paired by row and averaged over the seeds, its interval is a bootstrap over the rows.

Writes benchmarks/results/students/ROW.json; without --latency it keeps the times that stand there.
Exit code 1: a bar is not met.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from _common import RUNS, Bar, bmc, finish
from _students import (
    exported,
    is_correct,
    known_latency,
    latency,
    made,
    paired,
    scores_beside,
)

from bmc import workspace
from bmc.measure import scores

TEACHER = "resnet18-fashion-mnist"
DATA = ("--data", "fashion-mnist")
TARGETS = ("onnx", "openvino")


def main() -> int:
    """Make what a row needs, score it, and measure if that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("row", choices=("cnn", "prune-int8"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--latency", action="store_true")
    options = parser.parse_args()
    os.environ.setdefault("BMC_HOME", str(RUNS / "images"))
    home = workspace.root()
    if not (home / TEACHER).is_dir():
        bmc("train", "resnet18", *DATA)
    if options.row == "cnn":
        return _cnn(home, options.seeds)
    return _prune_int8(home, options.latency)


def _cnn(home: Path, seeds: list[int]) -> int:
    teacher = exported(home / TEACHER)
    rows, differences = [], []
    for seed in seeds:
        alone = exported(made(home / f"cnn-alone-{seed}", "train", "cnn", *DATA, "--seed", seed))
        student = ("--teacher", TEACHER, "--student", "cnn", "--seed", seed)
        taught = exported(made(home / f"cnn-taught-{seed}", "distill", *student, *DATA))
        row = scores_beside(taught, teacher)
        rows.append({"seed": seed, **row, "alone": scores_beside(alone, teacher)["accuracy"]})
        differences.append(is_correct(taught) - is_correct(alone))
    won = paired(differences)
    shown = f"{won.value:.2f} [{won.low:.2f}, {won.high:.2f}]"
    bars = [Bar("points won by the teacher, interval above 0", shown, won.low > 0)]
    return finish("students/cnn", bars, {"rows": rows, "points_won": asdict(won)})


def _prune_int8(home: Path, is_measured: bool) -> int:
    limits = ("--target-macs", "0.24x", "--target-params", "0.2x", "--set", "multiple=8")
    training = ("--distill", "--epochs", 4)
    pruned = made(home / "resnet18-pruned", "prune", home / TEACHER, *limits, *training)
    small = made(home / "resnet18-pruned-int8", "quantize", pruned, "--method", "static")
    content: dict[str, Any] = {}
    known = known_latency("students/prune-int8") or {}
    lost, smaller, faster = [], [], []
    for target in TARGETS:
        before, after = exported(home / TEACHER, target), exported(small, target)
        row = scores_beside(after, before)
        points = paired([is_correct(before) - is_correct(after)])
        content[target] = {**row, "points_lost": asdict(points)}
        lost.append(points)
        smaller.append(row["teacher_bytes"] / row["bundle_bytes"])
        if is_measured:
            known[target] = latency(after, before, None)
        if target in known:
            faster.append(known[target]["ratio"])
    content["latency"] = known or None
    worst = max(lost, key=lambda points: points.value)
    bars = [
        Bar("at most 0.5 points lost, in both targets", _with_interval(worst), worst.value <= 0.5),
        Bar("15 times smaller, in both targets", f"{min(smaller):.1f}", min(smaller) >= 15),
    ]
    if faster:
        shown = "; ".join(f"{target} {times['shown']}" for target, times in known.items())
        bars.append(Bar("10 times lower p50", f"{max(faster):.1f}: {shown}", max(faster) >= 10))
    return finish("students/prune-int8", bars, content)


def _with_interval(points: scores.Interval) -> str:
    return f"{points.value:.2f} [{points.low:.2f}, {points.high:.2f}]"


if __name__ == "__main__":
    sys.exit(main())

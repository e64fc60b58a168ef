"""What are BERT's students worth: beside n-grams, in 8 bits, and per millisecond?

    python benchmarks/students.py ngram         (3 minutes; what tiny wins over n-grams)
    python benchmarks/students.py tiny-int8     (6 minutes; tiny in 8 bits, unused words cut)
    python benchmarks/students.py tiny-int8 --margin 11000     (likewise, with more of the words)
    python benchmarks/students.py small-int8    (20 minutes a seed; two layers x 256, 17,000 words)
    python benchmarks/students.py small-int8 --latency         (nothing else may run)

A row goes through the seeds whose teacher and `tiny` benchmarks/distillation.py made; their
workspaces are HOME/seed-N (--home, else benchmarks/runs). What is missing is made, what is there is
kept. Scores are those of the ONNX Runtime bundles on the held-out split. A difference of two models
is paired by row and averaged over the seeds; its interval is a bootstrap over the rows.

--margin is that of `bmc prune --method vocabulary --set max_split=1`: how many unused tokens are
kept, else 1000; 11000 makes files of just under 4.5 MB.

Writes benchmarks/results/students/ROW.json, or ROW-MARGIN.json where a margin is typed; without
--latency it keeps the times that stand there.
Exit code 1: a bar is not met.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import asdict
from pathlib import Path
from statistics import mean
from typing import Any

from _common import HERE, RUNS, Bar, finish
from _students import (
    exported,
    is_correct,
    known_latency,
    latency,
    made,
    paired,
    scores_beside,
)

TEACHER, TINY = "bert-movie-reviews", "tiny-150000"
LENGTH = 32


def main() -> int:
    """Make what a row needs, score it, and measure if that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("row", choices=("ngram", "tiny-int8", "small-int8"))
    parser.add_argument("--home", type=Path, default=RUNS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--margin", type=int)
    parser.add_argument("--latency", action="store_true")
    options = parser.parse_args()
    name = options.row if options.margin is None else f"{options.row}-{options.margin}"
    homes = {seed: options.home / f"seed-{seed}" for seed in options.seeds}
    bundle_of = {"ngram": _ngram, "tiny-int8": _tiny_int8, "small-int8": _small_int8}[options.row]
    students = {}
    for seed, home in homes.items():
        os.environ["BMC_HOME"] = str(home)
        exported(home / TINY)
        students[seed] = bundle_of(seed, home, options.margin)
    pairs = {seed: (students[seed], home / f"{TEACHER}-onnx") for seed, home in homes.items()}
    rows = [{"seed": seed, **scores_beside(*pair)} for seed, pair in pairs.items()]
    over_tiny = paired(
        [is_correct(students[s]) - is_correct(home / f"{TINY}-onnx") for s, home in homes.items()]
    )
    kept = mean(row["accuracy"]["value"] for row in rows) / mean(
        row["teacher_accuracy"]["value"] for row in rows
    )
    megabytes = max(row["bundle_bytes"] for row in rows) / 1e6
    times = known_latency(f"students/{name}")
    if options.latency:
        times = latency(*next(iter(pairs.values())), LENGTH)
    content: dict[str, Any] = {
        "rows": rows,
        "kept_of_teacher": kept,
        "points_over_tiny": asdict(over_tiny),
        "megabytes": megabytes,
        "latency": times,
    }
    bars = {"ngram": _ngram_bars, "tiny-int8": _tiny_bars, "small-int8": _small_bars}[options.row]
    (HERE / "results" / "students").mkdir(exist_ok=True)
    return finish(f"students/{name}", bars(content), content)


def _ngram(seed: int, home: Path, margin: int | None) -> Path:
    student = ("--student", "ngram", "--seed", seed)
    return exported(made(home / "ngram", "distill", "--teacher", TEACHER, *student))


def _tiny_int8(seed: int, home: Path, margin: int | None) -> Path:
    return _quantized(home / TINY, seed, margin)


def _small_int8(seed: int, home: Path, margin: int | None) -> Path:
    size = ("--layers", 2, "--set", "hidden=256", "--vocabulary", 17_000)
    student = ("--student", "small", *size, "--seed", seed)
    model = made(home / "small", "distill", "--teacher", TEACHER, *student)
    static = ("--method", "static", "--seed", seed)
    return exported(made(home / "small-int8", "quantize", model, *static))


def _quantized(model: Path, seed: int, margin: int | None) -> Path:
    """Return the bundle of a model without unused words, in 8 bits."""
    name = model.name if margin is None else f"{model.name}-{margin}"
    settings = ("--set", f"margin={1000 if margin is None else margin}", "--set", "max_split=1")
    method = ("--method", "vocabulary", *settings, "--epochs", 0)
    words = made(model.with_name(f"{name}-words"), "prune", model, *method)
    static = ("--method", "static", "--seed", seed)
    return exported(made(model.with_name(f"{name}-int8"), "quantize", words, *static))


def _ngram_bars(content: dict[str, Any]) -> list[Bar]:
    points = content["points_over_tiny"]
    won, low, high = -points["value"], -points["high"], -points["low"]
    shown = f"{won:.2f} [{low:.2f}, {high:.2f}]"
    return [Bar("tiny is 2 points above n-grams, interval above 0", shown, won >= 2 and low > 0)]


def _tiny_bars(content: dict[str, Any]) -> list[Bar]:
    points, size = content["points_over_tiny"], content["megabytes"]
    shown = f"{points['value']:.2f} [{points['low']:.2f}, {points['high']:.2f}]"
    return [
        Bar("at most 0.3 points below tiny", shown, points["value"] >= -0.3),
        Bar("bundle <= 4.5 MB", f"{size:.2f} MB", size <= 4.5),
    ]


def _small_bars(content: dict[str, Any]) -> list[Bar]:
    kept, size, latency = content["kept_of_teacher"], content["megabytes"], content["latency"]
    bars = [
        Bar("99.5 % of its teacher", f"{100 * kept:.2f} %", kept >= 0.995),
        Bar("bundle <= 7 MB", f"{size:.2f} MB", size <= 7),
    ]
    if latency:
        times = f"{latency['ratio']:.1f}: {latency['shown']}"
        bars.append(Bar("p50 15 times below its teacher's", times, latency["ratio"] >= 15))
    return bars


if __name__ == "__main__":
    sys.exit(main())

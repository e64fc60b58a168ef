"""What are BERT's students worth: beside n-grams, in 8 bits, and per millisecond?

    python benchmarks/students.py ngram         (3 minutes; what tiny wins over n-grams)
    python benchmarks/students.py tiny-int8     (6 minutes; tiny in 8 bits, unused words cut)
    python benchmarks/students.py tiny-int8 --margin 11000     (likewise, with more of the words)
    python benchmarks/students.py small-int8    (30 minutes a seed; small, likewise)
    python benchmarks/students.py small-int8 --latency         (nothing else may run)

A row goes through the seeds whose teacher and `tiny` benchmarks/distillation.py made; their
workspaces are HOME/seed-N (--home, else benchmarks/runs). What is missing is made, what is there is
kept. Scores are those of the ONNX Runtime bundles on the held-out split. A difference of two models
is paired by row and averaged over the seeds; its interval is a bootstrap over the rows.

--margin is that of `bmc prune --method vocabulary`: how many unused tokens are kept; 11000 makes
files of just under 4.5 MB.

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

import numpy as np
from _common import HERE, RUNS, Bar, bmc, finish, result
from numpy.typing import NDArray

from bmc import bundle as bundles
from bmc.files import size_of
from bmc.measure import results, scores
from bmc.measure.latency import BenchSettings
from bmc.measure.shown import with_interval

TEACHER, TINY = "bert-movie-reviews", "tiny-150000"
DRAWS = 10_000
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
        _exported(home / TINY)
        students[seed] = bundle_of(seed, home, options.margin)
    rows = [_scores(seed, home, students[seed]) for seed, home in homes.items()]
    correct = [_correct(homes[seed], students[seed]) for seed in homes]
    over_tiny = _paired([student - tiny for student, tiny, _ in correct])
    kept = mean(row["accuracy"]["value"] for row in rows) / mean(
        row["teacher_accuracy"]["value"] for row in rows
    )
    megabytes = max(row["bundle_bytes"] for row in rows) / 1e6
    content: dict[str, Any] = {
        "rows": rows,
        "kept_of_teacher": kept,
        "points_over_tiny": asdict(over_tiny),
        "megabytes": megabytes,
        "latency": _latency(homes, students) if options.latency else _known(name),
    }
    bars = {"ngram": _ngram_bars, "tiny-int8": _tiny_bars, "small-int8": _small_bars}[options.row]
    (HERE / "results" / "students").mkdir(exist_ok=True)
    return finish(f"students/{name}", bars(content), content)


def _ngram(seed: int, home: Path, margin: int | None) -> Path:
    model = home / "ngram"
    if not model.is_dir():
        student = ("--student", "ngram", "--seed", seed, "--output", model)
        bmc("distill", "--teacher", TEACHER, *student)
    return _exported(model)


def _tiny_int8(seed: int, home: Path, margin: int | None) -> Path:
    return _quantized(home / TINY, seed, margin)


def _small_int8(seed: int, home: Path, margin: int | None) -> Path:
    model = home / "small"
    if not model.is_dir():
        student = ("--student", "small", "--seed", seed, "--output", model)
        bmc("distill", "--teacher", TEACHER, *student)
    _exported(model)
    return _quantized(model, seed, margin)


def _quantized(model: Path, seed: int, margin: int | None) -> Path:
    """Return the bundle of a model without unused words, in 8 bits."""
    name = model.name if margin is None else f"{model.name}-{margin}"
    words = model.with_name(f"{name}-words")
    if not words.is_dir():
        settings = () if margin is None else ("--set", f"margin={margin}")
        method = ("--method", "vocabulary", *settings, "--epochs", 0)
        bmc("prune", model, *method, "--output", words)
    quantized = model.with_name(f"{name}-int8")
    if not quantized.is_dir():
        bmc("quantize", words, "--method", "static", "--seed", seed, "--output", quantized)
    return _exported(quantized)


def _exported(model: Path) -> Path:
    bundle = model.with_name(f"{model.name}-onnx")
    if not bundle.is_dir():
        bmc("export", model, "--target", "onnx", "--allow-slower")
    return bundle


def _scores(seed: int, home: Path, student: Path) -> dict[str, Any]:
    logits, labels = _evaluation(student)
    teacher, _ = _evaluation(home / f"{TEACHER}-onnx")
    return {
        "seed": seed,
        "accuracy": asdict(scores.accuracy(logits, labels)),
        "teacher_accuracy": asdict(scores.accuracy(teacher, labels)),
        "kept": asdict(scores.kept(logits, teacher, labels)),
        "bundle_bytes": size_of(student),
    }


def _correct(home: Path, student: Path) -> tuple[NDArray[np.float64], ...]:
    """Return which rows the student, `tiny` and the teacher classify correctly, 1.0 or 0.0."""
    _, labels = _evaluation(student)
    paths = (student, home / f"{TINY}-onnx", home / f"{TEACHER}-onnx")
    return tuple((_evaluation(p)[0].argmax(axis=1) == labels).astype(np.float64) for p in paths)


def _evaluation(bundle: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    arrays = bundles.read_arrays(bundle / bundles.EVALUATION)
    return arrays["logits"], arrays["labels"]


def _paired(differences: list[NDArray[np.float64]]) -> scores.Interval:
    """Return the mean difference in points; all seeds are scored on the same rows."""
    by_row = 100 * np.mean(differences, axis=0)
    drawn = np.random.default_rng(0).integers(0, len(by_row), (DRAWS, len(by_row)))
    low, high = np.percentile(by_row[drawn].mean(axis=1), [2.5, 97.5])
    return scores.Interval(float(by_row.mean()), float(low), float(high))


def _latency(homes: dict[int, Path], students: dict[int, Path]) -> dict[str, Any]:
    """Time the first seed's student and teacher in turn, at the better of one and two threads."""
    seed = next(iter(homes))
    pair = [students[seed], homes[seed] / f"{TEACHER}-onnx"]
    run = results.measure_bundles(pair, (1, 2), BenchSettings(length=LENGTH))
    best = {row.name: row for row in run.rows if row.best}
    student, teacher = (best[path.name].p50 for path in pair)
    if student is None or teacher is None:
        sys.exit(f"not measured: {run.skipped}")
    shown = f"{with_interval(student)} ms for {with_interval(teacher)} ms"
    times = {"student_p50": asdict(student), "teacher_p50": asdict(teacher), "shown": shown}
    return {**times, "ratio": teacher.value / student.value}


def _known(name: str) -> dict[str, Any] | None:
    """Return the times that were measured before; None where none were."""
    if not (HERE / "results" / "students" / f"{name}.json").is_file():
        return None
    latency: dict[str, Any] | None = result(f"students/{name}")["latency"]
    return latency


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

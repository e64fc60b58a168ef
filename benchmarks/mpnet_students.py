"""How much accuracy does a small student of `mpnet` keep?

    python benchmarks/mpnet_students.py quarter             (2 hours, with the teacher)
    python benchmarks/mpnet_students.py fiftieth            (4 hours, with its assistant)
    python benchmarks/mpnet_students.py fiftieth --seed 0 1 (40 minutes for each further student)
    python benchmarks/mpnet_students.py twelfth             (20 minutes, after quarter)
    python benchmarks/mpnet_students.py quarter --latency   (nothing else may run)

quarter: `bert`, taught on 150,000 unlabeled texts, must keep 98.5 % of mpnet's accuracy, with a
quarter of its file, 4 times faster.

fiftieth: `small` with four layers x 256 and 16,000 words, taught on all 266,577 unlabeled texts by
mpnet and a student of mpnet together, whose tokens it reads and whose layers it starts from, then
in 8 bits, must keep 97 % of mpnet's accuracy in 8.7 MB and 1/50 of its time. The student that helps
is `bert`, taught by mpnet without dropout on 150,000 of them; it is the same for all seeds.

twelfth: `small` with three layers x 256, taught by the student of `quarter` alone, then in 8 bits,
must be above 85.5 %, with 1/12 of the file and of the time of bert.

The teacher and `bert` are trained if the workspace (BMC_HOME, else benchmarks/runs/mpnet) has none.
What is missing is made, what is there is kept. --seed names the seeds of the students, whose scores
are pooled by row; times are those of the first. Settings were chosen on validation rows. Scores are
those of ONNX Runtime bundles on the held-out split.

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
    scores_of_seeds,
)

from bmc import workspace

TEACHER, BERT = "mpnet-movie-reviews", "bert-movie-reviews"
TEXTS, LENGTH = 150_000, 32
TRANSFER = ("--transfer", "imdb", "--transfer-size", TEXTS)
ALL = ("--transfer", "imdb", "--transfer-size", 300_000)


def main() -> int:
    """Make what a row needs, score it, and measure if that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("row", choices=("quarter", "fiftieth", "twelfth"))
    parser.add_argument("--seed", type=int, nargs="+", default=[0])
    parser.add_argument("--latency", action="store_true")
    options = parser.parse_args()
    os.environ.setdefault("BMC_HOME", str(RUNS / "mpnet"))
    home = workspace.root()
    for name, model in ((TEACHER, "mpnet"), (BERT, "bert")):
        if not (home / name).is_dir():
            bmc("train", model)
    teacher, bert = exported(home / TEACHER), exported(home / BERT)
    makers = {"quarter": _quarter, "fiftieth": _fiftieth, "twelfth": _twelfth}
    students = [makers[options.row](home, seed) for seed in options.seed]
    name = f"students/{options.row}"
    times = known_latency(name)
    if options.latency:
        compared = {"mpnet": teacher, "bert": bert}
        times = {which: latency(students[0], other, LENGTH) for which, other in compared.items()}
    content: dict[str, Any] = {
        "seeds": options.seed,
        "over_mpnet": scores_of_seeds(students, teacher),
        "over_bert": scores_of_seeds(students, bert),
        "points_over_mpnet": asdict(
            paired([is_correct(s) - is_correct(teacher) for s in students])
        ),
        "points_over_bert": asdict(paired([is_correct(s) - is_correct(bert) for s in students])),
        "latency": times,
    }
    every = {"quarter": _quarter_bars, "fiftieth": _fiftieth_bars, "twelfth": _twelfth_bars}
    return finish(name, every[options.row](content), content)


def _quarter(home: Path, seed: int) -> Path:
    return exported(_assistant(home, seed))


def _assistant(home: Path, seed: int) -> Path:
    student = ("--student", "bert", "--epochs", 2, "--seed", seed)
    return made(home / f"bert-taught-{seed}", "distill", "--teacher", TEACHER, *TRANSFER, *student)


def _fiftieth(home: Path, seed: int) -> Path:
    learning = ("--dropout", 0, "--epochs", 3, "--batch-size", 128, "--learning-rate", 1e-4)
    helper = home / "bert-nd-0"
    student = ("--student", "bert", *learning, "--seed", 0)
    made(helper, "distill", "--teacher", TEACHER, *TRANSFER, *student)
    taught = ("--teacher", f"{helper},{home / TEACHER}", *ALL, "--epochs", 4)
    return _small(home / f"small4-all-{seed}", taught, 4, seed)


def _twelfth(home: Path, seed: int) -> Path:
    taught = ("--teacher", _assistant(home, seed), *TRANSFER, "--epochs", 5)
    return _small(home / f"small-mpnet-{seed}", taught, 3, seed)


def _small(model: Path, taught: tuple[object, ...], layers: int, seed: int) -> Path:
    size = ("--student", "small", "--layers", layers, "--hidden", 256, "--vocabulary", 16_000)
    small = made(model, "distill", *taught, "--seed", seed, *size)
    return exported(made(small.with_name(f"{small.name}-int8"), "quantize", small))


def _quarter_bars(content: dict[str, Any]) -> list[Bar]:
    scores, times = content["over_mpnet"], content["latency"]
    kept = scores["accuracy"]["value"] / scores["teacher_accuracy"]["value"]
    smaller = scores["teacher_bytes"] / scores["bundle_bytes"]
    bars = [
        Bar("98.5 % of mpnet's accuracy", f"{100 * kept:.2f} %", kept >= 0.985),
        Bar("a quarter of its size", f"{smaller:.2f} times smaller", smaller >= 4),
    ]
    if times:
        ratio, shown = times["mpnet"]["ratio"], times["mpnet"]["shown"]
        bars.append(Bar("4 times faster", f"{ratio:.1f}: {shown}", ratio >= 4))
    return bars


def _fiftieth_bars(content: dict[str, Any]) -> list[Bar]:
    scores = content["over_mpnet"]
    kept = scores["accuracy"]["value"] / scores["teacher_accuracy"]["value"]
    megabytes = scores["bundle_bytes"] / 1e6
    return [
        Bar("97 % of mpnet's accuracy", f"{100 * kept:.2f} %", kept >= 0.97),
        Bar("bundle <= 8.7 MB", f"{megabytes:.2f} MB", megabytes <= 8.7),
        *_faster(content, "mpnet", 50),
    ]


def _twelfth_bars(content: dict[str, Any]) -> list[Bar]:
    scores = content["over_bert"]
    accuracy = scores["accuracy"]["value"]
    smaller = scores["teacher_bytes"] / scores["bundle_bytes"]
    return [
        Bar("accuracy >= 85.5 %", f"{100 * accuracy:.2f} %", accuracy >= 0.855),
        Bar("12 times smaller than bert", f"{smaller:.1f}", smaller >= 12),
        *_faster(content, "bert", 12),
    ]


def _faster(content: dict[str, Any], name: str, factor: int) -> list[Bar]:
    if not content["latency"]:
        return []
    ratio, shown = content["latency"][name]["ratio"], content["latency"][name]["shown"]
    return [Bar(f"{factor} times faster than {name}", f"{ratio:.1f}: {shown}", ratio >= factor)]


if __name__ == "__main__":
    sys.exit(main())

"""How accurate are `lstm` and `textcnn` over word vectors, distilled from `mpnet` or `bert`?

    python benchmarks/word_students.py lstm                   (70 minutes of mpnet, 15 a seed)
    python benchmarks/word_students.py lstm --epochs 6
    python benchmarks/word_students.py textcnn
    python benchmarks/word_students.py lstm --teacher bert    (15 minutes a seed)

`lstm` or `textcnn` over GloVe vectors, by its recipe, taught on 50,000 unlabeled texts, must keep
94 % of its teacher's accuracy, and be better than the same network trained alone, interval above 0.
--epochs are those of the student alone; without it, both have their recipe's.

The teacher is trained if the workspace (BMC_HOME, else benchmarks/runs/words) has none. What is
missing is made, what is there is kept. Settings were chosen on validation rows. Scores are those of
ONNX Runtime bundles on the held-out split; a difference is paired by row and averaged over the
seeds, its interval is a bootstrap over the rows.

Writes benchmarks/results/students/ROW-TEACHER.json. Exit code 1: a bar is not met.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import asdict
from pathlib import Path
from statistics import mean

from _common import RUNS, Bar, bmc, finish
from _students import exported, is_correct, made, paired, scores_beside

from bmc import workspace

TEXTS = 50_000
DATA = "movie-reviews"
VECTORS = ("--set", "vectors=glove-50")


def main() -> int:
    """Score a network that was trained alone and with a teacher, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("row", choices=("lstm", "textcnn"))
    parser.add_argument("--teacher", choices=("mpnet", "bert"), default="mpnet")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int)
    options = parser.parse_args()
    os.environ.setdefault("BMC_HOME", str(RUNS / "words"))
    home = workspace.root()
    name = f"{options.teacher}-{DATA}"
    if not (home / name).is_dir():
        bmc("train", options.teacher)
    teacher = exported(home / name)
    rows, differences = [], []
    for seed in options.seeds:
        alone, taught = _bundles(home, options.row, options.teacher, seed, options.epochs)
        row = scores_beside(taught, teacher)
        rows.append({"seed": seed, **row, "alone": scores_beside(alone, teacher)["accuracy"]})
        differences.append(is_correct(taught) - is_correct(alone))
    won = paired(differences)
    kept = mean(row["accuracy"]["value"] / row["teacher_accuracy"]["value"] for row in rows)
    shown = f"{won.value:.2f} [{won.low:.2f}, {won.high:.2f}]"
    bars = [
        Bar("94 % of its teacher's accuracy", f"{100 * kept:.2f} %", kept >= 0.94),
        Bar("points won by the teacher, interval above 0", shown, won.low > 0),
    ]
    content = {
        "epochs": options.epochs,
        "rows": rows,
        "kept_of_teacher": kept,
        "points_won": asdict(won),
    }
    return finish(f"students/{options.row}-{options.teacher}", bars, content)


def _bundles(
    home: Path, row: str, teacher: str, seed: int, epochs: int | None
) -> tuple[Path, Path]:
    """Return the bundles of a network that is trained alone, and of one that is taught."""
    settings: tuple[object, ...] = (*VECTORS, "--seed", seed)
    alone = ("train", row, "--data", DATA, *settings)
    taught = ("--teacher", f"{teacher}-{DATA}", "--student", row, "--transfer-size", TEXTS)
    name = f"{row}-{teacher}-{seed}"
    if epochs:
        settings, name = (*settings, "--epochs", epochs), f"{name}-{epochs}"
    return (
        exported(made(home / f"{row}-alone-{seed}", *alone)),
        exported(made(home / name, "distill", *taught, *settings)),
    )


if __name__ == "__main__":
    sys.exit(main())

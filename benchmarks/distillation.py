"""Which share of its teacher's accuracy does `tiny` keep, by seed and number of transfer texts?

    python benchmarks/distillation.py --seed 0                            (12 minutes, one row)
    python benchmarks/distillation.py --seed 0 --fresh --transfer-size 30000

One call is one row: the teacher of that seed is trained if the workspace (BMC_HOME, else
benchmarks/runs/seed-N) has none, then distilled with bmc's defaults and --transfer-size texts, and
both are exported to ONNX Runtime and OpenVINO, whose bundles are scored on the held-out split. With
--fresh the student's layers start from random weights, at twice the learning rate. A killed call
resumes when it is typed again.

Writes benchmarks/results/distillation-SEED-SIZE.json, or distillation-SEED-SIZE-fresh.json. Exit
code 1: `tiny` keeps less than 97 % of the accuracy.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from _common import RUNS, Bar, finish
from numpy.typing import NDArray

from bmc import bundle as bundles
from bmc import cli, workspace
from bmc.measure import scores

KEPT = 0.97
TARGETS = ("onnx", "openvino")
FRESH = ("--set", "start=embeddings", "--learning-rate", "2e-3")


def main() -> int:
    """Train the teacher, distill `tiny`, export both, and compare their scores."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--transfer-size", type=int, default=150_000)
    parser.add_argument("--fresh", action="store_true", help="start from random layers")
    options = parser.parse_args()
    os.environ.setdefault("BMC_HOME", str(RUNS / f"seed-{options.seed}"))
    teacher = "bert-movie-reviews"
    row = f"{options.transfer_size}-fresh" if options.fresh else f"{options.transfer_size}"
    tiny = f"tiny-{row}"
    if not (workspace.root() / teacher).is_dir():
        _bmc("train", "bert", "--seed", str(options.seed))
    if not (workspace.root() / tiny).is_dir():
        size = ["--transfer-size", str(options.transfer_size), "--seed", str(options.seed)]
        start = FRESH if options.fresh else ()
        _bmc("distill", "--teacher", teacher, *size, *start, "-o", str(workspace.root() / tiny))
    for name in (teacher, tiny):
        missing = [t for t in TARGETS if not (workspace.root() / f"{name}-{t}").is_dir()]
        if missing:
            _bmc("export", name, "--target", ",".join(missing))
    content: dict[str, object] = {"seed": options.seed, "transfer_texts": options.transfer_size}
    bars = []
    for target in TARGETS:
        teacher_outputs, student_outputs = (
            _evaluation(workspace.root() / f"{name}-{target}") for name in (teacher, tiny)
        )
        kept = scores.kept(
            student_outputs["logits"], teacher_outputs["logits"], student_outputs["labels"]
        )
        content[target] = {
            "teacher_accuracy": asdict(
                scores.accuracy(teacher_outputs["logits"], teacher_outputs["labels"])
            ),
            "tiny_accuracy": asdict(
                scores.accuracy(student_outputs["logits"], student_outputs["labels"])
            ),
            "kept": asdict(kept),
            "agreement": asdict(
                scores.agreement(student_outputs["logits"], teacher_outputs["logits"])
            ),
            "rows": len(student_outputs["labels"]),
        }
        text = f"{kept.value:.4f} [{kept.low:.4f}, {kept.high:.4f}]"
        bars.append(Bar(f"tiny in {target} keeps 97 % of its teacher", text, kept.value >= KEPT))
    return finish(f"distillation-{options.seed}-{row}", bars, content)


def _bmc(*arguments: str) -> None:
    if cli.run(arguments) != 0:
        sys.exit(f"bmc {' '.join(arguments)} failed")


def _evaluation(bundle: Path) -> dict[str, NDArray[Any]]:
    return bundles.read_arrays(bundle / bundles.EVALUATION)


if __name__ == "__main__":
    sys.exit(main())

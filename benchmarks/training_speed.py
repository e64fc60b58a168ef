"""Is bmc's training as fast as a plain PyTorch loop, and as Hugging Face's Trainer?

    pip install accelerate                     (the Trainer needs it, bmc does not)
    python benchmarks/training_speed.py        (15 minutes on two quiet cores)

One epoch of `cnn` on fashion-mnist and of `bert` on movie-reviews, from the same weights, on the
same batches, in bf16 where the processor has it, in turn (A B C, then C B A). The plain loop and
the Trainer get their batches collated beforehand; bmc collates its own, checks every gradient,
writes checkpoints and scores a small validation part at the end, all within its time.

Writes benchmarks/results/training_speed.json. Exit code 1: bmc is slower than one of them by more
than the spread of the turns.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from _common import Bar, finish
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import Trainer, TrainingArguments

from bmc import data as datasets
from bmc.data import Examples
from bmc.model import Model, output_of
from bmc.training.batches import Batch, Rows
from bmc.training.device import has_bf16
from bmc.training.optimizers import optimizer_of, rate_at
from bmc.training.settings import TrainingSettings
from bmc.training.work import fit_model
from bmc.workflows import baselines

CASES = (("cnn", "fashion-mnist"), ("bert", "movie-reviews"))
SLACK = 1.03  # the times of one loop differ by this factor


def main() -> int:
    """Time all three on each case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--turns", type=int, default=2)
    options = parser.parse_args()
    content: dict[str, Any] = {}
    bars: list[Bar] = []
    for name, reference in CASES:
        seconds = _case(name, reference, options.turns)
        content[name] = seconds
        best = {who: min(times) for who, times in seconds.items()}
        for other in ("plain loop", "Trainer"):
            ratio = best["bmc"] / best[other]
            must = f"{name}: one epoch in bmc takes no longer than in the {other}"
            text = f"{best['bmc']:.1f} s against {best[other]:.1f} s"
            bars.append(Bar(must, text, ratio <= SLACK))
    return finish("training_speed", bars, content)


def _case(name: str, reference: str, turns: int) -> dict[str, list[float]]:
    data = datasets.load(reference)
    few = Examples(data.validation.rows[:64], data.validation.labels[:64])
    data = replace(data, validation=few)
    chosen = baselines.choose(name, {})
    settings = replace(chosen.recipe, epochs=1, augment=(), label_smoothing=0.0)
    torch.manual_seed(0)
    model: Model = chosen.network.baseline(name, data, chosen.options)
    rows = Rows(data.train.rows, data.train.labels, model.encoder)
    order = rows.shuffled(settings.batch_size, settings.seed, 0, settings.batch_tokens)
    batches = [rows.batch(places) for places in order]
    methods: dict[str, Callable[[], object]] = {
        "bmc": lambda: _bmc(copy.deepcopy(model), data, settings),
        "plain loop": lambda: _plain(copy.deepcopy(model.module), batches, settings),
        "Trainer": lambda: _trainer(copy.deepcopy(model.module), batches, settings),
    }
    seconds: dict[str, list[float]] = {who: [] for who in methods}
    for turn in range(turns):
        for who in list(methods) if turn % 2 == 0 else reversed(list(methods)):
            started = time.perf_counter()
            methods[who]()
            seconds[who].append(time.perf_counter() - started)
            print(f"{name}: {who}: {seconds[who][-1]:.1f} s", flush=True)
    medians = {who: statistics.median(times) for who, times in seconds.items()}
    print(name, medians)
    return seconds


def _bmc(model: Model, data: datasets.Dataset, settings: TrainingSettings) -> None:
    with tempfile.TemporaryDirectory() as folder:
        fit_model(model, data, settings, Path(folder))


def _plain(module: nn.Module, batches: Sequence[Batch], settings: TrainingSettings) -> None:
    """Train as the tutorials do: forward, loss, backward, clip, step."""
    module.train()
    optimizer = optimizer_of(module.parameters(), settings)
    for step, batch in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * rate_at(step, len(batches), settings)
        with torch.autocast("cpu", torch.bfloat16, enabled=has_bf16()):
            outputs = output_of(module, batch.inputs)
        cross_entropy(outputs.float(), batch.labels).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(module.parameters(), settings.clip)
        optimizer.step()
        optimizer.zero_grad()


class _Losing(nn.Module):
    """What the Trainer wants: a module that returns its loss."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(
        self, labels: Tensor, num_items_in_batch: object = None, **inputs: Tensor
    ) -> dict[str, Tensor]:
        """Return the loss of a batch; the Trainer's own count of rows is not needed for a mean."""
        return {"loss": cross_entropy(output_of(self.module, inputs).float(), labels)}


class _OnBatches(Trainer):  # type: ignore[misc]
    """A Trainer that takes prepared batches."""

    def get_train_dataloader(self) -> Any:
        """Return the batches, already collated."""
        return self.train_dataset


def _trainer(module: nn.Module, batches: Sequence[Batch], settings: TrainingSettings) -> None:
    collated = [{"labels": batch.labels, **batch.inputs} for batch in batches]
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
        _OnBatches(_Losing(module), arguments, train_dataset=collated).train()


if __name__ == "__main__":
    sys.exit(main())

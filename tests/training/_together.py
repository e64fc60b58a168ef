"""Trainings that one process and several processes run alike; with an argument, as a program.

As a program it writes what the first process found to found.json, in the folder that is named.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bmc import data as datasets
from bmc import processes
from bmc.compress.distill.logits import Logits
from bmc.compress.distill.masked import Masked
from bmc.compress.distill.weighted import Weighted
from bmc.data import Dataset, Examples, Table, split
from bmc.inputs.image import ImageEncoder, ImageSettings
from bmc.model import AfterStep, Model, Step
from bmc.models import bert
from bmc.objectives.classification import loss_of
from bmc.training.batches import Rows
from bmc.training.epochs import Fitted
from bmc.training.loop import fit
from bmc.training.settings import TrainingSettings
from bmc.training.teacher_logits import cached_logits
from bmc.training.work import fit_model, work_for
from tests._small_bert import lively_model

_SETTINGS = TrainingSettings(
    epochs=2, batch_size=16, learning_rate=1e-3, precision="fp32", device="cpu"
)
_WORDS = ("positive", "negative")


class _Net(nn.Module):
    """Convolution, batch norm without a weight, a batch norm of one axis, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 4, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.flat_norm = nn.BatchNorm1d(64, affine=False, momentum=None)
        self.output = nn.Linear(64, 10)

    def forward(self, pixels: Tensor) -> Tensor:
        hidden = torch.relu(self.norm(self.convolution(pixels))).flatten(1)
        logits: Tensor = self.output(self.flat_norm(hidden))
        return logits


def images(folder: Path, after: AfterStep | None = None) -> tuple[Fitted, nn.Module]:
    """Train on 85 digits, flipped and mixed, whose classes have weights: batches of 64 and 21."""
    digits = datasets.load("digits")
    encoder = ImageEncoder(ImageSettings(8, 8, 1, (0.3,), (0.37,)))
    train, validation = (
        Rows(part.rows[:count], part.labels[:count], encoder)
        for part, count in ((digits.train, 85), (digits.validation, 99))
    )
    torch.manual_seed(0)
    module = _Net()
    settings = replace(_SETTINGS, batch_size=64, l1=1e-4, class_weights="balanced")
    settings = replace(settings, augment=("flip", "mixup"), epochs=3, checkpoint_every=1)
    loss = loss_of(settings, digits.train.labels[:85], 10)
    return fit(module, train, validation, settings, folder, loss, after), module


def _texts(rows: int = 37) -> Dataset:
    """Return texts of several lengths, more of them good than bad."""
    words = [_WORDS[number % 3 // 2] for number in range(rows * 2)]
    texts = [(f"a {word} film" + " again" * (number % 7),) for number, word in enumerate(words)]
    data = split(Table(texts, words), "texts", ("text",))
    train = Examples(data.train.rows[:rows], data.train.labels[:rows])
    return replace(data, train=train)


def _calm(model: Model) -> Model:
    """Return a model without dropout, of which each process would draw its own."""
    for layer in model.module.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    return model


def _singles(folder: Path) -> tuple[Fitted, nn.Module]:
    """Train on single rows: fewer than there are processes."""
    model = _calm(lively_model(layers=1))
    settings = replace(_SETTINGS, batch_size=1, epochs=1)
    return fit_model(model, _texts(5), settings, folder), model.module


def _taught(step: Step, folder: Path) -> tuple[Mapping[str, float], nn.Module, Any]:
    """Train a student with a step on labeled and unlabeled texts."""
    teacher, data = lively_model(), _texts()
    torch.manual_seed(0)
    student = bert.student(teacher, bert.Size(layers=1, hidden=16, heads=2), data)
    work = work_for(
        *(data, [("one more text",)] * 6, _SETTINGS, folder, folder / "cache"),
        load=lambda name: lively_model(),
        run="",
    )
    step.apply(_calm(student), work)
    return student.scores, student.module, student.origin.get("history", [])


def _summary(module: nn.Module) -> list[float]:
    return [float(value.double().square().sum()) for value in module.state_dict().values()]


def found(folder: Path) -> dict[str, Any]:
    """Return losses, scores and weights of each training, with checkpoints in a folder."""
    weights: dict[str, list[float]] = {}
    results: dict[str, Any] = {"weights": weights}
    trainings: dict[str, Callable[[Path], tuple[Fitted, nn.Module]]] = {
        "images": images,
        "stopped": images,
        "singles": _singles,
    }
    for name, train in trainings.items():
        fitted, module = train(folder / name)
        results[name] = [fitted.losses, fitted.history]
        weights[name] = _summary(module)
    hashed = "0" * 64
    steps: dict[str, Step] = {
        "logits": Logits("teacher", hashed),
        "signals": Weighted("teacher", hashed, {"hidden": 1.0, "relation": 1.0, "logits": 1.0}),
        "self": Weighted("teacher", hashed, {"self": 1.0, "logits": 1.0}),
        "masked": Masked(),
    }
    for name, step in steps.items():
        scores, module, history = _taught(step, folder / name)
        results[name] = [dict(scores), history]
        weights[name] = _summary(module)
    texts = [(f"text {number}" + " word" * (number % 9),) for number in range(150)]
    logits = cached_logits(lively_model(), hashed, texts, folder / "teacher", "cpu", "fp32")
    results["teacher"] = logits.flatten().tolist()
    return results


if __name__ == "__main__":
    target = Path(sys.argv[1])
    of_all = found(target)
    if processes.is_first():
        (target / "found.json").write_text(json.dumps(of_all))

"""Which training recipe suits image networks? Measured on validation rows with small copies.

    python benchmarks/recipes.py        (a quarter of an hour)

Networks of a quarter of the width, 20,000 training rows of fashion-mnist, four epochs: enough to
tell recipes apart, and far from what the whole network reaches. No held-out row is read. Writes
benchmarks/results/recipes.json.
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from _common import finish

from bmc import console
from bmc import data as datasets
from bmc.data import Examples
from bmc.workflows import baselines

DATA, ROWS, SCORED, EPOCHS = "fashion-mnist", 20_000, 3_000, 4
SGD: dict[str, Any] = {
    "optimizer": "sgd",
    "warmup": 0.15,
    "weight_decay": 5e-4,
    "augment": ("flip",),
}
ADAMW: dict[str, Any] = {"optimizer": "adamw", "weight_decay": 0.05, "augment": ("flip",)}
TRIED: tuple[tuple[str, dict[str, Any]], ...] = (
    ("resnet18", {**SGD, "learning_rate": 0.1, "augment": ("flip", "crop")}),
    ("resnet18", {**SGD, "learning_rate": 0.1}),
    ("resnet18", {**SGD, "learning_rate": 0.1, "clip": 1e9}),
    ("resnet18", {**SGD, "learning_rate": 0.03}),
    ("resnet18", {**ADAMW, "learning_rate": 2e-3}),
    ("vgg16", {**SGD, "learning_rate": 0.05, "augment": ("flip", "crop")}),
    ("vgg16", {**SGD, "learning_rate": 0.05}),
    ("vgg16", {**ADAMW, "learning_rate": 1e-3}),
)


def main() -> int:
    """Train each, and print its validation accuracy."""
    console.set_mode(quiet=True, json=False)
    data = datasets.load(DATA)
    train, validation = (
        Examples(part.rows[:most], part.labels[:most])
        for part, most in ((data.train, ROWS), (data.validation, SCORED))
    )
    data = replace(data, train=train, validation=validation)
    lines = []
    for name, settings in TRIED:
        chosen = baselines.choose(name, {"width": "16"})
        recipe = replace(chosen.recipe, epochs=EPOCHS, **settings)
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            model = baselines.trained(chosen, data, recipe, Path(folder))
        seconds = round(time.monotonic() - started)
        print(f"{name} {settings}: {model.scores['validation_accuracy']:.3f}, {seconds} s")
        lines.append({"model": name, "settings": settings, "seconds": seconds, **model.scores})
    return finish("recipes", (), {"data": DATA, "rows": ROWS, "epochs": EPOCHS, "tried": lines})


if __name__ == "__main__":
    sys.exit(main())

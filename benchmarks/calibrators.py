"""Which calibrator keeps most of a quantized bert's answers?

    python benchmarks/calibrators.py        (four minutes)

Each quantizes the baseline bert of baselines.py (trained where it is missing) from the same 256
training rows; what is held against fp32 is what PyTorch answers, on its grid, to the validation
rows. No held-out row is read.

Writes benchmarks/results/calibrators.json.
"""

from __future__ import annotations

import argparse
import copy
import os
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from _common import RUNS, bmc, finish
from numpy.typing import NDArray

from bmc import artifact, inputs, workspace
from bmc import data as datasets
from bmc.compress.quantize._form import form_of
from bmc.compress.quantize.static import Static
from bmc.data import Examples
from bmc.model import Model, output_of
from bmc.training.settings import TrainingSettings
from bmc.training.work import work_for

BASE, BATCH = "bert-movie-reviews-0", 32
NARROW = ("*.narrow",)  # each layer's second feed-forward matmul
TRIED = (
    Static(calibrator="minmax"),
    Static(calibrator="mse"),
    Static(calibrator="percentile", percentile=99.99),
    Static(calibrator="percentile", percentile=99.999),
    Static(calibrator="minmax", in_float=NARROW),
    Static(calibrator="mse", in_float=NARROW),
)


def main() -> int:
    """Quantize with each, and compare the answers."""
    argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "").parse_args()
    os.environ["BMC_HOME"] = str(RUNS / "baselines")
    if not (workspace.root() / BASE).is_dir():
        bmc("train", "bert", "--data", "movie-reviews", "-o", workspace.root() / BASE)
    model = artifact.load(workspace.root() / BASE)
    data = datasets.load("movie-reviews")
    rows, labels = data.validation.rows, np.array(data.validation.labels)
    expected = _answers(replace(model, module=form_of(model)), data.validation)
    found = []
    for step in TRIED:
        quantized = replace(model, module=copy.deepcopy(model.module))
        with tempfile.TemporaryDirectory() as folder:
            settings, place = TrainingSettings(), Path(folder)
            work = work_for(data, (), settings, place, place, lambda name: model, run="")
            step.apply(quantized, work)
        logits = _answers(quantized, data.validation)
        answers = logits.argmax(axis=1)
        one = {
            "settings": asdict(step),
            "changed": float((answers != expected.argmax(axis=1)).mean()),
            "accuracy": float((answers == labels).mean()),
            "mean_move": float(np.abs(logits - expected).mean()),
        }
        print(one, flush=True)
        found.append(one)
    return finish("calibrators", [], {"rows": len(rows), "found": found})


@torch.inference_mode()
def _answers(model: Model, part: Examples) -> NDArray[np.float32]:
    """Return a model's logits, (rows, classes)."""
    encoded = model.encoder.encode(part.rows)
    found = np.empty((len(part.rows), len(model.labels)), np.float32)
    for places, arrays in inputs.ordered_batches(model.encoder, encoded, BATCH):
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        found[list(places)] = output_of(model.module, tensors).numpy()
    return found


if __name__ == "__main__":
    sys.exit(main())

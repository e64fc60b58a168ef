"""Scoring a model in PyTorch, in full."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from bmc.data import Examples
from bmc.measure import scores
from bmc.model import Model
from bmc.training.batches import Rows
from bmc.training.loop import logits_of

VALIDATION = "validation"
_BATCH = 64


def outputs_on(
    model: Model, examples: Examples, precision: str = "fp32", device: str = "cpu"
) -> NDArray[np.float32]:
    """Return a model's outputs (rows, classes or 1), in the order of the examples.

    Args:
        model: a classifier or a regression; it is on the CPU afterwards.
        examples: the rows.
        precision: bf16, fp32, or auto.
        device: cpu, cuda, or auto.
    """
    rows = Rows(examples.rows, examples.labels, model.encoder)
    outputs = np.empty((len(rows), max(len(model.labels), 1)), np.float32)
    for places in rows.in_order(_BATCH):
        outputs[places] = logits_of(model.module, rows, places, precision, device).numpy()
    model.module.to(torch.device("cpu"))
    return outputs


def score_validation(
    model: Model, examples: Examples, precision: str = "fp32", device: str = "cpu"
) -> None:
    """Put all scores of the validation rows beside the one that training went by.

    Args:
        model: to be scored; a generator has no labels to be scored by.
        examples: the validation rows.
        precision: what to compute in: that of training, so that both say the same.
        device: cpu, cuda, or auto.
    """
    if model.task == "generation":
        return
    if model.task == "regression":
        precision = "fp32"  # bf16 has 8 bits for a value's level and its differences together
    outputs = outputs_on(model, examples, precision, device)
    found = scores.of_task(model.task, outputs, np.array(examples.labels))
    model.scores = {**model.scores, VALIDATION: {"rows": len(examples), **found}}

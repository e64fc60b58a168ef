"""Answers and scores of a model in PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bmc.contracts.tasks import task
from bmc.data import Examples
from bmc.errors import ArtifactError
from bmc.inference.run import outputs_on_rows
from bmc.measure import scores
from bmc.model import Model
from bmc.predictions import predictions_of, predictions_of_rows
from bmc.training.batches import Rows
from bmc.training.custom import custom_score
from bmc.training.loop import outputs_of

VALIDATION = "validation"
_BATCH = 64


def outputs_on(
    model: Model, examples: Examples, precision: str = "fp32", device: str = "cpu"
) -> NDArray[np.float32]:
    """Return a model's outputs (rows, classes or 1) or (words, classes), in the examples' order.

    Several processes divide the rows; all of them must call the function.

    Args:
        model: a classifier or a regression; it is on the CPU afterwards.
        examples: the rows.
        precision: bf16, fp32, or auto.
        device: cpu, cuda, or auto.
    """
    rows = Rows(examples.rows, examples.labels, model.encoder)
    outputs = outputs_of(model.module, rows, precision, device, divided=True)
    model.module.to(torch.device("cpu"))
    return outputs


def score_validation(
    model: Model, examples: Examples, precision: str = "fp32", device: str = "cpu"
) -> None:
    """Add all scores of the validation rows to the score that chose the epoch.

    The thresholds of several labels a row are chosen on these rows first.

    Args:
        model: model to score; a generator has no labels and no further scores.
        examples: the validation rows.
        precision: precision of the computation: that of the training, which makes the scores
            comparable.
        device: cpu, cuda, or auto.
    """
    if not model.has_labels:
        return
    described = task(model.task)
    if described.is_numeric or described.thresholds:
        precision = "fp32"  # bf16 has 8 bits for a value's level and its differences together
    outputs = outputs_on(model, examples, precision, device)
    labels = np.array(examples.labels)
    if described.thresholds:
        model.thresholds = described.thresholds(outputs, labels)
    custom = custom_score(model)
    scores_ = scores.of_task(
        *(model.task, outputs, labels, custom, model.thresholds), names=model.labels
    )
    model.scores = {**model.scores, VALIDATION: {"rows": len(examples), **scores_}}


def predict_in_pytorch(model: Model, rows: Sequence[Any]) -> list[Any]:
    """Compute the predictions of a model in memory for rows, in fp32 on the CPU.

    Args:
        model: the model; it is not changed.
        rows: rows of the kind that the model was trained on; see `bmc.pipeline.Pipeline`.

    Returns:
        a `Prediction` or a tuple of them, a number or an image for each row.

    Raises:
        DataError: a row is not of the kind that the model takes.
        ArtifactError: an output of the model is NaN or infinite.
    """
    if not rows:
        return []
    outputs = outputs_on_rows(model.module, model.encoder, rows, _BATCH)
    predictions = predictions_of(outputs, model.task, model.labels, model.thresholds)
    predictions = predictions_of_rows(predictions, rows, model.encoder, model.task, model.labels)
    for number, prediction in enumerate(predictions, start=1):
        if prediction is None:
            raise ArtifactError(f"the model answers row {number} with NaN or infinite numbers")
    return predictions

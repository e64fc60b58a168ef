"""How many rows the model answers, and candidates learn from, in a given time."""

from __future__ import annotations

import time
from pathlib import Path

from bmc import console, workspace
from bmc import data as datasets
from bmc.data import Dataset
from bmc.model import Model
from bmc.training.batches import Rows
from bmc.training.device import device_of, precision_of_answers
from bmc.training.ensemble import answers_are_kept
from bmc.training.loop import outputs_of
from bmc.training.teacher_logits import cached_logits
from bmc.training.work import joined
from bmc.workflows.lineage import weights_sha256

_TIMED = 128  # rows that are answered to find out how fast the model answers
_STEP = 6.0
"""Time of a training step, in forward passes. It is three by arithmetic; but a candidate that is
three times as fast in a runtime is less so in training."""


def rows_a_second(model: Model, data: Dataset) -> float:
    """Return how many training rows a model answers in a second, where candidates are trained.

    Args:
        model: the model; it is on the CPU afterwards.
        data: its data.
    """
    few = data.train.spaced(_TIMED)
    rows, device = Rows(few.rows, few.labels, model.encoder), device_of("auto").type
    seconds = []
    for _ in range(2):  # the first call also prepares the device
        started = time.perf_counter()
        outputs_of(model.module, rows, precision_of_answers(model.task), device)
        seconds.append(time.perf_counter() - started)
    model.module.cpu()
    return len(few) / min(seconds)


def answer_ahead(folder: Path, model: Model, data: Dataset, transfer: str, rows: int) -> None:
    """Let the model answer the unlabeled rows of all trials.

    The first candidate that learns from them would be charged for it otherwise, and be expected to
    take many times as long as it does.

    Args:
        folder: the model directory.
        model: the model.
        data: its data, with the test split, whose rows are not among the unlabeled ones.
        transfer: the unlabeled rows, as --transfer names them; "none" for none.
        rows: number of unlabeled rows, at most; none where it is below 1.
    """
    augment = (model.origin.get("settings") or {}).get("augment", ())
    if rows < 1 or not answers_are_kept(data.kind, augment):
        return
    unlabeled = datasets.transfer_rows(transfer, rows, data).rows
    if not len(unlabeled):
        return
    console.note(f"the model answers {len(unlabeled):,} unlabeled rows, for all trials")
    every = joined(data.train.rows, unlabeled)
    cached_logits(model, weights_sha256(folder), every, workspace.cache(), "auto")
    model.module.cpu()


def learned_a_second(model: Model, data: Dataset, answered: float, faster: float) -> float:
    """Estimate how many rows a candidate learns from in a second, taught by the model.

    Args:
        model: the uncompressed model.
        data: its data.
        answered: rows that the model answers in a second.
        faster: how many times faster than the model the candidate is, at least 1.
    """
    augment = (model.origin.get("settings") or {}).get("augment", ())
    taught = 0.0 if answers_are_kept(data.kind, augment) else 1.0
    return answered / (taught + _STEP / max(faster, 1.0))

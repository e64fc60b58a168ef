"""Supervised training, and the outputs and scores of a module on encoded rows."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bmc.errors import SettingError
from bmc.measure.custom import CustomScore
from bmc.model import AfterStep, Form, Loss, answers_of, output_of
from bmc.training import checkpoint
from bmc.training.augment import augmented
from bmc.training.batches import Batch, Rows
from bmc.training.device import autocast, device_of
from bmc.training.epochs import Epochs, Fitted
from bmc.training.memory import return_large_blocks
from bmc.training.optimizers import optimizer_of
from bmc.training.settings import TrainingSettings

_SCORING_BATCH = 64
_MEASURE = {"classification": "accuracy", "regression": "r2"}


def fit(
    module: nn.Module,
    train: Rows,
    validation: Rows,
    settings: TrainingSettings,
    folder: Path,
    loss: Loss,
    after_step: AfterStep | None = None,
    task: str = "classification",
    form: Form | None = None,
    run: str = "",
    score: CustomScore | None = None,
) -> Fitted:
    """Train a module in place and leave it with the weights of its best epoch.

    The same call after an interruption resumes from the last checkpoint in `folder`, bit for bit
    (same thread count).

    Args:
        module: takes a batch's inputs and returns logits (rows, classes) or values (rows, 1).
        train: rows to learn from.
        validation: rows that pick the best epoch.
        settings: how to train.
        folder: for the checkpoint.
        loss: of outputs and batch.
        after_step: called with the module and the share of steps that is done, before the first
            step and after every one (masks, schedules).
        task: "classification" or "regression", which says how validation is scored.
        form: computes a batch's outputs with the module's own weights, faster than the module.
        run: whatever else the result depends on (data, teacher); another run's checkpoint is not
            used.
        score: the caller's own, which picks the best epoch; None takes the task's.

    Raises:
        DivergedError: the loss or its gradient became NaN or infinite.
        SettingError: the auxiliary weight is set, and the network has no auxiliary answers.
    """
    return_large_blocks()
    module.to(device_of(settings.device))
    if any(isinstance(layer, nn.Conv2d) for layer in module.modules()):
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    measure = score.name if score else _MEASURE[task]
    scoring = partial(score_of, rows=validation, settings=settings, task=task, score=score)
    epochs = _Supervised(module, train, settings, folder, run, loss, form, measure, scoring)
    epochs.fit(module, after_step)
    module.to("cpu").eval()
    module.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    progress = epochs.progress
    return Fitted(
        progress.best_score,
        progress.best_epoch,
        tuple(progress.history),
        measure,
        tuple(progress.losses),
    )


class _Supervised(Epochs):
    """Epochs of training with a loss on each batch; the validation score picks the best."""

    def __init__(
        self,
        module: nn.Module,
        train: Rows,
        settings: TrainingSettings,
        folder: Path,
        run: str,
        loss: Loss,
        form: Form | None,
        measure: str,
        scoring: Callable[[nn.Module], float],
    ) -> None:
        self._parameters = [value for _, value in checkpoint.trainable(module)]
        optimizer = optimizer_of(self._parameters, settings)
        super().__init__(module, module, optimizer, train, settings, folder, run)
        self.score_name = f"validation {measure}"
        self._scoring = scoring
        self._loss, self._form = loss, form
        self._device = device_of(settings.device)

    def start_epoch(self) -> None:
        self._networks.train()

    def learn(self, places: array[int], step: int) -> float:
        # Many processes would each take a part of `places` here and average gradients.
        settings, device = self._settings, self._device
        batch = self._train.batch(places).to(device)
        batch = replace(batch, inputs=augmented(batch.inputs, settings.augment))
        with autocast(settings.precision, device):
            if self._form:
                answers = [self._form(batch.inputs)]
            else:
                answers = answers_of(self._networks, batch.inputs)
        loss = self._loss(answers[0].float(), batch)
        if settings.auxiliary_weight:
            loss = loss + settings.auxiliary_weight * _auxiliary(answers, batch, self._loss)
        if settings.l1:
            loss = loss + settings.l1 * _absolute(self._parameters)
        loss.backward()  # type: ignore[no-untyped-call]
        self.update(loss, self._parameters, step)
        return float(loss.detach())

    def end_step(self, step: int) -> None:
        """Nothing follows a step."""

    def score(self) -> float:
        return self._scoring(self._networks)

    def is_better(self, score: float, best: float) -> bool:
        return score >= best


@torch.no_grad()
def logits_of(
    module: nn.Module,
    rows: Rows,
    places: list[int],
    precision: str,
    device: str,
    form: Form | None = None,
) -> Tensor:
    """Return a module's outputs (rows, classes or 1), fp32, for one batch of rows."""
    where = device_of(device)
    module.to(where).eval()
    batch = rows.batch(places).to(where)
    with autocast(precision, where):
        outputs = form(batch.inputs) if form else output_of(module, batch.inputs)
        return outputs.float().cpu()


def outputs_of(
    module: nn.Module,
    rows: Rows,
    precision: str = "fp32",
    device: str = "cpu",
    form: Form | None = None,
) -> NDArray[np.float32]:
    """Return a module's outputs for all rows, (rows, classes or 1), in the order of the rows.

    Args:
        module: it is in evaluation mode and on the device afterwards.
        rows: to answer.
        precision: "bf16", "fp32", or "auto".
        device: "cpu", "cuda", or "auto".
        form: computes a batch's outputs with the module's own weights, faster than the module.
    """
    outputs: NDArray[np.float32] | None = None
    for places in rows.in_order(_SCORING_BATCH):
        of_batch = logits_of(module, rows, places, precision, device, form).numpy()
        if outputs is None:
            outputs = np.empty((len(rows), *of_batch.shape[1:]), np.float32)
        outputs[places] = of_batch
    return np.empty((0, 1), np.float32) if outputs is None else outputs


def score_of(
    module: nn.Module,
    rows: Rows,
    settings: TrainingSettings,
    task: str,
    score: CustomScore | None = None,
) -> float:
    """Return a module's accuracy on labeled rows, in the precision of training; R2 if numbers.

    Args:
        module: it is in evaluation mode afterwards.
        rows: labeled.
        settings: precision and device.
        task: "classification" or "regression".
        score: the caller's own, in place of accuracy and R2.
    """
    right = wrong = 0.0
    device = device_of(settings.device).type
    if score:
        outputs = outputs_of(module, rows, settings.precision, device)
        return score.value(outputs, rows.labels.numpy())
    for places in rows.in_order(_SCORING_BATCH):
        logits = logits_of(module, rows, places, settings.precision, device)
        labels = rows.labels[places]
        if task == "regression":
            wrong += float(((logits.squeeze(1) - labels) ** 2).sum())
        else:
            right += int((logits.argmax(dim=1) == labels).sum())
    if task != "regression":
        return right / len(rows)
    spread = float(((rows.labels - rows.labels.mean()) ** 2).sum())
    return 1 - wrong / max(spread, 1e-12)


def _auxiliary(answers: list[Tensor], batch: Batch, loss: Loss) -> Tensor:
    """Return the sum of the losses of a network's auxiliary answers.

    Raises:
        SettingError: the network has none.
    """
    if len(answers) < 2:
        raise SettingError("the network has no auxiliary answer; leave auxiliary weight out")
    return torch.stack([loss(answer.float(), batch) for answer in answers[1:]]).sum()


def _absolute(parameters: list[nn.Parameter]) -> Tensor:
    sums = [parameter.abs().sum() for parameter in parameters if parameter.ndim > 1]
    return torch.stack(sums).sum()

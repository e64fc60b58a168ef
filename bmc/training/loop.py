"""Supervised training, and the outputs and scores of a module on encoded rows."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bmc import processes
from bmc.contracts.tasks import scoring as scoring_of
from bmc.errors import SettingError
from bmc.measure.custom import CustomScore
from bmc.model import AfterStep, Form, Loss, Metrics, all_outputs_of, output_of
from bmc.training import batch_norms, checkpoint, collective
from bmc.training.augment import augmented_batch
from bmc.training.batches import Batch, Rows
from bmc.training.device import autocast, device_of
from bmc.training.epochs import Epochs, Fitted
from bmc.training.memory import return_large_blocks
from bmc.training.optimizers import optimizer_of
from bmc.training.settings import TrainingSettings

_SCORING_BATCH = 64


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
    metrics: Metrics | None = None,
    names: Sequence[str] = (),
) -> Fitted:
    """Train a module in place, and leave it with the weights of its best epoch.

    The same call after an interruption resumes from the last checkpoint in `folder`. With the same
    numbers of threads and processes the result is bit-identical to that of a run that was not
    interrupted.

    Several processes divide the rows of each batch, and train as one process does: in fp32 without
    dropout the losses differ by rounding. With dropout each process draws its own random numbers.

    Args:
        module: module from a batch's inputs to logits (rows, classes) or values (rows, 1).
        train: training rows.
        validation: rows that decide which epoch is best.
        settings: training settings.
        folder: folder of the checkpoint.
        loss: function from outputs and batch to the loss.
        after_step: function to call with the module and the share of completed steps, before the
            first step and after each step (for masks and schedules).
        task: name of the task, which decides the validation score.
        form: function that computes the outputs with the module's weights, faster than the module.
        run: everything else that the result depends on (data, teacher), as text. A checkpoint with
            another `run` is not used.
        score: custom score that decides which epoch is best; None for the score of the task.
        metrics: function that returns numbers of the last batch; their means are said by epoch.
        names: names of the labels, on which the score of tags depends.

    Raises:
        DivergedError: the loss or its gradient became NaN or infinite.
        SettingError: the auxiliary weight is set, and the network has no auxiliary outputs.
    """
    return_large_blocks()
    module.to(device_of(settings.device))
    if any(isinstance(layer, nn.Conv2d) for layer in module.modules()):
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    measure = score.name if score else scoring_of(task, names).measure
    scoring = partial(
        score_of, rows=validation, settings=settings, task=task, score=score, names=names
    )
    epochs = _Supervised(
        module, train, settings, folder, run, loss, form, measure, scoring, metrics
    )
    with batch_norms.of_whole_batches(module):
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
        tuple(progress.metrics),
    )


class _Supervised(Epochs):
    """Epochs of training with a loss; the validation score decides which epoch is best."""

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
        metrics: Metrics | None,
    ) -> None:
        self._parameters = [value for _, value in checkpoint.trainable(module)]
        optimizer = optimizer_of(self._parameters, settings)
        super().__init__(module, module, optimizer, train, settings, folder, run)
        self.score_name = f"validation {measure}"
        self._scoring = scoring
        self._loss, self._form, self._metrics = loss, form, metrics
        self._device = device_of(settings.device)

    def start_epoch(self) -> None:
        self._networks.train()

    def learn(self, indices: array[int], step: int) -> float:
        total = torch.zeros(())
        for part, share in self._train.parts(indices, self._settings.accumulate):
            loss = share * self._loss_of(part, step)
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach().cpu()
            if self._metrics:
                metrics = self._metrics().items()
                self.progress.add({name: share * value for name, value in metrics})
        self.update(total, self._parameters, step)
        return float(total)

    def _loss_of(self, indices: array[int], step: int) -> Tensor:
        """Return the loss of a batch, of which this process computes the outputs of its share."""
        settings, device = self._settings, self._device
        batch = self._train.batch(indices).to(device)
        batch = augmented_batch(batch, settings.augment)
        rows = len(indices)
        own = collective.own_share(batch.inputs)
        with (
            autocast(settings.precision, device),
            batch_norms.divided(rows),
            collective.own_randomness(settings.seed, step, indices[0]),
        ):
            outputs = [self._form(own)] if self._form else all_outputs_of(self._networks, own)
        gathered = [collective.gather(output.float(), rows) for output in outputs]
        outputs = [batch.selected(output) for output in gathered]
        auxiliary = _auxiliary_loss(outputs, batch, self._loss) if settings.auxiliary_weight else 0
        loss = self._loss(outputs[0], batch)  # last, since metrics are those of the last loss
        loss = loss + settings.auxiliary_weight * auxiliary
        if settings.l1:
            loss = loss + settings.l1 * _l1_norm(self._parameters)
        return loss

    def score(self) -> float:
        return self._scoring(self._networks)


@torch.no_grad()
def logits_of(
    module: nn.Module,
    rows: Rows,
    indices: list[int],
    precision: str,
    device: str,
    form: Form | None = None,
) -> Tensor:
    """Return a module's outputs for one batch of rows, float32 (rows, classes or 1), on the CPU.

    Of rows of words, there is an output for each word.
    """
    torch_device = device_of(device)
    module.to(torch_device).eval()
    batch = rows.batch(indices).to(torch_device)
    with autocast(precision, torch_device):
        outputs = form(batch.inputs) if form else output_of(module, batch.inputs)
        return batch.selected(outputs).float().cpu()


def outputs_of(
    module: nn.Module,
    rows: Rows,
    precision: str = "fp32",
    device: str = "cpu",
    form: Form | None = None,
    divided: bool = False,
) -> NDArray[np.float32]:
    """Return a module's outputs for all rows, float32 (rows, classes or 1), in their order.

    Of rows of words, there is an output for each word, (words, classes).

    Args:
        module: the module, which is in evaluation mode and on the device afterwards.
        rows: rows to compute the outputs of.
        precision: "bf16", "fp32", or "auto".
        device: "cpu", "cuda", or "auto".
        form: function that computes the outputs with the module's weights, faster than the module.
        divided: whether several processes compute each some of the batches. All of them must call
            the function then. The batches, and so the outputs, are those of one process.
    """
    outputs: NDArray[np.float32] | None = None
    batches = rows.in_order(_SCORING_BATCH)
    divided = divided and processes.is_divided(len(batches))
    if divided:
        batches = batches[processes.number() :: processes.count()]
    for indices in batches:
        batch_outputs = logits_of(module, rows, indices, precision, device, form).numpy()
        if outputs is None:
            outputs = np.zeros((len(rows.outputs), *batch_outputs.shape[1:]), np.float32)
        outputs[rows.outputs.at(indices)] = batch_outputs
    if divided and outputs is not None:
        collective.sum_array(outputs)
    return np.empty((0, 1), np.float32) if outputs is None else outputs


def score_of(
    module: nn.Module,
    rows: Rows,
    settings: TrainingSettings,
    task: str,
    score: CustomScore | None = None,
    names: Sequence[str] = (),
) -> float:
    """Return the score of a module on labeled rows: the measure of its task, or a custom score.

    Several processes divide the rows; all of them must call the function.

    Args:
        module: the module, which is in evaluation mode and on the device afterwards.
        rows: labeled rows.
        settings: training settings, whose precision and device are used.
        task: name of the task.
        score: custom score to compute in place of the task's measure.
        names: names of the labels, on which the measure of tags depends.
    """
    device = device_of(settings.device).type
    outputs = outputs_of(module, rows, settings.precision, device, divided=True)
    labels = rows.labels.numpy()
    return score.value(outputs, labels) if score else scoring_of(task, names).value(outputs, labels)


def _auxiliary_loss(outputs: list[Tensor], batch: Batch, loss: Loss) -> Tensor:
    """Return the sum of the losses of a network's auxiliary outputs.

    Raises:
        SettingError: the network has no auxiliary outputs.
    """
    if len(outputs) < 2:
        raise SettingError("the network has no auxiliary output; leave auxiliary weight out")
    return torch.stack([loss(output.float(), batch) for output in outputs[1:]]).sum()


def _l1_norm(parameters: list[nn.Parameter]) -> Tensor:
    sums = [parameter.abs().sum() for parameter in parameters if parameter.ndim > 1]
    return torch.stack(sums).sum()

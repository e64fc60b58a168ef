"""The training loop: a plain one, that stops, goes on and ends with its best epoch."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bmc import __version__, console
from bmc.errors import DivergedError, MissingError, SettingError
from bmc.model import AfterStep, Form, Loss, answers_of, output_of
from bmc.training import checkpoint
from bmc.training.augment import augmented
from bmc.training.batches import Batch, Rows
from bmc.training.checkpoint import Progress
from bmc.training.memory import return_large_blocks
from bmc.training.optimizers import optimizer_of, rate_at
from bmc.training.settings import TrainingSettings

_SCORING_BATCH = 64
_MEASURE = {"classification": "accuracy", "regression": "r2"}


@dataclass(frozen=True)
class Fitted:
    """What training reached on the validation rows: the best epoch's score, and each epoch's.

    Args:
        score: accuracy; in a regression R2, the share of the variance that is explained.
        best_epoch: from 1.
        history: each epoch's score.
        measure: what the score is, such as "accuracy".
        losses: mean training loss of each epoch; empty where it was not recorded.
    """

    score: float
    best_epoch: int
    history: tuple[float, ...]
    measure: str
    losses: tuple[float, ...] = ()

    def epochs(self) -> list[dict[str, float]]:
        """Return a record of each epoch: its number, its training loss, its validation score."""
        records = []
        for number, score in enumerate(self.history, start=1):
            record: dict[str, float] = {"epoch": number, f"validation_{self.measure}": score}
            if len(self.losses) == len(self.history):
                record["training_loss"] = self.losses[number - 1]
            records.append(record)
        return records

    def to_json(self) -> dict[str, float]:
        """Return what bmc.json says of the run."""
        return {f"validation_{self.measure}": self.score, "best_epoch": self.best_epoch}


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
) -> Fitted:
    """Train a module in place and leave it with the weights of its best epoch.

    The same call after a kill goes on from the last checkpoint in `folder`, bit for bit as if
    nothing had happened (same thread count).

    Args:
        module: takes a batch's inputs and returns logits (rows, classes) or values (rows, 1).
        train: rows to learn from.
        validation: rows that pick the best epoch.
        settings: how.
        folder: for the checkpoint.
        loss: of outputs and batch.
        after_step: called with the module and the share of steps that is done, before the first
            step and after every one (masks, schedules).
        task: "classification" or "regression", which says how validation is scored.
        form: computes a batch's outputs with the module's own weights, faster than the module.
        run: whatever else the result depends on (data, teacher); another run's checkpoint is not
            taken.

    Raises:
        DivergedError: the loss or its gradient is no number any more.
        SettingError: auxiliary answers are weighed, and there are none.
    """
    return_large_blocks()
    device = device_of(settings.device)
    module.to(device)
    if any(isinstance(layer, nn.Conv2d) for layer in module.modules()):
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    parameters = [value for _, value in checkpoint.trainable(module)]
    optimizer = optimizer_of(parameters, settings)

    def order_of(epoch: int) -> list[array[int]]:
        return train.shuffled(settings.batch_size, settings.seed, epoch, settings.batch_tokens)

    steps = len(order_of(0))
    total = steps * settings.epochs
    identity = identity_of(module, train, settings, run)
    torch.manual_seed(settings.seed)
    progress, best = Progress(), dict[str, Tensor]()
    resumed = checkpoint.read(folder, identity, module, optimizer)
    if resumed:
        progress, best = resumed
        console.note(f"going on from epoch {progress.epoch + 1}, step {progress.step}")
    done = progress.epoch * steps + progress.step
    if after_step and progress.epoch < settings.epochs:
        after_step(module, done / total)
    with console.progress("training", total, done=done) as advance:
        while progress.epoch < settings.epochs and not is_stale(progress, settings.patience):
            module.train()
            order = order_of(progress.epoch)
            for places in order[progress.step :]:
                # Many processes would each take a part of `places` here and average gradients.
                batch = train.batch(places).to(device)
                batch = replace(batch, inputs=augmented(batch.inputs, settings.augment))
                with autocast(settings.precision, device):
                    answers = [form(batch.inputs)] if form else answers_of(module, batch.inputs)
                lost = loss(answers[0].float(), batch)
                if settings.auxiliary_weight:
                    lost = lost + settings.auxiliary_weight * _auxiliary(answers, batch, loss)
                if settings.l1:
                    lost = lost + settings.l1 * _absolute(parameters)
                lost.backward()  # type: ignore[no-untyped-call]
                norm = nn.utils.clip_grad_norm_(parameters, settings.clip)
                if not torch.isfinite(norm):  # before the step: the weights are still good
                    raise diverged(progress, lost, settings, folder)
                step = min(progress.epoch * steps + progress.step, total - 1)
                for group in optimizer.param_groups:
                    group["lr"] = settings.learning_rate * rate_at(step, total, settings)
                optimizer.step()
                optimizer.zero_grad()
                progress.step += 1
                progress.loss_sum += float(lost.detach())
                if after_step:
                    after_step(module, (step + 1) / total)
                advance(1)
                if progress.step % settings.checkpoint_every == 0:
                    checkpoint.write(folder, identity, progress, module, optimizer, best)
            best = _end_epoch(module, validation, settings, progress, best, task)
            checkpoint.write(folder, identity, progress, module, optimizer, best)
    with torch.no_grad():
        for name, tensor in checkpoint.tensors_of(module).items():
            tensor.copy_(best[name])
    module.to("cpu").eval()
    module.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return Fitted(
        progress.best_score,
        progress.best_epoch,
        tuple(progress.history),
        _MEASURE[task],
        tuple(progress.losses),
    )


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


def score_of(module: nn.Module, rows: Rows, settings: TrainingSettings, task: str) -> float:
    """Return a module's accuracy on labelled rows, in the precision of training; R2 if numbers."""
    right = wrong = 0.0
    device = device_of(settings.device).type
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


def has_bf16() -> bool:
    """Tell whether this processor computes in bf16 natively."""
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def _end_epoch(
    module: nn.Module,
    validation: Rows,
    settings: TrainingSettings,
    progress: Progress,
    best: dict[str, Tensor],
    task: str,
) -> dict[str, Tensor]:
    score = score_of(module, validation, settings, task)
    progress.history.append(score)
    progress.losses.append(progress.loss_sum / max(progress.step, 1))
    progress.epoch, progress.step, progress.loss_sum = progress.epoch + 1, 0, 0.0
    if not best or score >= progress.best_score or settings.keep == "last":
        progress.best_score, progress.best_epoch = score, progress.epoch
        best = {
            name: value.detach().cpu().clone()
            for name, value in checkpoint.tensors_of(module).items()
        }
    of = settings.epochs
    console.note(f"epoch {progress.epoch} of {of}: validation {_MEASURE[task]} {score:.4f}")
    return best


def is_stale(progress: Progress, patience: int) -> bool:
    """Tell whether the first epoch with the best score lies too far back to go on."""
    if not patience or not progress.history:
        return False
    best = progress.history.index(max(progress.history)) + 1
    return progress.epoch - best >= patience


def _auxiliary(answers: list[Tensor], batch: Batch, loss: Loss) -> Tensor:
    """Return the sum of the losses of a network's answers but the first.

    Raises:
        SettingError: there is no other.
    """
    if len(answers) < 2:
        raise SettingError("the network has no auxiliary answer; leave auxiliary weight out")
    return torch.stack([loss(answer.float(), batch) for answer in answers[1:]]).sum()


def _absolute(parameters: list[nn.Parameter]) -> Tensor:
    sums = [parameter.abs().sum() for parameter in parameters if parameter.ndim > 1]
    return torch.stack(sums).sum()


def diverged(
    progress: Progress, lost: Tensor, settings: TrainingSettings, folder: Path
) -> DivergedError:
    """Say at which step training ended in no number, and which checkpoint is still good."""
    kept = checkpoint.where(folder)
    return DivergedError(
        f"the loss is {float(lost.detach()):.3g} and its gradient no number "
        f"at epoch {progress.epoch + 1}, step {progress.step + 1} (learning rate "
        f"{settings.learning_rate}): try a lower --learning-rate. "
        + (f"The last good checkpoint is kept as {kept}" if kept else "No checkpoint was due yet")
    )


def device_of(name: str) -> torch.device:
    """Return a device by its setting's name; auto takes a GPU where there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise MissingError(
            "no CUDA device here: use --device cpu, or install a CUDA build of torch"
        )
    return torch.device(name)


@contextmanager
def autocast(precision: str, device: torch.device) -> Iterator[None]:
    """Compute in bf16 where the precision says so."""
    native = device.type == "cuda" or has_bf16()
    with torch.autocast(
        device.type, torch.bfloat16, enabled=precision == "bf16" or (precision == "auto" and native)
    ):
        yield


def identity_of(module: nn.Module, train: Rows, settings: TrainingSettings, run: str) -> str:
    """Return a hash of everything that a run depends on."""
    shapes = {name: list(value.shape) for name, value in module.named_parameters()}
    versions = [__version__, torch.__version__]
    machine = [torch.get_num_threads(), device_of(settings.device).type, has_bf16()]
    everything = [asdict(settings), shapes, len(train), *versions, *machine, run]
    return hashlib.sha256(json.dumps(everything).encode()).hexdigest()

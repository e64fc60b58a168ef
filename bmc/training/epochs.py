"""The epochs of a training run: batches in order, checkpoints, resumption, the best epoch."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from array import array
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from bmc import __version__, console, processes
from bmc.errors import DivergedError, ModelCodeError, SettingError
from bmc.model import AfterStep
from bmc.training import checkpoint, collective, shared_state
from bmc.training.batches import Rows
from bmc.training.checkpoint import Progress
from bmc.training.device import device_of, has_bf16
from bmc.training.optimizers import rate_at
from bmc.training.settings import WITHOUT_EFFECT, TrainingSettings


@dataclass(frozen=True)
class Fitted:
    """The validation scores of a training run.

    Args:
        score: score of the best epoch: accuracy, or in a regression R2, the share of the variance
            that the model explains.
        best_epoch: number of the best epoch, from 1.
        history: score of each epoch.
        measure: name of the score, such as "accuracy".
        losses: mean training loss of each epoch; empty where it was not recorded.
        metrics: further means over the training steps of each epoch, by name, such as the parts of
            a loss of distillation.
    """

    score: float
    best_epoch: int
    history: tuple[float, ...]
    measure: str
    losses: tuple[float, ...] = ()
    metrics: tuple[Mapping[str, float], ...] = ()

    def epochs(self) -> list[dict[str, float]]:
        """Return for each epoch its number, training loss and validation score."""
        records = []
        for number, score in enumerate(self.history, start=1):
            record: dict[str, float] = {"epoch": number, f"validation_{self.measure}": score}
            if len(self.losses) == len(self.history):
                record["training_loss"] = self.losses[number - 1]
            if len(self.metrics) == len(self.history):
                means = self.metrics[number - 1]
                record |= {f"training_{name}": value for name, value in means.items()}
            records.append(record)
        return records

    def to_json(self) -> dict[str, float]:
        """Return the entries of bmc.json for the run."""
        return {f"validation_{self.measure}": self.score, "best_epoch": self.best_epoch}


class Epochs(ABC):
    """A training run that resumes after an interruption.

    With the same numbers of threads and processes the result is bit-identical to that of a run that
    was not interrupted; with others it differs by rounding. A subclass trains on a batch and scores
    an epoch. Several processes train the same networks; the first writes checkpoints.

    Args:
        networks: module of all networks that are trained, and stored in checkpoints.
        result: network whose weights of the best epoch are kept: `networks`, or a part of it.
        optimizer: optimizer of the trainable parameters of `networks`.
        train: training rows.
        settings: training settings.
        folder: folder of the checkpoint.
        run: everything else that the result depends on, as text. A checkpoint with another `run`
            is not used.

    Raises:
        SettingError: the settings have no epoch.
    """

    score_name: str
    """Name of the score in notes, such as "validation accuracy"."""
    lower_is_better = False
    """Whether a smaller score is a better one."""

    def __init__(
        self,
        networks: nn.Module,
        result: nn.Module,
        optimizer: torch.optim.Optimizer,
        train: Rows,
        settings: TrainingSettings,
        folder: Path,
        run: str,
    ) -> None:
        if settings.epochs < 1:
            raise SettingError(f"epochs is {settings.epochs}; training takes at least 1")
        self._networks, self._result, self._optimizer = networks, result, optimizer
        self._train, self._settings, self._folder = train, settings, folder
        self._steps = len(self._order(0))
        self._total = self._steps * settings.epochs
        self._identity = _identity_of(networks, train, settings, run)
        self.progress, self._best = Progress(), dict[str, Tensor]()

    @abstractmethod
    def start_epoch(self) -> None:
        """Put the networks into training mode."""

    @abstractmethod
    def learn(self, indices: array[int], step: int) -> float:
        """Train the networks on a batch by calling `update`, and return the loss.

        Args:
            indices: indices of the batch's rows.
            step: number of the step in the run, from 0.
        """

    def end_step(self, step: int) -> None:  # noqa: B027  most have nothing to do then
        """Run at the end of a step, after `after_step`.

        Args:
            step: number of the step in the run, from 0.
        """

    @abstractmethod
    def score(self) -> float:
        """Return the score of the result on validation rows."""

    def is_better(self, score: float, best: float) -> bool:
        """Return whether a score is at least as good as the best so far."""
        return not score > best if self.lower_is_better else score >= best

    def fit(self, module: nn.Module, after_step: AfterStep | None) -> None:
        """Train until the last epoch, or until the score stops improving.

        Args:
            module: network to pass to `after_step`, which ends with the weights of the best epoch.
            after_step: function to call with the module and the share of completed steps, before
                the first step and after each step.

        Raises:
            DivergedError: a loss or its gradient became NaN or infinite.
        """
        settings, progress = self._settings, self._resume()
        done = progress.epoch * self._steps + progress.step
        if after_step and progress.epoch < settings.epochs:
            after_step(module, done / self._total)
        with console.progress("training", self._total, done=done) as advance:
            patience, lower = settings.patience, self.lower_is_better
            while progress.epoch < settings.epochs and not is_stale(progress, patience, lower):
                self.start_epoch()
                for indices in self._order(progress.epoch)[progress.step :]:
                    step = min(progress.epoch * self._steps + progress.step, self._total - 1)
                    loss = self._learn(indices, step)
                    progress.step += 1
                    progress.loss_sum += loss
                    if after_step:
                        after_step(module, (step + 1) / self._total)
                    self.end_step(step)
                    advance(1)
                    if progress.step % settings.checkpoint_every == 0:
                        self._write_checkpoint()
                self._end_epoch()
                self._write_checkpoint()
        with torch.no_grad():
            for name, tensor in checkpoint.tensors_of(module).items():
                if processes.is_first():
                    tensor.copy_(self._best[name])
            collective.copy_from_first(list(checkpoint.tensors_of(module).values()))

    def update(self, loss: Tensor, parameters: list[nn.Parameter], step: int) -> None:
        """Average the gradients over all processes, clip them, and run a step of the optimizer.

        Args:
            loss: loss whose gradients the parameters have.
            parameters: parameters whose gradients are clipped.
            step: number of the step in the run, from 0.

        Raises:
            DivergedError: a gradient is NaN or infinite; the weights are not changed.
        """
        collective.average_gradients(parameters)
        norm = nn.utils.clip_grad_norm_(parameters, self._settings.clip)
        if not torch.isfinite(norm):
            raise self._diverged(loss)
        for group in self._optimizer.param_groups:
            rate = rate_at(step, self._total, self._settings)
            group["lr"] = self._settings.learning_rate * rate
        self._optimizer.step()
        self._optimizer.zero_grad()

    def _learn(self, indices: array[int], step: int) -> float:
        """Train on a batch as `learn` does; an error of the user's network names the batch."""
        try:
            return self.learn(indices, step)
        except ModelCodeError as error:
            batch = f"epoch {self.progress.epoch + 1}, batch {self.progress.step + 1}"
            raise ModelCodeError(f"{error} ({batch}, {len(indices)} rows)") from error

    def _order(self, epoch: int) -> list[array[int]]:
        """Return the batches of an epoch."""
        settings = self._settings
        return self._train.shuffled(
            settings.batch_size, settings.seed, epoch, settings.batch_tokens
        )

    def _resume(self) -> Progress:
        """Restore the last checkpoint of this run, if there is one, and return the progress."""
        torch.manual_seed(self._settings.seed)
        collective.agree(self._identity)
        if processes.is_first():
            read = (self._folder, self._identity, self._networks, self._optimizer)
            self.progress, self._best = checkpoint.read(*read) or (self.progress, self._best)
        self.progress = shared_state.of_first(self.progress, self._networks, self._optimizer)
        if self.progress.epoch or self.progress.step:
            epoch, step = self.progress.epoch + 1, self.progress.step
            console.note(f"training resumes from epoch {epoch}, step {step}")
        return self.progress

    def _end_epoch(self) -> None:
        """Score the epoch, and keep a copy of its weights if they are to be the result."""
        own, progress = self.score(), self.progress
        score = collective.from_first(lambda: own)
        progress.history.append(score)
        progress.end_epoch()
        keeps_last = self._settings.keep == "last"
        if not progress.best_epoch or self.is_better(score, progress.best_score) or keeps_last:
            progress.best_score, progress.best_epoch = score, progress.epoch
            tensors = checkpoint.tensors_of(self._result) if processes.is_first() else {}
            self._best = {name: value.detach().cpu().clone() for name, value in tensors.items()}
        total = self._settings.epochs
        further = "".join(
            f", {name.replace('_', ' ')} {value:.4f}"
            for name, value in progress.metrics[-1].items()
        )
        console.note(f"epoch {progress.epoch} of {total}: {self.score_name} {score:.4f}{further}")

    def _write_checkpoint(self) -> None:
        if processes.is_first():
            run = (self._folder, self._identity, self.progress)
            checkpoint.write(*run, self._networks, self._optimizer, self._best)

    def _diverged(self, loss: Tensor) -> DivergedError:
        """Return an error that names the step and the last good checkpoint."""
        last_checkpoint = checkpoint.find(self._folder)
        return DivergedError(
            f"the loss is {float(loss.detach()):.3g} and its gradient NaN or infinite "
            f"at epoch {self.progress.epoch + 1}, step {self.progress.step + 1} (learning rate "
            f"{self._settings.learning_rate}): try a lower --learning-rate. "
            + (
                f"The last good checkpoint is kept as {last_checkpoint}"
                if last_checkpoint
                else "No checkpoint was written yet"
            )
        )


def is_stale(progress: Progress, patience: int, lower_is_better: bool = False) -> bool:
    """Return whether the score has not improved for a number of epochs.

    Args:
        progress: progress of the run.
        patience: number of epochs after the first epoch with the best score; 0 for no limit.
        lower_is_better: whether a smaller score is a better one.
    """
    if not patience or not progress.history:
        return False
    best = min(progress.history) if lower_is_better else max(progress.history)
    return progress.epoch - (progress.history.index(best) + 1) >= patience


def _identity_of(networks: nn.Module, train: Rows, settings: TrainingSettings, run: str) -> str:
    """Return a hash of everything that a run depends on."""
    shapes = {name: list(value.shape) for name, value in networks.named_parameters()}
    values = {name: v for name, v in asdict(settings).items() if name not in WITHOUT_EFFECT}
    versions = [__version__, torch.__version__]
    machine = [device_of(settings.device).type, has_bf16()]
    content = [values, shapes, len(train), *versions, *machine, run]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()

"""Checkpoints: everything that the next step depends on, in one safetensors file, not a pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from bmc import console, disk
from bmc.writing import replacing

_FILE = "checkpoint.safetensors"
_STATE = ("step", "exp_avg", "exp_avg_sq", "momentum_buffer", "sum")


@dataclass
class Progress:
    """The progress of a training run.

    Args:
        epoch: number of completed epochs.
        step: number of completed steps in the current epoch.
        best_score: best validation score so far; -1 before the first epoch has ended.
        best_epoch: number (from 1) of the epoch with the best score.
        history: validation score of each completed epoch.
        losses: mean training loss of each completed epoch.
        loss_sum: sum of the losses of the completed steps in the current epoch.
        metrics: mean of each further number over the steps of each completed epoch.
        metric_sums: sums of these numbers over the completed steps in the current epoch.
    """

    epoch: int = 0
    step: int = 0
    best_score: float = -1.0
    best_epoch: int = 0
    history: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    loss_sum: float = 0.0
    metrics: list[dict[str, float]] = field(default_factory=list)
    metric_sums: dict[str, float] = field(default_factory=dict)

    def add(self, metrics: Mapping[str, float]) -> None:
        """Add the numbers of one step to the sums of the current epoch."""
        for name, value in metrics.items():
            self.metric_sums[name] = self.metric_sums.get(name, 0.0) + value

    def end_epoch(self) -> None:
        """Put the means of the current epoch into the lists, and start the next epoch."""
        steps = max(self.step, 1)
        self.losses.append(self.loss_sum / steps)
        self.metrics.append({name: total / steps for name, total in self.metric_sums.items()})
        self.metric_sums.clear()
        self.epoch, self.step, self.loss_sum = self.epoch + 1, 0, 0.0


def write(
    folder: Path,
    identity: str,
    progress: Progress,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    best: dict[str, Tensor],
) -> None:
    """Write a checkpoint atomically: after an interruption the file is the old or the new one.

    Args:
        folder: folder of the checkpoint.
        identity: hash of everything that the run depends on.
        progress: progress of the run.
        module: the module in training.
        optimizer: optimizer of the module's trainable parameters.
        best: copies of parameters and buffers after the best epoch, by name.
    """
    tensors = {f"now.{name}": value.detach() for name, value in tensors_of(module).items()}
    tensors |= {f"best.{name}": value for name, value in best.items()}
    for name, parameter in trainable(module):
        for key, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{key}.{name}"] = value
    tensors["random.cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    metadata = {"identity": identity, "progress": json.dumps(asdict(progress))}
    disk.make_folders(folder)
    with replacing(folder / _FILE) as path:
        save_file({name: value.contiguous() for name, value in tensors.items()}, path, metadata)


def read(
    folder: Path,
    identity: str,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
) -> tuple[Progress, dict[str, Tensor]] | None:
    """Restore a module, its optimizer and the random number generators from a checkpoint.

    A checkpoint that is damaged or belongs to another run is not used; a note says so.

    Args:
        folder: folder of the checkpoint.
        identity: hash of everything that the run depends on.
        module: the module to restore.
        optimizer: the optimizer to restore.

    Returns:
        The progress and the best weights; None where this run has no checkpoint.
    """
    path = folder / _FILE
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("identity") != identity:
                console.note(
                    f"{path} belongs to another run (other data, settings, weights or versions): "
                    "training starts from the beginning"
                )
                return None
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        progress = Progress(**json.loads(metadata["progress"]))
        missing = {f"now.{name}" for name in tensors_of(module)} - tensors.keys()
        if missing or "random.cpu" not in tensors:
            raise KeyError(*missing)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        console.note(f"{path} is damaged ({str(error)[:80]}): training starts from the beginning")
        return None
    with torch.no_grad():
        for name, value in tensors_of(module).items():
            value.copy_(tensors[f"now.{name}"])
    for name, parameter in trainable(module):
        keys = {f"optimizer.{key}.{name}": key for key in _STATE}
        state = {key: tensors[name] for name, key in keys.items() if name in tensors}
        # Fused optimizers need the step count on the parameter's device, and the other states in
        # the parameter's memory layout.
        optimizer.state[parameter] = {
            key: value.to(parameter.device)
            if key == "step"
            else torch.empty_like(parameter).copy_(value)
            for key, value in state.items()
        }
    torch.set_rng_state(tensors["random.cpu"])
    if "random.cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["random.cuda"])
    best = {
        name.removeprefix("best."): value
        for name, value in tensors.items()
        if name.startswith("best.")
    }
    return progress, best


def find(folder: Path) -> Path | None:
    """Return the path of the checkpoint in a folder; None if there is none."""
    return folder / _FILE if (folder / _FILE).is_file() else None


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """Return a module's parameters and buffers by name, each once."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def trainable(module: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Return the names and parameters that training changes, each parameter once."""
    return [(name, value) for name, value in module.named_parameters() if value.requires_grad]

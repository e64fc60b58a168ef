"""The training loop: AdamW, warm-up and decay, clipping, bf16 where the processor has it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bmc import console
from bmc.errors import MissingError, SettingError
from bmc.model import AfterStep, Loss
from bmc.training import checkpoint
from bmc.training.batches import Batch, Rows
from bmc.training.checkpoint import Progress

_SCORING_BATCH = 64


@dataclass(frozen=True)
class TrainingSettings:
    """How to train.

    Args:
        epochs: passes over the training rows.
        learning_rate: peak of the schedule.
        batch_size: rows a step.
        warmup: share of all steps in which the rate rises from zero; then it falls to zero.
        weight_decay: AdamW's decoupled decay.
        clip: largest norm of the gradient.
        precision: "bf16", "fp32", or "auto": bf16 where the processor has instructions for it.
        device: "cpu", "cuda", or "auto": a GPU where there is one.
        seed: of batches, dropout and fresh weights.
        checkpoint_every: steps between two checkpoints.
    """

    epochs: int = 3
    learning_rate: float = 1e-4
    batch_size: int = 32
    warmup: float = 0.1
    weight_decay: float = 0.01
    clip: float = 1.0
    precision: str = "auto"
    device: str = "auto"
    seed: int = 0
    checkpoint_every: int = 200

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if not 0 <= self.seed < 2**63:
            raise SettingError(f"seed is {self.seed}; it must be 0 or more, below 2**63")
        if not 0 < self.learning_rate < 1:
            raise SettingError(f"learning rate is {self.learning_rate}; it must lie in (0, 1)")
        if not self.weight_decay >= 0:
            raise SettingError(f"weight decay is {self.weight_decay}; it must be 0 or more")
        if not self.clip > 0:
            raise SettingError(f"clip is {self.clip}; it must be above 0")
        if not 0 <= self.warmup < 1:
            raise SettingError(f"warmup is {self.warmup}; it must lie in [0, 1)")
        if self.precision not in ("auto", "bf16", "fp32"):
            raise SettingError(f"precision is {self.precision!r}; auto, bf16, fp32 are possible")
        if self.device not in ("auto", "cpu", "cuda"):
            raise SettingError(f"device is {self.device!r}; auto, cpu and cuda are possible")


@dataclass(frozen=True)
class Fitted:
    """What training reached: accuracy on the validation rows, the best epoch, each epoch's."""

    accuracy: float
    best_epoch: int
    history: tuple[float, ...]


def fit(
    module: nn.Module,
    train: Rows,
    validation: Rows,
    settings: TrainingSettings,
    folder: Path,
    loss: Loss | None = None,
    after_step: AfterStep | None = None,
    run: str = "",
) -> Fitted:
    """Train a module in place and leave it with the parameters of its best epoch.

    The same call after a kill goes on from the last checkpoint in `folder`, bit for bit as if
    nothing had happened (same thread count).

    Args:
        module: takes a batch's inputs and returns something with `.logits` (rows, classes).
        train: rows to learn from.
        validation: rows that pick the best epoch.
        settings: how.
        folder: for the checkpoint.
        loss: of logits and batch; cross-entropy where none is given.
        after_step: called with the module after every optimizer step (masks, schedules).
        run: whatever else the result depends on (data, teacher); another run's checkpoint is not
            taken.
    """
    device = _device(settings.device)
    module.to(device)
    optimizer = torch.optim.AdamW(
        [value for _, value in checkpoint.trainable(module)],
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
        fused=True,
    )
    steps = (len(train) + settings.batch_size - 1) // settings.batch_size
    total = steps * settings.epochs
    identity = _identity(module, train, settings, run)
    torch.manual_seed(settings.seed)
    progress, best = Progress(), dict[str, Tensor]()
    resumed = checkpoint.read(folder, identity, module, optimizer)
    if resumed:
        progress, best = resumed
        console.note(f"going on from epoch {progress.epoch + 1}, step {progress.step}")
    loss = loss or _cross_entropy
    done = progress.epoch * steps + progress.step
    with console.progress("training", total, done=done) as advance:
        while progress.epoch < settings.epochs:
            module.train()
            order = train.shuffled(settings.batch_size, settings.seed, progress.epoch)
            for places in order[progress.step :]:
                # Many processes would each take a part of `places` here and average gradients.
                batch = train.batch(places).to(device)
                with _autocast(settings.precision, device):
                    logits = module(**batch.inputs).logits
                loss(logits.float(), batch).backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(module.parameters(), settings.clip)
                for group in optimizer.param_groups:
                    group["lr"] = settings.learning_rate * _schedule(
                        progress.epoch * steps + progress.step, total, settings.warmup
                    )
                optimizer.step()
                optimizer.zero_grad()
                if after_step:
                    after_step(module)
                progress.step += 1
                advance(1)
                if progress.step % settings.checkpoint_every == 0:
                    checkpoint.write(folder, identity, progress, module, optimizer, best)
            best = _end_epoch(module, validation, settings, device, progress, best)
            checkpoint.write(folder, identity, progress, module, optimizer, best)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(best[name])
    module.to("cpu").eval()
    return Fitted(progress.best_score, progress.best_epoch, tuple(progress.history))


@torch.no_grad()
def logits_of(
    module: nn.Module, rows: Rows, places: list[int], precision: str, device: str
) -> Tensor:
    """Return a module's logits (rows, classes), fp32, for one batch of rows."""
    where = _device(device)
    module.to(where).eval()
    batch = rows.batch(places).to(where)
    with _autocast(precision, where):
        return module(**batch.inputs).logits.float().cpu()  # type: ignore[no-any-return]


def has_bf16() -> bool:
    """Tell whether this processor computes in bf16 natively."""
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def _end_epoch(
    module: nn.Module,
    validation: Rows,
    settings: TrainingSettings,
    device: torch.device,
    progress: Progress,
    best: dict[str, Tensor],
) -> dict[str, Tensor]:
    right = 0
    for places in validation.in_order(_SCORING_BATCH):
        logits = logits_of(module, validation, places, settings.precision, device.type)
        right += int((logits.argmax(dim=1) == validation.labels[places]).sum())
    score = right / len(validation)
    progress.history.append(score)
    progress.epoch, progress.step = progress.epoch + 1, 0
    if score >= progress.best_score:
        progress.best_score, progress.best_epoch = score, progress.epoch
        best = {name: value.detach().cpu().clone() for name, value in module.named_parameters()}
    epochs = settings.epochs
    console.note(f"epoch {progress.epoch} of {epochs}: validation accuracy {score:.4f}")
    return best


def _cross_entropy(logits: Tensor, batch: Batch) -> Tensor:
    return cross_entropy(logits, batch.labels)


def _schedule(step: int, total: int, warmup: float) -> float:
    rising = max(1, round(warmup * total))
    return min((step + 1) / rising, (total - step) / max(1, total - rising))


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise MissingError(
            "no CUDA device here: use --device cpu, or install a CUDA build of torch"
        )
    return torch.device(name)


@contextmanager
def _autocast(precision: str, device: torch.device) -> Iterator[None]:
    native = device.type == "cuda" or has_bf16()
    with torch.autocast(
        device.type, torch.bfloat16, enabled=precision == "bf16" or (precision == "auto" and native)
    ):
        yield


def _identity(module: nn.Module, train: Rows, settings: TrainingSettings, run: str) -> str:
    shapes = {name: list(value.shape) for name, value in module.named_parameters()}
    threads = torch.get_num_threads()
    everything = [asdict(settings), shapes, len(train), threads, torch.__version__, run]
    return hashlib.sha256(json.dumps(everything).encode()).hexdigest()

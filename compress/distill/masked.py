"""Masked language modeling on a task's texts, before a student is taught."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from bmc import console, disk, processes
from bmc.contracts import families
from bmc.data import content_of
from bmc.errors import SettingError, UsageError
from bmc.inputs import Many
from bmc.model import Model, Record, Work
from bmc.structure.word_table import word_table
from bmc.training import checkpoint, collective
from bmc.training.batches import Rows
from bmc.training.device import device_of, has_bf16
from bmc.training.identity import structure_of, weights_of
from bmc.training.masked_lm import MaskTokens, fit_masked
from bmc.training.settings import TrainingSettings
from bmc.training.work import every_step_of
from bmc.writing import replacing

_NAME = "masked language modeling"
_FILE = "encoder.safetensors"


@dataclass(frozen=True)
class Masked:
    """Train an encoder to predict hidden tokens of the training and transfer texts.

    The weights of the output layer are those of the word embedding. The trained encoder is cached,
    so the same initial weights, texts and settings are trained once. A run that was stopped
    resumes.

    Args:
        epochs: passes over all texts.
        learning_rate: peak learning rate.
        batch_size: texts per step.
        start: text that identifies the initial weights, for the cache; with "" they are hashed.
        seed: random seed of the batches and of the tokens that are hidden.
        precision: auto is bf16 where the processor supports it.
        accumulate: parts in which the texts of a step are computed one after another.

    Raises:
        SettingError: a setting is out of range.

    Source: Devlin et al. 2019, "BERT", section 3.1; Turc et al. 2019, "Well-Read Students Learn
    Better" (a student is pretrained before it is taught).
    """

    epochs: int = 1
    learning_rate: float = 1e-3
    batch_size: int = 128
    start: str = ""
    seed: int = 0
    precision: str = "auto"
    accumulate: int = 1

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise SettingError(f"epochs is {self.epochs}; it must be at least 1")
        self._settings("auto")

    def apply(self, model: Model, work: Work) -> Record:
        """Train the encoder; return an empty record, because its structure stays the same.

        Raises:
            UsageError: the model does not read text, its tokenizer has no mask token, or its family
                does not return hidden states.
        """
        table, _ = word_table(model, _NAME)
        encoder: Any = model.encoder
        tokens = MaskTokens.of(encoder.tokenizer)
        view = families.network(model.family).view
        if view is None:
            raise UsageError(
                f"{_NAME} needs hidden states, which a {model.family} does not show: leave "
                "--pretrain out"
            )
        module = model.module
        texts = (*work.data.train.rows, *work.unlabeled)
        identity = self._identity(model, texts, work.device)
        folder = work.cache / f"masked-{identity[:16]}"
        if collective.from_first(lambda: _restore(model, folder / _FILE)):
            collective.copy_from_first(list(checkpoint.tensors_of(model.module).values()))
            console.note(f"the encoder was pretrained on these texts before: {folder}")
            return {}

        def hidden(inputs: Mapping[str, Tensor]) -> Tensor:
            return view(module, inputs).hidden[-1]

        fit_masked(
            module,
            table,
            hidden,
            tokens,
            Rows(texts, [], encoder),
            Rows(work.data.validation.rows, [], encoder),
            self._settings(work.device),
            folder,
            run=identity,
            after_step=every_step_of(model, None),
        )
        _save(model, folder)
        return {}

    def _settings(self, device: str) -> TrainingSettings:
        return TrainingSettings(
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            accumulate=self.accumulate,
            keep="last",
            seed=self.seed,
            precision=self.precision,
            device=device,
        )

    def _identity(self, model: Model, texts: Many, device: str) -> str:
        """Return a sha256 of everything that the trained encoder depends on."""
        digest = hashlib.sha256()
        for row in texts:
            digest.update(content_of(row) + b"\x1e")
        kind = device_of(device).type
        machine = [kind, kind == "cuda" or has_bf16(), torch.__version__]
        start = self.start or weights_of(model.module)
        settings = {**asdict(self), "start": start}
        del settings["accumulate"]  # it saves memory, and changes the result by rounding alone
        parts = [structure_of(model), settings, digest.hexdigest(), machine]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @staticmethod
    def rebuild(model: Model, record: Record) -> None:
        """Do nothing: the model's own spec builds it."""


def _restore(model: Model, path: Path) -> bool:
    """Load a cached encoder into a model; return False if there is none of the same shapes."""
    if not path.is_file():
        return False
    tensors = checkpoint.tensors_of(model.module)
    try:
        cached = load_file(path)
        fits = cached.keys() == tensors.keys()
        if not fits or any(cached[name].shape != value.shape for name, value in tensors.items()):
            raise ValueError("it has other tensors")
    except (SafetensorError, OSError, ValueError) as error:
        console.note(f"{path} is damaged ({str(error)[:80]}): the encoder is pretrained again")
        return False
    with torch.no_grad():
        for name, value in tensors.items():
            value.copy_(cached[name])
    return True


def _save(model: Model, folder: Path) -> None:
    """Write the trained encoder to the cache, and remove its checkpoint."""
    if not processes.is_first():
        return
    tensors = checkpoint.tensors_of(model.module)
    disk.make_folders(folder)
    with replacing(folder / _FILE) as path:
        save_file({name: value.detach().contiguous() for name, value in tensors.items()}, path)
    last_checkpoint = checkpoint.find(folder)
    if last_checkpoint is not None:
        disk.remove(last_checkpoint)


STEP = Masked

"""How to train: the settings of a run, checked once."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from bmc.errors import SettingError

OPTIMIZERS = ("adamw", "adam", "sgd")
SCHEDULES = ("linear", "cosine", "exponential", "step", "fixed")
INITIALISATIONS = ("default", "normal", "xavier", "he")
AUGMENTATIONS = ("crop", "flip", "cutout", "word-drop")
CLASS_WEIGHTS = ("none", "balanced")
PRECISIONS = ("auto", "bf16", "fp32")
DEVICES = ("auto", "cpu", "cuda")
_CHOICES = {
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "initialisation": INITIALISATIONS,
    "class_weights": CLASS_WEIGHTS,
    "precision": PRECISIONS,
    "device": DEVICES,
    "keep": ("best", "last"),
}


@dataclass(frozen=True)
class TrainingSettings:
    """How to train.

    Args:
        epochs: passes over the training rows.
        learning_rate: peak of the schedule.
        batch_size: rows a step; with `batch_tokens`, the most rows.
        batch_tokens: time steps (tokens) a step, padding included; 0 for a fixed number of rows.
        optimizer: adamw, adam (L2 in the gradient), or sgd with momentum.
        momentum: of sgd.
        schedule: of the rate after the warm-up: linear or cosine to zero, exponential to a
            hundredth, step (a tenth after half and after three quarters), or fixed.
        warmup: share of all steps in which the rate rises from zero.
        weight_decay: L2 regularisation; decoupled in adamw.
        l1: weight of the sum of absolute weights in the loss.
        clip: largest norm of the gradient.
        label_smoothing: share of the target spread over all classes.
        auxiliary_weight: of the losses of a network's answers but the first, as GoogLeNet's.
        class_weights: "balanced" weighs a class by the inverse of its share, "none" all alike.
        initialisation: of fresh weights: the framework's default, normal, xavier or he.
        augment: random changes of training rows: crop, flip, cutout (images), word-drop (text).
        patience: epochs without a better validation score after which training ends; 0 for never.
        keep: which epoch's weights are kept, the "best" by validation score or the "last" one.
        precision: "bf16", "fp32", or "auto": bf16 where the processor has instructions for it.
        device: "cpu", "cuda", or "auto": a GPU where there is one.
        seed: of batches, dropout and fresh weights.
        checkpoint_every: steps between two checkpoints.

    Raises:
        SettingError: a setting is out of range.
    """

    epochs: int = 3
    learning_rate: float = 1e-4
    batch_size: int = 32
    batch_tokens: int = 0
    optimizer: str = "adamw"
    momentum: float = 0.9
    schedule: str = "linear"
    warmup: float = 0.1
    weight_decay: float = 0.01
    l1: float = 0.0
    clip: float = 1.0
    label_smoothing: float = 0.0
    auxiliary_weight: float = 0.0
    class_weights: str = "none"
    initialisation: str = "default"
    augment: tuple[str, ...] = ()
    patience: int = 0
    keep: str = "best"
    precision: str = "auto"
    device: str = "auto"
    seed: int = 0
    checkpoint_every: int = 200

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, float) and not math.isfinite(value):
                raise SettingError(f"{_words(field.name)} is {value}; it must be a number")
        for name in ("epochs", "batch_size", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise SettingError(
                    f"{_words(name)} is {getattr(self, name)}; it must be at least 1"
                )
        for name in ("batch_tokens", "weight_decay", "l1", "patience", "auxiliary_weight"):
            if getattr(self, name) < 0:
                raise SettingError(f"{_words(name)} is {getattr(self, name)}; it must be 0 or more")
        for name in ("warmup", "momentum", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise SettingError(
                    f"{_words(name)} is {getattr(self, name)}; it must lie in [0, 1)"
                )
        if not 0 <= self.seed < 2**63:
            raise SettingError(f"seed is {self.seed}; it must be 0 or more, below 2**63")
        if not 0 < self.learning_rate < 100:
            raise SettingError(f"learning rate is {self.learning_rate}; it must lie in (0, 100)")
        if not self.clip > 0:
            raise SettingError(f"clip is {self.clip}; it must be above 0")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise SettingError(
                    f"{_words(name)} is {getattr(self, name)!r}; possible: {', '.join(choices)}"
                )
        for name in self.augment:
            if name not in AUGMENTATIONS:
                raise SettingError(
                    f"no augmentation named {name!r}; possible: {', '.join(AUGMENTATIONS)}"
                )


def _words(name: str) -> str:
    return name.replace("_", " ")

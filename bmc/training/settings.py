"""Training settings, checked once."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import ClassVar

from bmc.choices import Choice, about, check_choices
from bmc.errors import SettingError

OPTIMIZERS = ("adamw", "adam", "sgd", "adagrad")
SCHEDULES = ("linear", "cosine", "exponential", "step", "fixed")
INITIALIZATIONS = ("default", "normal", "xavier", "he")
MIXKD = "mixkd"
"""The augmentation that mixes word embeddings of two texts, which a teacher must predict."""
AUGMENTATIONS = (
    *("crop", "flip", "cutout", "mixup", "cutmix"),
    *("word-drop", "word-swap", MIXKD),
    *("shift", "speed", "noise"),
)
AUGMENTATION = Choice("augmentation", AUGMENTATIONS, commas=True)
NEIGHBORS = "neighbors"
TEXT_EDITS = (NEIGHBORS, "swap", "drop")
CLASS_WEIGHTS = ("none", "balanced")
PRECISIONS = ("auto", "bf16", "fp32")
DEVICES = ("auto", "cpu", "cuda")
WITHOUT_EFFECT = ("checkpoint_every",)
"""Settings that do not change what is trained."""
PRECISION = Choice("precision", PRECISIONS)
DEVICE = Choice("device", DEVICES)


@dataclass(frozen=True)
class TrainingSettings:
    """The settings of a training run.

    Args:
        epochs: passes over the training rows; 0 takes trained weights as they are, where the model
            has them: a Hugging Face folder with a head for these classes, your own network.
        learning_rate: peak learning rate of the schedule.
        batch_size: rows per step; with `batch_tokens`, rows per step at most.
        accumulate: parts in which the rows of a step are computed one after another: less memory.
        batch_tokens: tokens or time steps per step, padding included, instead of `batch_size`; 0
            for a fixed number of rows.
        optimizer: adamw, adam (L2 in the gradient), sgd with momentum, or adagrad, which suits rows
            of an embedding that are rarely looked up.
        momentum: momentum of sgd.
        schedule: learning rate schedule after the warm-up: linear or cosine to zero, exponential to
            a hundredth, step (a tenth after half and after three quarters), or fixed.
        warmup: fraction of all steps in which the learning rate rises from zero.
        weight_decay: weight decay (L2 regularization); decoupled in adamw.
        l1: weight of the L1 regularization.
        clip: maximum gradient norm.
        label_smoothing: label smoothing, from 0 to 1.
        auxiliary_weight: weight of the losses of auxiliary outputs, such as 0.3 for GoogLeNet's.
        class_weights: balanced weights the loss of a class by the inverse of its frequency.
        initialization: initialization of new weights: the framework's default, normal, xavier or
            he.
        augment: augmentation: crop, flip, cutout, mixup and cutmix for images, word-drop and
            word-swap for text, mixkd for text with a teacher, shift, speed and noise for sound,
            separated by commas.
        patience: early stopping after this number of epochs without a better score; 0 for never.
        keep: which epoch's weights are kept: best by validation score, or last.
        precision: auto is bf16 where the processor supports it.
        device: auto is cuda where there is a GPU.
        seed: random seed of new weights, batches and dropout.
        checkpoint_every: steps between two checkpoints.

    Raises:
        SettingError: a setting is out of range.
    """

    GROUP: ClassVar[str] = "Training"

    epochs: int = 3
    learning_rate: float = 1e-4
    batch_size: int = 32
    accumulate: int = 1
    batch_tokens: int = 0
    optimizer: str = field(default="adamw", metadata=about(Choice("optimizer", OPTIMIZERS)))
    momentum: float = 0.9
    schedule: str = field(default="linear", metadata=about(Choice("schedule", SCHEDULES)))
    warmup: float = 0.1
    weight_decay: float = 0.01
    l1: float = 0.0
    clip: float = 1.0
    label_smoothing: float = 0.0
    auxiliary_weight: float = 0.0
    class_weights: str = field(
        default="none", metadata=about(Choice("class weighting", CLASS_WEIGHTS))
    )
    initialization: str = field(
        default="default",
        metadata=about(Choice("initialization", INITIALIZATIONS), alias="initialisation"),
    )
    augment: tuple[str, ...] = field(default=(), metadata=about(AUGMENTATION, group="Data"))
    patience: int = 0
    keep: str = field(default="best", metadata=about(Choice("epoch to keep", ("best", "last"))))
    precision: str = field(default="auto", metadata=about(PRECISION))
    device: str = field(default="auto", metadata=about(DEVICE))
    seed: int = 0
    checkpoint_every: int = 200

    def __post_init__(self) -> None:
        for setting in fields(self):
            value = getattr(self, setting.name)
            if isinstance(value, float) and not math.isfinite(value):
                raise SettingError(f"{_words(setting.name)} is {value}; it must be a finite number")
        for name in ("batch_size", "accumulate", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise SettingError(
                    f"{_words(name)} is {getattr(self, name)}; it must be at least 1"
                )
        for name in (
            "epochs",
            "batch_tokens",
            "weight_decay",
            "l1",
            "patience",
            "auxiliary_weight",
        ):
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
        check_choices(self)


def _words(name: str) -> str:
    return name.replace("_", " ")

"""Image models of timm (PyTorch Image Models), by their timm name: timm:NAME."""

from __future__ import annotations

from dataclasses import dataclass

from bmc.contracts import Family
from bmc.families import _options
from bmc.training.settings import TrainingSettings


@dataclass(frozen=True)
class Settings(_options.ImageOptions):
    """Settings of a timm model; a model with a fixed image size gets images of that size.

    Args:
        pretrained: whether to start from timm's pretrained weights, which timm downloads.
    """

    pretrained: bool = False


def recipe(name: str) -> TrainingSettings:
    """Return the default training settings."""
    return TrainingSettings(
        epochs=5,
        learning_rate=1e-3,
        batch_size=64,
        weight_decay=0.05,
        label_smoothing=0.1,
        augment=("flip", "crop"),
    )


FAMILY = Family(
    takes=("image",),
    settings=Settings,
    recipe=recipe,
    network="bmc.models.timm",
    prefix="timm",
    references={"timm:NAME": "an image model of timm, if timm is installed"},
)

"""Image models of timm (PyTorch Image Models), by their name there: timm:NAME."""

from __future__ import annotations

from dataclasses import dataclass

from bmc.contracts import Family
from bmc.families import _options
from bmc.training.settings import TrainingSettings


@dataclass(frozen=True)
class Settings(_options.ImageOptions):
    """What can be chosen; images of a model for one size alone are resized to it by themselves.

    Args:
        pretrained: whether to start from timm's weights, which it fetches from its hub.
    """

    pretrained: bool = False


def recipe(name: str) -> TrainingSettings:
    """Return how it is trained where the command line does not say."""
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
    references={"timm:NAME": "an image model of timm, where it is installed"},
)

"""VGG with batch norm, 11 and 16 layers: 3x3 convolutions, pooled five times.

Source: Simonyan and Zisserman 2015, "Very Deep Convolutional Networks for Large-Scale Image
Recognition" (configurations A and D); Ioffe and Szegedy 2015, "Batch Normalization".
"""

from __future__ import annotations

from dataclasses import dataclass

from bmc.contracts import Family
from bmc.families import _options
from bmc.training.settings import TrainingSettings

MAX_WIDTH = 1024
MAX_HIDDEN = 16384


@dataclass(frozen=True)
class Settings(_options.ImageOptions):
    """Settings of a VGG.

    Args:
        width: channels of the first stage; the last stage has eight times as many.
        hidden: width of the two fully connected layers; 0 chooses 4096 as published, and 512 for
            images up to 64x64, which have a fiftieth of the features.
        dropout: dropout probability after each hidden fully connected layer.
    """

    width: int = 64
    hidden: int = 0
    dropout: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        _options.check_range("width", self.width, MAX_WIDTH)
        if self.hidden:
            _options.check_range("hidden", self.hidden, MAX_HIDDEN)
        _options.check_fraction("dropout", self.dropout)


def recipe(name: str) -> TrainingSettings:
    """Return the default training settings."""
    return TrainingSettings(
        epochs=4,
        learning_rate=0.05,
        batch_size=128,
        optimizer="sgd",
        warmup=0.15,
        weight_decay=5e-4,
        clip=5.0,
        label_smoothing=0.1,
        augment=("flip",),
    )


FAMILY = Family(
    takes=("image",),
    settings=Settings,
    recipe=recipe,
    network="bmc.models.vgg",
    baselines={
        "vgg11": "VGG-11 with batch norm: 9.8 M parameters up to 64x64, 133 M at 224x224",
        "vgg16": "VGG-16 with batch norm: 15.3 M parameters up to 64x64, 138 M at 224x224",
    },
)

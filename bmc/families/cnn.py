"""A small convolutional network: conv 32 - pool - conv 64 - pool - 100 - classes.

Source: LeCun et al. 1998, "Gradient-Based Learning Applied to Document Recognition", with ReLU and
maximum pooling.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bmc.choices import Among, about
from bmc.contracts import Family
from bmc.families import _options
from bmc.training.settings import TrainingSettings

MAX_WIDTH = 4096


@dataclass(frozen=True)
class Settings(_options.ImageOptions):
    """Settings of the network.

    Args:
        width: channels of the first convolution; the second convolution has twice as many.
        hidden: width of the fully connected layer.
        dropout: dropout probability before the output layer.
    """

    width: int = field(default=32, metadata=about(search=Among((8, 16, 24, 32))))
    hidden: int = 100
    dropout: float = 0.25

    def __post_init__(self) -> None:
        super().__post_init__()
        _options.check_range("width", self.width, MAX_WIDTH)
        _options.check_range("hidden", self.hidden, MAX_WIDTH)
        _options.check_fraction("dropout", self.dropout)


def recipe(name: str) -> TrainingSettings:
    """Return the default training settings."""
    return TrainingSettings(
        epochs=8,
        learning_rate=2e-3,
        batch_size=128,
        augment=("flip",),
        checkpoint_every=1000,
    )


FAMILY = Family(
    takes=("image",),
    settings=Settings,
    recipe=recipe,
    network="bmc.models.cnn",
    baselines={
        "cnn": "small convolutional network: conv 32, pool, conv 64, pool, 100",
    },
)

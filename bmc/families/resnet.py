"""Residual networks: ResNet-18, -34 and -50, with a smaller stem for small images.

Source: He et al. 2016, "Deep Residual Learning for Image Recognition" (table 1; section 4.2 for
small images); in a bottleneck the 3x3 convolution has the stride, as in torchvision.
The last batch norm of a block starts at zero: Goyal et al. 2017, "Accurate, Large Minibatch SGD".
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bmc.choices import Among, about
from bmc.contracts import Family
from bmc.families import _options
from bmc.training.settings import TrainingSettings

MAX_WIDTH = 1024


@dataclass(frozen=True)
class Settings(_options.ImageOptions):
    """Settings of a residual network.

    Args:
        width: channels of the first stage; each later stage has twice as many as the one before.
    """

    width: int = field(default=64, metadata=about(search=Among((16, 32, 48, 64))))

    def __post_init__(self) -> None:
        super().__post_init__()
        _options.check_range("width", self.width, MAX_WIDTH)


def recipe(name: str) -> TrainingSettings:
    """Return the default training settings."""
    return TrainingSettings(
        epochs=5,
        learning_rate=2e-3,
        batch_size=128,
        warmup=0.15,
        weight_decay=0.05,
        clip=5.0,
        label_smoothing=0.1,
        augment=("flip",),
    )


FAMILY = Family(
    takes=("image",),
    settings=Settings,
    recipe=recipe,
    network="bmc.models.resnet",
    baselines={
        "resnet18": "ResNet-18: 11.2 M parameters; up to 64x64 a 3x3 first convolution",
        "resnet34": "ResNet-34: 21.3 M parameters; up to 64x64 a 3x3 first convolution, stride 2",
        "resnet50": "ResNet-50: 23.5 M parameters; up to 64x64 a 3x3 first convolution, stride 2",
    },
)

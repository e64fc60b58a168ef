"""MobileNetV2: inverted residuals with depthwise convolutions; with ImageNet weights.

Source: Sandler et al. 2018, "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (table 2).
"""

from __future__ import annotations

from dataclasses import dataclass

from bmc.contracts import Family
from bmc.errors import SettingError
from bmc.families import _options
from bmc.training.settings import TrainingSettings


@dataclass(frozen=True)
class Settings(_options.ImageOptions):
    """Settings of a MobileNetV2.

    Args:
        pretrained: whether to start from ImageNet weights.
        multiplier: factor of all channel counts, 0.1 to 4; it must be 1 for pretrained weights.
        dropout: dropout probability before the output layer.
    """

    pretrained: bool = True
    multiplier: float = 1.0
    dropout: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.1 <= self.multiplier <= 4:
            raise SettingError(f"multiplier is {self.multiplier}; it must lie in [0.1, 4]")
        if self.pretrained and self.multiplier != 1:
            raise SettingError(
                f"multiplier is {self.multiplier}, but the ImageNet weights are for 1; "
                "add --set pretrained=false"
            )
        _options.check_fraction("dropout", self.dropout)


def recipe(name: str) -> TrainingSettings:
    """Return the default training settings."""
    return TrainingSettings(
        epochs=5,
        learning_rate=0.05,
        batch_size=128,
        optimizer="sgd",
        warmup=0.1,
        weight_decay=1e-4,
        clip=5.0,
        label_smoothing=0.1,
        augment=("flip",),
    )


FAMILY = Family(
    takes=("image",),
    settings=Settings,
    recipe=recipe,
    network="bmc.models.mobilenet_v2",
    baselines={
        "mobilenet-v2": (
            "MobileNetV2, 2.2 M parameters, with ImageNet weights; up to 64x64 stride 1 in the "
            "first convolution"
        ),
    },
)

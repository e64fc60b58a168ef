"""A generative adversarial network of linear layers: noise in, small images out.

The model is the generator. The discriminator is stored only in training checkpoints.

Source: Goodfellow et al. 2014, "Generative Adversarial Nets".
"""

from __future__ import annotations

from dataclasses import dataclass

from bmc.contracts import Family
from bmc.families import _options
from bmc.training.settings import TrainingSettings

MAX_WIDTH = 4096


@dataclass(frozen=True)
class Settings(_options.ImageOptions):
    """Settings of a GAN.

    Args:
        latent: number of noise values that the generator turns into an image.
        width: width of the generator's first layer; its next layers are twice and four times as
            wide, and the discriminator has the same widths in reverse order.
    """

    latent: int = 100
    width: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        _options.check_range("latent", self.latent, MAX_WIDTH)
        _options.check_range("width", self.width, MAX_WIDTH)


def recipe(name: str) -> TrainingSettings:
    """Return the default training settings of a GAN."""
    return TrainingSettings(
        epochs=60,
        learning_rate=3e-4,
        batch_size=128,
        optimizer="adam",
        schedule="linear",
        warmup=0.0,
        weight_decay=0.0,
        clip=10.0,
        label_smoothing=0.1,
        checkpoint_every=400,
    )


FAMILY = Family(
    takes=("image",),
    settings=Settings,
    recipe=recipe,
    network="bmc.models.gan",
    baselines={
        "gan": (
            "generator of 4 linear layers with batch norm, from 100 values of noise to small images"
        ),
    },
)

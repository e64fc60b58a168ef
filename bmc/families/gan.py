"""A generative adversarial network of linear layers: noise in, small images out.

The model is the generator. The discriminator that taught it lives in training checkpoints alone.

Source: Goodfellow et al. 2014, "Generative Adversarial Nets".
"""

from __future__ import annotations

from dataclasses import dataclass

from bmc.contracts import Family
from bmc.families import _options
from bmc.training.settings import TrainingSettings

MOST = 4096


@dataclass(frozen=True)
class Settings(_options.ImageOptions):
    """What can be chosen of a GAN.

    Args:
        latent: values of noise that an image is made from.
        width: outputs of the generator's first layer; the next ones have twice and four times as
            many, and the discriminator's the same in reverse.
    """

    latent: int = 100
    width: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        _options.check_range("latent", self.latent, MOST)
        _options.check_range("width", self.width, MOST)


def recipe(name: str) -> TrainingSettings:
    """Return how a GAN is trained where the command line does not say."""
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

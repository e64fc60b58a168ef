"""Multilayer perceptron: pixels, numbers, or mean energies of sound, through linear layers.

Source: Rumelhart, Hinton and Williams 1986, "Learning Representations by Back-propagating Errors".
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bmc.choices import Among, about
from bmc.contracts import Family
from bmc.families import _options
from bmc.training.settings import TrainingSettings

MAX_LAYERS = 64


@dataclass(frozen=True)
class Settings(_options.ImageOptions, _options.AudioOptions):
    """Settings of the perceptron.

    Args:
        width: width of each hidden layer.
        depth: number of hidden layers; 0 for a linear model of the pixels, numbers or mean
            log-mel energies.
        dropout: dropout probability after each hidden layer.
    """

    width: int = field(default=128, metadata=about(search=Among((16, 32, 64, 128))))
    depth: int = 1
    dropout: float = 0.0

    def __post_init__(self) -> None:
        _options.ImageOptions.__post_init__(self)
        _options.AudioOptions.__post_init__(self)
        _options.check_range("width", self.width)
        if self.depth:
            _options.check_range("depth", self.depth, MAX_LAYERS)
        _options.check_fraction("dropout", self.dropout)


def recipe(name: str) -> TrainingSettings:
    """Return the default training settings for images."""
    return TrainingSettings(epochs=12, learning_rate=1.5e-3, batch_size=128, checkpoint_every=1000)


FAMILY = Family(
    takes=("image", "features", "audio"),
    settings=Settings,
    recipe=recipe,
    network="bmc.models.mlp",
    baselines={
        "mlp": "perceptron for images, tabular data and sound: one hidden layer of 128, ReLU",
    },
    # Tables have few rows: 400 of them make 13 steps of 32 an epoch.
    recipes={
        "features": TrainingSettings(
            epochs=40, learning_rate=2e-3, batch_size=32, precision="fp32", checkpoint_every=1000
        ),
        "audio": TrainingSettings(
            epochs=20, learning_rate=1e-2, batch_size=32, precision="fp32", checkpoint_every=1000
        ),
    },
)

"""Multilayer perceptron: an image's pixels as one vector, through fully connected layers.

Source: Rumelhart, Hinton and Williams 1986, "Learning Representations by Back-propagating Errors".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from bmc.data import Dataset
from bmc.model import Model, Parts
from bmc.models import _images
from bmc.models._images import examples as examples
from bmc.training.settings import TrainingSettings

KINDS = ("image",)
BASELINES: Mapping[str, str] = {
    "mlp": "perceptron for images: one hidden layer of 128 (784-128-10 at 28x28), ReLU",
}
_MOST_LAYERS = 64


@dataclass(frozen=True)
class Settings(_images.ImageOptions):
    """What can be chosen.

    Args:
        width: of each hidden layer.
        depth: hidden layers.
        dropout: behind each hidden layer.
    """

    width: int = 128
    depth: int = 1
    dropout: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _images.check_range("width", self.width)
        _images.check_range("depth", self.depth, _MOST_LAYERS)
        _images.check_share("dropout", self.dropout)


class Perceptron(_images.ImageModule):
    """Hidden layers with ReLU, then a linear output.

    Args:
        image: channels, height and width.
        outputs: classes, or 1 in a regression.
        width: of each hidden layer.
        depth: hidden layers.
        dropout: behind each hidden layer.
    """

    def __init__(
        self, image: tuple[int, int, int], outputs: int, width: int, depth: int, dropout: float
    ) -> None:
        super().__init__(image)
        widths = [math.prod(image), *[width] * depth]
        self.hidden = nn.Sequential()
        for given, made in pairwise(widths):
            self.hidden.extend([nn.Linear(given, made), nn.ReLU(), nn.Dropout(dropout)])
        self.output = nn.Linear(width, outputs)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits (rows, outputs) of pixels (rows, channels, height, width)."""
        logits: Tensor = self.output(self.hidden(pixels.flatten(1)))
        return logits


def recipe(name: str) -> TrainingSettings:
    """Return how it is trained where the command line does not say."""
    return TrainingSettings(epochs=12, learning_rate=1.5e-3, batch_size=128, checkpoint_every=1000)


def baseline(reference: str, data: Dataset, settings: Settings) -> Model:
    """Build an untrained perceptron for the images and classes of a data set."""
    encoder = _images.encoder_for(data, settings.image_size)
    spec = {"hidden": settings.width, "depth": settings.depth, "dropout": settings.dropout}
    return _images.model_for(data, "mlp", encoder, spec, build)


def build(spec: Mapping[str, Any]) -> nn.Module:
    """Build an untrained perceptron.

    Raises:
        ArtifactError: the spec is malformed.
    """
    return Perceptron(
        _images.image_of(spec),
        _images.whole_of(spec, "outputs"),
        _images.whole_of(spec, "hidden"),
        _images.whole_of(spec, "depth", most=_MOST_LAYERS),
        _images.share_of(spec, "dropout"),
    ).eval()


def parts(module: nn.Module) -> Parts:
    """Say where the hidden layers and the output are."""
    every = module.named_modules(remove_duplicate=False)
    layers = [name for name, part in every if isinstance(part, nn.Linear)]
    return Parts(tuple(layers[:-1]), {}, (), ("output",))

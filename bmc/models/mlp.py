"""Multilayer perceptron: an image's pixels as one vector, through fully connected layers.

Source: Rumelhart, Hinton and Williams 1986, "Learning Representations by Back-propagating Errors".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from bmc.contracts import Network
from bmc.data import Dataset
from bmc.families.mlp import MAX_LAYERS
from bmc.families.mlp import Settings as Settings
from bmc.model import Model, Parts
from bmc.models import image_networks
from bmc.models.image_networks import examples as examples


class Perceptron(image_networks.ImageModule):
    """Hidden layers with ReLU, if there are any, then a linear output.

    Args:
        image: channels, height and width.
        outputs: classes, or 1 in a regression.
        width: width of each hidden layer.
        depth: number of hidden layers.
        dropout: dropout probability after each hidden layer.
    """

    def __init__(
        self, image: tuple[int, int, int], outputs: int, width: int, depth: int, dropout: float
    ) -> None:
        super().__init__(image)
        widths = [math.prod(image), *[width] * depth]
        self.hidden = nn.Sequential()
        for inputs, units in pairwise(widths):
            self.hidden.extend([nn.Linear(inputs, units), nn.ReLU(), nn.Dropout(dropout)])
        self.output = nn.Linear(widths[-1], outputs)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits (rows, outputs) of pixels (rows, channels, height, width)."""
        logits: Tensor = self.output(self.hidden(pixels.flatten(1)))
        return logits


def baseline(reference: str, data: Dataset, settings: Settings) -> Model:
    """Build an untrained perceptron for the images and classes of a data set."""
    encoder = image_networks.encoder_for(data, settings.image_size)
    spec = {"hidden": settings.width, "depth": settings.depth, "dropout": settings.dropout}
    return image_networks.model_for(data, "mlp", encoder, spec, build)


def build(spec: Mapping[str, Any]) -> nn.Module:
    """Build an untrained perceptron.

    Raises:
        ArtifactError: the spec is malformed.
    """
    return Perceptron(
        image_networks.image_of(spec),
        image_networks.whole_of(spec, "outputs"),
        image_networks.whole_of(spec, "hidden"),
        image_networks.whole_of(spec, "depth", least=0, most=MAX_LAYERS),
        image_networks.share_of(spec, "dropout"),
    ).eval()


def parts(module: nn.Module) -> Parts:
    """Return the paths of the hidden layers and the output layer."""
    every = module.named_modules(remove_duplicate=False)
    layers = [name for name, part in every if isinstance(part, nn.Linear)]
    return Parts(tuple(layers[:-1]), {}, (), ("output",))


NETWORK = Network(
    baseline=baseline,
    build=build,
    examples=examples,
    parts=parts,
)

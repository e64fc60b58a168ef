"""A small convolutional network: conv 32 - pool - conv 64 - pool - 100 - classes.

Source: LeCun et al. 1998, "Gradient-Based Learning Applied to Document Recognition", with ReLU and
maximum pooling.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from bmc.contracts import Network
from bmc.data import Dataset
from bmc.errors import ArtifactError
from bmc.families.cnn import MAX_WIDTH
from bmc.families.cnn import Settings as Settings
from bmc.model import Model, Parts
from bmc.models import image_networks
from bmc.models.feature_maps import view
from bmc.models.image_networks import examples as examples

_MIN_SIDE = 4


class ConvolutionalNetwork(image_networks.ImageModule):
    """Two 3x3 convolutions, each with ReLU and 2x2 maximum pooling, and two linear layers.

    Args:
        image: channels, height and width.
        outputs: classes, or 1 in a regression.
        width: channels of the first convolution.
        hidden: width of the fully connected layer.
        dropout: dropout probability before the output layer.
    """

    def __init__(
        self, image: tuple[int, int, int], outputs: int, width: int, hidden: int, dropout: float
    ) -> None:
        super().__init__(image)
        channels, height, columns = image
        self.features = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.hidden = nn.Linear(2 * width * (height // 4) * (columns // 4), hidden)
        self.activation = nn.ReLU()
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden, outputs)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits (rows, outputs) of pixels (rows, channels, height, width)."""
        hidden = self.activation(self.hidden(self.features(pixels).flatten(1)))
        logits: Tensor = self.output(self.dropout(hidden))
        return logits


def baseline(reference: str, data: Dataset, settings: Settings) -> Model:
    """Build an untrained network for the images and classes of a data set."""
    encoder = image_networks.encoder_for(data, settings.image_size)
    spec = {"filters": settings.width, "hidden": settings.hidden, "dropout": settings.dropout}
    return image_networks.model_for(data, "cnn", encoder, spec, build)


def build(spec: Mapping[str, Any]) -> nn.Module:
    """Build an untrained network.

    Raises:
        ArtifactError: the spec is malformed, or the images are too small to be halved twice.
    """
    image = image_networks.image_of(spec)
    if min(image[1:]) < _MIN_SIDE:
        raise ArtifactError(f"images of {image[1]}x{image[2]} are too small; 4x4 is the smallest")
    return ConvolutionalNetwork(
        image,
        image_networks.whole_of(spec, "outputs"),
        image_networks.whole_of(spec, "filters", most=MAX_WIDTH),
        image_networks.whole_of(spec, "hidden", most=MAX_WIDTH),
        image_networks.share_of(spec, "dropout"),
    ).eval()


def parts(module: nn.Module) -> Parts:
    """Return the paths of the layers and the output layer."""
    kinds = (nn.Conv2d, nn.Linear)
    every = module.named_modules(remove_duplicate=False)
    layers = [name for name, part in every if isinstance(part, kinds)]
    return Parts(tuple(layers[:-1]), {}, (), ("output",))


NETWORK = Network(
    baseline=baseline,
    build=build,
    examples=examples,
    parts=parts,
    view=view,
)

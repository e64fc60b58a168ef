"""VGG with batch norm, 11 and 16 layers: 3x3 convolutions, pooled five times.

Source: Simonyan and Zisserman 2015, "Very Deep Convolutional Networks for Large-Scale Image
Recognition" (configurations A and D); Ioffe and Szegedy 2015, "Batch Normalization".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from bmc.contracts import Network
from bmc.data import Dataset
from bmc.errors import ArtifactError
from bmc.families.vgg import MAX_HIDDEN, MAX_WIDTH
from bmc.families.vgg import Settings as Settings
from bmc.inference.folding import fold_batch_norms
from bmc.model import Model, Parts
from bmc.models import image_networks
from bmc.models.feature_maps import view
from bmc.models.image_networks import examples as examples

_MIN_SIDE = 32
_POOLED = 7

# Convolutions of each stage, and their width as a multiple of the first stage's.
_STAGES = {"vgg11": (1, 1, 2, 2, 2), "vgg16": (2, 2, 3, 3, 3)}
_WIDTHS = (1, 2, 4, 8, 8)


class Vgg(image_networks.ImageModule):
    """Five stages of convolutions, each pooled to half its size, and three linear layers.

    Args:
        image: channels, height and width; a side below 32 is padded to 32 with zeros.
        outputs: classes, or 1 in a regression.
        stages: convolutions of each stage.
        width: channels of the first stage.
        hidden: width of the two hidden fully connected layers.
        dropout: dropout probability after each hidden fully connected layer.
    """

    def __init__(
        self,
        image: tuple[int, int, int],
        outputs: int,
        stages: tuple[int, ...],
        width: int,
        hidden: int,
        dropout: float,
    ) -> None:
        super().__init__(image)
        in_features, height, across = image
        wide, tall = (max(0, _MIN_SIDE - side) for side in (across, height))
        border = (wide // 2, wide - wide // 2, tall // 2, tall - tall // 2)
        self.border = nn.ZeroPad2d(border) if any(border) else nn.Identity()
        self.features = nn.Sequential()
        for count, factor in zip(stages, _WIDTHS, strict=True):
            for _ in range(count):
                convolution = nn.Conv2d(in_features, width * factor, 3, padding=1)
                nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
                self.features.extend([convolution, nn.BatchNorm2d(width * factor), nn.ReLU()])
                in_features = width * factor
            self.features.append(nn.MaxPool2d(2))
        pooled = [min(_POOLED, max(side, _MIN_SIDE) // 32) for side in (height, across)]
        self.avgpool = nn.AdaptiveAvgPool2d((pooled[0], pooled[1]))
        self.classifier = nn.Sequential(
            nn.Linear(in_features * pooled[0] * pooled[1], hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, outputs),
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits (rows, outputs) of pixels (rows, channels, height, width)."""
        features = self.avgpool(self.features(self.border(pixels)))
        logits: Tensor = self.classifier(features.flatten(1))
        return logits


def baseline(reference: str, data: Dataset, settings: Settings) -> Model:
    """Build an untrained VGG for the images and classes of a data set."""
    encoder = image_networks.encoder_for(data, settings.image_size)
    small = max(encoder.settings.height, encoder.settings.width) <= image_networks.SMALL
    spec = {
        "architecture": reference,
        "filters": settings.width,
        "hidden": settings.hidden or (512 if small else 4096),
        "dropout": settings.dropout,
    }
    return image_networks.model_for(data, "vgg", encoder, spec, build)


def build(spec: Mapping[str, Any]) -> nn.Module:
    """Build an untrained VGG.

    Raises:
        ArtifactError: the spec is malformed.
    """
    stages = _STAGES.get(str(spec.get("architecture")))
    if stages is None:
        raise ArtifactError(f"no VGG is named {spec.get('architecture')!r:.60}")
    return Vgg(
        image_networks.image_of(spec),
        image_networks.whole_of(spec, "outputs"),
        stages,
        image_networks.whole_of(spec, "filters", most=MAX_WIDTH),
        image_networks.whole_of(spec, "hidden", most=MAX_HIDDEN),
        image_networks.share_of(spec, "dropout"),
    ).eval()


def inference_form(model: Model) -> nn.Module:
    """Return the network with its batch norms folded into its convolutions."""
    return fold_batch_norms(model.module)


def parts(module: nn.Module) -> Parts:
    """Return the paths of the convolutions, the linear layers and the output layer."""
    kinds = (nn.Conv2d, nn.Linear)
    every = module.named_modules(remove_duplicate=False)
    layers = [name for name, part in every if isinstance(part, kinds)]
    return Parts(tuple(layers[:-1]), {}, (), tuple(layers[-1:]))


NETWORK = Network(
    baseline=baseline,
    build=build,
    examples=examples,
    parts=parts,
    view=view,
    inference_form=inference_form,
)

"""MobileNetV2: inverted residuals with depthwise convolutions; with ImageNet weights.

Source: Sandler et al. 2018, "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (table 2).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bmc import assets
from bmc.contracts import Network
from bmc.data import Dataset
from bmc.errors import ArtifactError
from bmc.families.mobilenet_v2 import Settings as Settings
from bmc.inference.folding import fold_batch_norms
from bmc.inference.operators import Add
from bmc.model import Model, Parts
from bmc.models import image_networks
from bmc.models.feature_maps import view
from bmc.models.image_networks import examples as examples

_ASSET = "mobilenet-v2"
_WEIGHTS = "mobilenet_v2-b0353104.pth"
_LAST_WIDTH = 1280

# Expansion, channels, blocks and stride of the first block: the rows of table 2.
_STAGES = (
    *((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)),
    *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
)


class InvertedResidual(nn.Module):
    """An inverted residual: a 1x1, a depthwise 3x3 and a 1x1 convolution, and maybe a shortcut."""

    def __init__(
        self, in_channels: int, out_channels: int, stride: tuple[int, int], expansion: int
    ) -> None:
        super().__init__()
        wide = in_channels * expansion
        self.shortcut = stride == (1, 1) and in_channels == out_channels
        widen = [] if expansion == 1 else [_convolution(in_channels, wide, 1)]
        self.conv = nn.Sequential(
            *widen,
            _convolution(wide, wide, 3, stride, groups=wide),
            nn.Conv2d(wide, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.add = Add()

    def forward(self, features: Tensor) -> Tensor:
        """Return features (rows, made, height / stride, width / stride)."""
        inner: Tensor = self.conv(features)
        return self.add(features, inner) if self.shortcut else inner


class MobileNetV2(image_networks.ImageModule):
    """Inverted residuals, an average over the image, and a linear output.

    Args:
        image: channels, height and width; up to 64 pixels the first convolution has stride 1.
        outputs: classes, or 1 in a regression.
        multiplier: factor of all channel counts.
        dropout: dropout probability before the output layer.
    """

    def __init__(
        self, image: tuple[int, int, int], outputs: int, multiplier: float, dropout: float
    ) -> None:
        super().__init__(image)
        channels, *size = image
        in_channels = _rounded(32 * multiplier)
        stride = image_networks.stride_for(size, 1 if max(size) <= image_networks.SMALL else 2)
        map_size = image_networks.strided(size, stride)
        self.features = nn.Sequential(_convolution(channels, in_channels, 3, stride))
        for expansion, width, count, first in _STAGES:
            out_channels = _rounded(width * multiplier)
            for index in range(count):
                step = image_networks.stride_for(map_size, first if index == 0 else 1)
                map_size = image_networks.strided(map_size, step)
                self.features.append(InvertedResidual(in_channels, out_channels, step, expansion))
                in_channels = out_channels
        last = _rounded(_LAST_WIDTH * max(1.0, multiplier))
        self.features.append(_convolution(in_channels, last, 1))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(last, outputs))
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out")

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits (rows, outputs) of pixels (rows, channels, height, width)."""
        logits: Tensor = self.classifier(self.avgpool(self.features(pixels)).flatten(1))
        return logits


def baseline(reference: str, data: Dataset, settings: Settings) -> Model:
    """Build a MobileNetV2 for the images and classes of a data set; its output is always fresh."""
    encoder = image_networks.encoder_for(data, settings.image_size, any_size=True)
    spec = {"multiplier": settings.multiplier, "dropout": settings.dropout}
    model = image_networks.model_for(data, "mobilenet-v2", encoder, spec, build)
    if settings.pretrained:
        load_imagenet(model.module)
    return model


def load_imagenet(module: nn.Module) -> None:
    """Load the ImageNet weights into all layers except the output layer.

    For gray images, the weights of the first convolution are summed over the colors.

    Raises:
        AssetError: no source has the weights.
        ArtifactError: the weights do not fit the module.
    """
    path = assets.fetch(_ASSET) / _WEIGHTS
    weights = torch.load(path, map_location="cpu", weights_only=True)
    state = module.state_dict()
    first = "features.0.0.weight"
    if state[first].shape[1] == 1:
        weights[first] = weights[first].sum(dim=1, keepdim=True)
    weights |= {name: state[name] for name in ("classifier.1.weight", "classifier.1.bias")}
    try:
        module.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        line = " ".join(str(error).split())
        raise ArtifactError(f"the ImageNet weights do not fit the model ({line:.200})") from error


def build(spec: Mapping[str, Any]) -> nn.Module:
    """Build an untrained MobileNetV2.

    Raises:
        ArtifactError: the spec is malformed.
    """
    multiplier: Any = spec.get("multiplier")
    if type(multiplier) not in (int, float) or not 0.1 <= multiplier <= 4:
        raise ArtifactError(f"the model's multiplier is {multiplier!r:.60}; 0.1 to 4 is possible")
    dropout = image_networks.share_of(spec, "dropout")
    outputs = image_networks.whole_of(spec, "outputs")
    return MobileNetV2(image_networks.image_of(spec), outputs, float(multiplier), dropout).eval()


def inference_form(model: Model) -> nn.Module:
    """Return the network with its batch norms folded into its convolutions."""
    return fold_batch_norms(model.module)


def parts(module: nn.Module) -> Parts:
    """Return the paths of the inverted residuals and the output layer."""
    every = module.named_modules(remove_duplicate=False)
    blocks = [name for name, part in every if isinstance(part, InvertedResidual)]
    return Parts(tuple(blocks), {}, (), ("classifier.1",))


def _convolution(
    in_channels: int,
    out_channels: int,
    size: int,
    stride: tuple[int, int] = (1, 1),
    groups: int = 1,
) -> nn.Module:
    """Return a convolution with batch norm and ReLU6."""
    padding = size // 2
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, size, stride, padding, groups=groups, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU6(),
    )


def _rounded(channels: float) -> int:
    """Round to a multiple of 8, and never down by more than 10 %."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


NETWORK = Network(
    baseline=baseline,
    build=build,
    examples=examples,
    parts=parts,
    view=view,
    inference_form=inference_form,
)

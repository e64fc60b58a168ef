"""Residual networks: ResNet-18, -34 and -50, with a smaller stem for small images.

Source: He et al. 2016, "Deep Residual Learning for Image Recognition" (table 1; section 4.2 for
small images); in a bottleneck the 3x3 convolution has the stride, as in torchvision.
The last batch norm of a block starts at zero: Goyal et al. 2017, "Accurate, Large Minibatch SGD".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from bmc.contracts import Network
from bmc.data import Dataset
from bmc.errors import ArtifactError
from bmc.families.resnet import MAX_WIDTH
from bmc.families.resnet import Settings as Settings
from bmc.inference.folding import fold_batch_norms
from bmc.inference.operators import Add
from bmc.model import Model, Parts
from bmc.models import image_networks
from bmc.models.feature_maps import view
from bmc.models.image_networks import examples as examples


@dataclass(frozen=True)
class Plan:
    """The architecture of a published network.

    Args:
        blocks: number of blocks of each of the four stages.
        bottleneck: whether a block is 1x1 - 3x3 - 1x1 rather than 3x3 - 3x3.
        small_stride: stride of the first convolution for small images.
    """

    blocks: tuple[int, int, int, int]
    bottleneck: bool
    small_stride: int


_PLANS = {
    "resnet18": Plan((2, 2, 2, 2), bottleneck=False, small_stride=1),
    "resnet34": Plan((3, 4, 6, 3), bottleneck=False, small_stride=2),
    "resnet50": Plan((3, 4, 6, 3), bottleneck=True, small_stride=2),
}


class BasicBlock(nn.Module):
    """A residual block of two 3x3 convolutions."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: tuple[int, int]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.downsample = _shortcut(in_channels, width, stride)
        self.add = Add()
        nn.init.zeros_(self.bn2.weight)

    def forward(self, features: Tensor) -> Tensor:
        """Return features (rows, width, height / stride, width / stride)."""
        inner = self.relu(self.bn1(self.conv1(features)))
        inner = self.bn2(self.conv2(inner))
        outer: Tensor = self.relu(self.add(inner, self.downsample(features)))
        return outer


class Bottleneck(nn.Module):
    """A residual block of a 1x1, a 3x3 and a 1x1 convolution, with four times as many outputs."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: tuple[int, int]) -> None:
        super().__init__()
        wide = width * self.expansion
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, wide, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(wide)
        self.relu = nn.ReLU()
        self.downsample = _shortcut(in_channels, wide, stride)
        self.add = Add()
        nn.init.zeros_(self.bn3.weight)

    def forward(self, features: Tensor) -> Tensor:
        """Return features (rows, 4 width, height / stride, width / stride)."""
        inner = self.relu(self.bn1(self.conv1(features)))
        inner = self.relu(self.bn2(self.conv2(inner)))
        inner = self.bn3(self.conv3(inner))
        outer: Tensor = self.relu(self.add(inner, self.downsample(features)))
        return outer


class ResNet(image_networks.ImageModule):
    """Four stages of residual blocks, an average over the image, and a linear output.

    Args:
        image: channels, height and width; for images up to 64 pixels the first convolution is 3x3,
            without pooling after it.
        outputs: classes, or 1 in a regression.
        plan: architecture of the network.
        width: channels of the first stage.
    """

    def __init__(self, image: tuple[int, int, int], outputs: int, plan: Plan, width: int) -> None:
        super().__init__(image)
        channels, *size = image
        if max(size) <= image_networks.SMALL:
            stride = image_networks.stride_for(size, plan.small_stride)
            self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
            self.maxpool: nn.Module = nn.Identity()
        else:
            self.conv1 = nn.Conv2d(channels, width, 7, 2, padding=3, bias=False)
            self.maxpool = nn.MaxPool2d(3, 2, padding=1)
            stride = (4, 4)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        block = Bottleneck if plan.bottleneck else BasicBlock
        map_size = image_networks.strided(size, stride)
        in_channels, stages = width, []
        for stage, count in enumerate(plan.blocks):
            wide = width * 2**stage
            stride = image_networks.stride_for(map_size, 1 if stage == 0 else 2)
            map_size = image_networks.strided(map_size, stride)
            stages.append(nn.Sequential())
            for index in range(count):
                stages[-1].append(block(in_channels, wide, stride if index == 0 else (1, 1)))
                in_channels = wide * block.expansion
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(in_channels, outputs)
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits (rows, outputs) of pixels (rows, channels, height, width)."""
        features = self.maxpool(self.relu(self.bn1(self.conv1(pixels))))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            features = stage(features)
        logits: Tensor = self.fc(self.avgpool(features).flatten(1))
        return logits


def baseline(reference: str, data: Dataset, settings: Settings) -> Model:
    """Build an untrained residual network for the images and classes of a data set."""
    encoder = image_networks.encoder_for(data, settings.image_size, any_size=True)
    spec = {"architecture": reference, "filters": settings.width}
    return image_networks.model_for(data, "resnet", encoder, spec, build)


def build(spec: Mapping[str, Any]) -> nn.Module:
    """Build an untrained residual network.

    Raises:
        ArtifactError: the spec is malformed.
    """
    plan = _PLANS.get(str(spec.get("architecture")))
    if plan is None:
        raise ArtifactError(f"no residual network is named {spec.get('architecture')!r:.60}")
    outputs = image_networks.whole_of(spec, "outputs")
    width = image_networks.whole_of(spec, "filters", most=MAX_WIDTH)
    return ResNet(image_networks.image_of(spec), outputs, plan, width).eval()


def inference_form(model: Model) -> nn.Module:
    """Return the network with its batch norms folded into its convolutions."""
    return fold_batch_norms(
        model.module, [(f"conv{number}", f"bn{number}") for number in (1, 2, 3)]
    )


def parts(module: nn.Module) -> Parts:
    """Return the paths of the residual blocks and the output layer."""
    kinds = (BasicBlock, Bottleneck)
    every = module.named_modules(remove_duplicate=False)
    blocks = [name for name, part in every if isinstance(part, kinds)]
    return Parts(tuple(blocks), {}, (), ("fc",))


def _shortcut(in_channels: int, wide: int, stride: tuple[int, int]) -> nn.Module:
    if stride == (1, 1) and in_channels == wide:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(in_channels, wide, 1, stride, bias=False), nn.BatchNorm2d(wide))


NETWORK = Network(
    baseline=baseline,
    build=build,
    examples=examples,
    parts=parts,
    view=view,
    inference_form=inference_form,
)

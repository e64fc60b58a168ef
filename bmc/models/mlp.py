"""Multilayer perceptron: an image's pixels, or a table's numbers, through fully connected layers.

Source: Rumelhart, Hinton and Williams 1986, "Learning Representations by Back-propagating Errors".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from bmc.contracts import Network
from bmc.data import Dataset
from bmc.errors import SettingError
from bmc.families.mlp import MAX_LAYERS
from bmc.families.mlp import Settings as Settings
from bmc.inputs.features import MAX_COLUMNS
from bmc.inputs.features import encoder_for as feature_encoder_for
from bmc.model import Model, Parts
from bmc.models import image_networks, log_mel


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
        self.hidden = _hidden(widths, dropout)
        self.output = nn.Linear(widths[-1], outputs)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits (rows, outputs) of pixels (rows, channels, height, width)."""
        logits: Tensor = self.output(self.hidden(pixels.flatten(1)))
        return logits


class FeaturePerceptron(nn.Module):
    """The same layers over standardized numbers.

    Args:
        features: numbers in a row.
        outputs: classes, or 1 in a regression.
        width: width of each hidden layer.
        depth: number of hidden layers.
        dropout: dropout probability after each hidden layer.
    """

    def __init__(self, features: int, outputs: int, width: int, depth: int, dropout: float) -> None:
        super().__init__()
        self.features = features
        widths = [features, *[width] * depth]
        self.hidden = _hidden(widths, dropout)
        self.output = nn.Linear(widths[-1], outputs)

    def forward(self, features: Tensor) -> Tensor:
        """Return logits (rows, outputs) of features (rows, features)."""
        logits: Tensor = self.output(self.hidden(features))
        return logits


class AudioPerceptron(log_mel.AudioModule):
    """Fully connected layers over the log-mel energies of a clip, averaged over its frames.

    Args:
        sizes: samples of a clip, mel bands, and upper end of the highest band in Hz.
        outputs: classes, or 1 in a regression.
        width: width of each hidden layer.
        depth: number of hidden layers.
        dropout: dropout probability after each hidden layer.
    """

    def __init__(
        self, sizes: tuple[int, int, float], outputs: int, width: int, depth: int, dropout: float
    ) -> None:
        super().__init__(*sizes)
        widths = [sizes[1], *[width] * depth]
        self.hidden = _hidden(widths, dropout)
        self.output = nn.Linear(widths[-1], outputs)

    def forward(self, samples: Tensor) -> Tensor:
        """Return logits (rows, outputs) of samples (rows, samples) in -1..1."""
        logits: Tensor = self.output(self.hidden(self.log_mel(samples).mean(dim=1)))
        return logits


def baseline(reference: str, data: Dataset, settings: Settings) -> Model:
    """Build an untrained perceptron for the rows and classes of a data set.

    Raises:
        SettingError: an image size is set for a table of numbers, or for sound.
    """
    if data.features:
        return _of_features(data, settings)
    if data.kind == "audio":
        return _of_sound(data, settings)
    encoder = image_networks.encoder_for(data, settings.image_size)
    spec = {"hidden": settings.width, "depth": settings.depth, "dropout": settings.dropout}
    return image_networks.model_for(data, "mlp", encoder, spec, build)


def _of_sound(data: Dataset, settings: Settings) -> Model:
    _refuse_image_size(data, settings, "sound")
    encoder = log_mel.encoder_for(settings)
    spec = {
        **log_mel.spec_of(encoder, settings),
        "outputs": max(len(data.labels), 1),
        "hidden": settings.width,
        "depth": settings.depth,
        "dropout": settings.dropout,
    }
    module: Any = build(spec)
    log_mel.standardize(module.log_mel, data, encoder)
    return Model(module, "mlp", spec, data.labels, encoder, data.task)


def _refuse_image_size(data: Dataset, settings: Settings, content: str) -> None:
    if settings.image_size:
        raise SettingError(
            f"image size is {settings.image_size}, and {data.name!r} holds {content}; leave it out"
        )


def _of_features(data: Dataset, settings: Settings) -> Model:
    _refuse_image_size(data, settings, "numbers")
    spec = {
        "features": len(data.features),
        "outputs": max(len(data.labels), 1),
        "hidden": settings.width,
        "depth": settings.depth,
        "dropout": settings.dropout,
    }
    encoder = feature_encoder_for(data.train.rows, data.features)
    return Model(build(spec), "mlp", spec, data.labels, encoder, data.task)


def build(spec: Mapping[str, Any]) -> nn.Module:
    """Build an untrained perceptron.

    Raises:
        ArtifactError: the spec is malformed.
    """
    if "features" in spec:
        return FeaturePerceptron(
            image_networks.whole_of(spec, "features", most=MAX_COLUMNS),
            image_networks.whole_of(spec, "outputs"),
            image_networks.whole_of(spec, "hidden"),
            image_networks.whole_of(spec, "depth", least=0, most=MAX_LAYERS),
            image_networks.share_of(spec, "dropout"),
        ).eval()
    if "samples" in spec:
        return AudioPerceptron(
            log_mel.sizes_of(spec),
            image_networks.whole_of(spec, "outputs"),
            image_networks.whole_of(spec, "hidden"),
            image_networks.whole_of(spec, "depth", least=0, most=MAX_LAYERS),
            image_networks.share_of(spec, "dropout"),
        ).eval()
    return Perceptron(
        image_networks.image_of(spec),
        image_networks.whole_of(spec, "outputs"),
        image_networks.whole_of(spec, "hidden"),
        image_networks.whole_of(spec, "depth", least=0, most=MAX_LAYERS),
        image_networks.share_of(spec, "dropout"),
    ).eval()


def examples(module: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return two inputs with different numbers of rows, for tracing and checks."""
    if isinstance(module, AudioPerceptron):
        return log_mel.examples(module)
    if not isinstance(module, FeaturePerceptron):
        return image_networks.examples(module)
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(rows, module.features, generator=generator) for rows in (2, 3))
    return {"features": first}, {"features": second}


def _hidden(widths: list[int], dropout: float) -> nn.Sequential:
    """Return fully connected layers, each with ReLU and dropout."""
    hidden = nn.Sequential()
    for inputs, units in pairwise(widths):
        hidden.extend([nn.Linear(inputs, units), nn.ReLU(), nn.Dropout(dropout)])
    return hidden


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

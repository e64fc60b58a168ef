"""A generative adversarial network of linear layers: noise in, small images out.

The model is the generator. The discriminator is stored only in training checkpoints.

Source: Goodfellow et al. 2014, "Generative Adversarial Nets".
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bmc.contracts import Network
from bmc.contracts.tasks import GENERATION
from bmc.data import Dataset
from bmc.errors import SettingError
from bmc.families.gan import MAX_WIDTH
from bmc.families.gan import Settings as Settings
from bmc.inference.folding import fold_batch_norms
from bmc.inputs.image import ImageEncoder, ImageSettings
from bmc.inputs.latent import LatentEncoder
from bmc.model import AfterStep, Model, Parts
from bmc.models import image_networks
from bmc.training.adversarial import Guide, fit_adversarially
from bmc.training.batches import Rows
from bmc.training.epochs import Fitted
from bmc.training.initialize import initialize
from bmc.training.settings import TrainingSettings

_MAX_VALUES = 64 * 64 * 3
_SLOPE = 0.2
_DROPOUT = 0.3


class Generator(nn.Module):
    """Maps noise, float32 (rows, latent), to images in -1..1 (rows, channels, height, width)."""

    def __init__(self, latent: int, hidden: int, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.shape = shape
        sizes = (latent, hidden, 2 * hidden, 4 * hidden)
        layers: list[nn.Module] = []
        for before, after in pairwise(sizes):
            layers += [nn.Linear(before, after), nn.BatchNorm1d(after), nn.LeakyReLU(_SLOPE)]
        layers += [nn.Linear(sizes[-1], math.prod(self.shape)), nn.Tanh()]
        self.layers = nn.Sequential(*layers)

    def forward(self, latent: Tensor) -> Tensor:
        """Return an image for each row of noise."""
        pixels: Tensor = self.layers(latent)
        return pixels.view(-1, *self.shape)


def build(spec: Mapping[str, Any]) -> nn.Module:
    """Build an untrained generator.

    Raises:
        ArtifactError: a size is missing in the spec or out of range.
    """
    whole_of = image_networks.whole_of
    latent, hidden = (whole_of(spec, name, most=MAX_WIDTH) for name in ("latent", "hidden"))
    return Generator(latent, hidden, image_networks.image_of(spec)).eval()


def baseline(reference: str, data: Dataset, settings: Settings) -> Model:
    """Build an untrained generator of images with the size of a data set's images.

    Raises:
        SettingError: the images are too large for linear layers.
    """
    image = image_networks.encoder_for(data, settings.image_size).settings
    channels, height, width = image.channels, image.height, image.width
    if height * width * channels > _MAX_VALUES:
        raise SettingError(
            f"{data.name!r} has images of {width}x{height}x{channels}; {reference} makes up to "
            f"{_MAX_VALUES:,} values an image: scale them down with --set image_size=32"
        )
    sizes = {"channels": channels, "height": height, "width": width}
    spec = {"latent": settings.latent, "hidden": settings.width, **sizes}
    encoder = LatentEncoder(settings.latent)
    return Model(build(spec), "gan", spec, (), encoder, task=GENERATION)


def train(
    model: Model,
    data: Dataset,
    settings: TrainingSettings,
    folder: Path,
    run: str = "",
    after_step: AfterStep | None = None,
    guide: Guide | None = None,
) -> Fitted:
    """Train a generator on the images of a data set, against a new discriminator.

    Args:
        model: the generator, which is trained in place.
        data: the images.
        settings: training settings.
        folder: folder of the checkpoint.
        run: everything else that the result depends on, as text.
        after_step: function to call after every step.
        guide: teacher whose images are learned as well.

    Raises:
        SettingError: a setting does not apply to adversarial training.
        DivergedError: a loss or its gradient became NaN or infinite.
    """
    channels, height, width = image_networks.image_of(model.spec)
    half = (0.5,) * channels  # mean and deviation that map pixels to -1..1, the range of tanh
    images = ImageEncoder(ImageSettings(height, width, channels, mean=half, std=half))
    judge = _discriminator(channels * height * width, model.spec["hidden"])
    initialize(judge, settings.initialization)
    learned, chosen_by = (
        Rows(part.rows, part.labels, images) for part in (data.train, data.validation)
    )
    depends = json.dumps([data.fingerprint, model.spec, run])
    size = model.spec["latent"]
    return fit_adversarially(
        model.module,
        judge,
        size,
        learned,
        chosen_by,
        settings,
        folder,
        depends,
        after_step,
        guide,
    )


def examples(module: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return two inputs of different shapes, for tracing and checks."""
    size = next(part.in_features for part in module.modules() if isinstance(part, nn.Linear))
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(rows, size, generator=generator) for rows in (2, 3))
    return {"latent": first}, {"latent": second}


def inference_form(model: Model) -> nn.Module:
    """Return the generator with each batch norm folded into the preceding linear layer."""
    return fold_batch_norms(model.module)


def parts(module: nn.Module) -> Parts:
    """Return the paths of the layers and the output layer."""
    every = module.named_modules(remove_duplicate=False)
    linears = [name for name, layer in every if isinstance(layer, nn.Linear)]
    return Parts(tuple(linears), {}, (), (linears[-1],))


def _discriminator(values: int, hidden: int) -> nn.Module:
    """Build a discriminator: images (rows, ...) to logits (rows), high for real images."""
    sizes = (values, 4 * hidden, 2 * hidden, hidden)
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.LeakyReLU(_SLOPE), nn.Dropout(_DROPOUT)]
    return nn.Sequential(*layers, nn.Linear(hidden, 1), nn.Flatten(0))


NETWORK = Network(
    baseline=baseline,
    build=build,
    examples=examples,
    parts=parts,
    inference_form=inference_form,
    train=train,
)

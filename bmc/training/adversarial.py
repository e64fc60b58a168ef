"""Adversarial training: a generator learns to make images that a discriminator takes for real.

Like `loop.fit` it resumes bit for bit after an interruption. Checkpoints hold both networks; the
result is the generator alone, with its weights averaged over the last steps.
"""

from __future__ import annotations

import copy
from array import array
from collections.abc import Iterator
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, conv2d, leaky_relu

from bmc.errors import SettingError
from bmc.measure.frechet import frechet_distance
from bmc.model import AfterStep
from bmc.training import checkpoint
from bmc.training.augment import augmented
from bmc.training.batches import Rows
from bmc.training.device import autocast, device_of
from bmc.training.epochs import Epochs, Fitted
from bmc.training.settings import TrainingSettings

MEASURE = "frechet_distance"
_BETAS = (0.5, 0.999)
_AVERAGED = 0.999
_SCORING_BATCH = 250
_MOST_SCORED = 5000
_FILTERS = (32, 64)
_UNUSED = ("l1", "batch_tokens", "class_weights", "auxiliary_weight")


class Networks(nn.Module):
    """The two networks, and the running average of the generator's weights.

    Args:
        generator: takes `latent` (rows, size) and returns images (rows, channels, height, width).
        discriminator: takes such images and returns a logit each (rows): above 0 for real.
    """

    def __init__(self, generator: nn.Module, discriminator: nn.Module) -> None:
        super().__init__()
        self.generator = generator
        self.discriminator = discriminator
        self.average = copy.deepcopy(generator).requires_grad_(requires_grad=False)

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """Move the average a little towards the generator; further in the first steps."""
        share = 1 - min(_AVERAGED, (1 + step) / (10 + step))
        now = checkpoint.tensors_of(self.generator)
        for name, value in checkpoint.tensors_of(self.average).items():
            if value.is_floating_point():
                value.lerp_(now[name], share)
            else:  # a batch norm's count of batches
                value.copy_(now[name])


def fit_adversarially(
    generator: nn.Module,
    discriminator: nn.Module,
    size: int,
    train: Rows,
    validation: Rows,
    settings: TrainingSettings,
    folder: Path,
    run: str = "",
    after_step: AfterStep | None = None,
) -> Fitted:
    """Train a generator in place against a discriminator; leave it with its best epoch's average.

    Both are trained with Adam (betas 0.5 and 0.999) on the non-saturating loss; label smoothing
    lowers what the discriminator is to answer for real images, and augmentations change real and
    generated images alike. The score of an epoch is the Frechet distance of the averaged
    generator's images from validation images in the features of a fixed random convolution: it
    needs no trained model, and tells epochs apart, no more.

    Args:
        generator: takes `latent`, float32 (rows, size); returns (rows, channels, height, width).
        discriminator: takes images; returns logits (rows).
        size: values of noise a row.
        train: images in the range of the generator's.
        validation: images that pick the best epoch.
        settings: how to train; the optimizer must be adam.
        folder: for the checkpoint.
        run: whatever else the result depends on.
        after_step: called with the generator, as `loop.fit` does with its module.

    Raises:
        SettingError: a setting does not apply to adversarial training.
        DivergedError: a loss or its gradient became NaN or infinite.

    Source: Goodfellow et al. 2014, "Generative Adversarial Nets"; Salimans et al. 2016, "Improved
    Techniques for Training GANs" (one-sided label smoothing); Karras et al. 2018, "Progressive
    Growing of GANs" (averaged generator); Zhao et al. 2020, "Differentiable Augmentation".
    """
    _check(settings)
    device = device_of(settings.device)
    networks = Networks(generator, discriminator).to(device)
    epochs = _Adversarial(networks, size, train, validation, settings, folder, run)
    epochs.fit(generator, after_step)
    generator.to("cpu").eval()
    progress = epochs.progress
    return Fitted(progress.best_score, progress.best_epoch, tuple(progress.history), MEASURE)


class _Adversarial(Epochs):
    """Epochs in which discriminator and generator learn in turn; the average is the result."""

    score_name = "Frechet distance"

    def __init__(
        self,
        networks: Networks,
        size: int,
        train: Rows,
        validation: Rows,
        settings: TrainingSettings,
        folder: Path,
        run: str,
    ) -> None:
        parameters = [value for _, value in checkpoint.trainable(networks)]
        rate, decay = settings.learning_rate, settings.weight_decay
        optimizer = torch.optim.Adam(parameters, rate, _BETAS, weight_decay=decay, fused=True)
        super().__init__(networks, networks.average, optimizer, train, settings, folder, run)
        self._pair, self._size = networks, size
        self._device = device_of(settings.device)
        self._real = features_of(images_of(validation, self._device))

    def start_epoch(self) -> None:
        self._pair.generator.train()
        self._pair.discriminator.train()

    def learn(self, places: array[int], step: int) -> float:
        images = self._train.batch(places).to(self._device).inputs["pixels"]
        total = 0.0
        for loss, network in _losses(self._pair, images, self._size, self._settings):
            parameters = list(network.parameters())
            # Into this network alone: the optimizer skips what has no gradient.
            loss.backward(inputs=parameters)  # type: ignore[no-untyped-call]
            self.update(loss, parameters, step)
            total += float(loss.detach())
        return total

    def end_step(self, step: int) -> None:
        self._pair.follow(step)

    def score(self) -> float:
        made = features_of(images_made_by(self._pair.average, len(self._real), self._size))
        return frechet_distance(made, self._real)

    def is_better(self, score: float, best: float) -> bool:
        return not score > best


def _check(settings: TrainingSettings) -> None:
    plain = TrainingSettings()
    if settings.optimizer != "adam":
        raise SettingError(f"optimizer is {settings.optimizer!r}; a GAN is trained with adam")
    if settings.batch_size < 2:
        raise SettingError("batch size is 1; batch norm needs at least 2 rows")
    for name in _UNUSED:
        if getattr(settings, name) != getattr(plain, name):
            raise SettingError(
                f"{name.replace('_', ' ')} is {getattr(settings, name)!r}; "
                "adversarial training does not use it: leave it out"
            )


def _losses(
    networks: Networks, images: Tensor, size: int, settings: TrainingSettings
) -> Iterator[tuple[Tensor, nn.Module]]:
    """Give the discriminator's loss, and when it has learned from that, the generator's."""
    precision, device = settings.precision, images.device
    # As many as always, even where the last batch is a single image: batch norm needs several.
    noise = torch.randn(settings.batch_size, size, device=device)
    with autocast(precision, device):
        made = networks.generator(noise)
        given = torch.cat([images, made.detach().float()])
        answers = networks.discriminator(_augmented(given, settings)).float()
    real, unreal = answers[: len(images)], answers[len(images) :]
    lost = _as_real(real, settings.label_smoothing) + _as_made(unreal)
    yield lost, networks.discriminator
    with autocast(precision, device):
        answers = networks.discriminator(_augmented(made.float(), settings)).float()
    yield _as_real(answers, 0.0), networks.generator


def _augmented(images: Tensor, settings: TrainingSettings) -> Tensor:
    return augmented({"pixels": images}, settings.augment)["pixels"]


def _as_real(answers: Tensor, smoothing: float) -> Tensor:
    return binary_cross_entropy_with_logits(answers, torch.full_like(answers, 1 - smoothing))


def _as_made(answers: Tensor) -> Tensor:
    return binary_cross_entropy_with_logits(answers, torch.zeros_like(answers))


@torch.no_grad()
def images_made_by(average: nn.Module, rows: int, size: int) -> Iterator[Tensor]:
    """Make images from noise that is the same in every epoch."""
    average.eval()
    device = next(average.parameters()).device
    random = torch.Generator().manual_seed(0)
    noise = torch.randn(rows, size, generator=random).to(device)
    for start in range(0, rows, _SCORING_BATCH):
        yield average(noise[start : start + _SCORING_BATCH])


def images_of(rows: Rows, device: torch.device) -> Iterator[Tensor]:
    """Yield the first real images in batches, as many as are scored."""
    places = list(range(min(len(rows), _MOST_SCORED)))
    for start in range(0, len(places), _SCORING_BATCH):
        yield rows.batch(places[start : start + _SCORING_BATCH]).inputs["pixels"].to(device)


@torch.no_grad()
def features_of(batches: Iterator[Tensor]) -> NDArray[np.float64]:
    """Return features of images (rows, features): two random convolutions, pooled to 2 x 2.

    Source: Naeem et al. 2020, "Reliable Fidelity and Diversity Metrics for Generative Models",
    section 3.3 (untrained networks as feature extractors).
    """
    first = next(batches)
    random = torch.Generator().manual_seed(0)
    widths = (first.shape[1], *_FILTERS)
    kernels = [
        torch.randn(after, before, 3, 3, generator=random) / (9 * before / 2) ** 0.5
        for before, after in pairwise(widths)
    ]
    found = []
    for images in chain([first], batches):
        maps = images
        for kernel in kernels:
            maps = leaky_relu(conv2d(maps, kernel.to(maps.device), stride=2, padding=1), 0.2)
        pooled = nn.functional.adaptive_avg_pool2d(maps, 2).flatten(1)
        found.append(pooled.double().cpu().numpy())
    return np.concatenate(found)

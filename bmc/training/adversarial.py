"""Adversarial training: a generator learns to make images that a discriminator takes for real.

Like `loop.fit`, adversarial training resumes after an interruption with bit-identical results.
Checkpoints contain both networks. The result is the generator alone, with a running average of its
weights.
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
from bmc.training.augment import MIXING, augmented
from bmc.training.batches import Rows
from bmc.training.device import autocast, device_of
from bmc.training.epochs import Epochs, Fitted
from bmc.training.settings import TrainingSettings

MEASURE = "frechet_distance"
_BETAS = (0.5, 0.999)
_AVERAGE_DECAY = 0.999
_SCORING_BATCH = 250
_MAX_SCORED_IMAGES = 5000
_FILTERS = (32, 64)
_LEAST_VARIANCE = 1e-6
_UNUSED_SETTINGS = ("l1", "batch_tokens", "accumulate", "class_weights", "auxiliary_weight")


class Networks(nn.Module):
    """The two networks, and the running average of the generator's weights.

    Args:
        generator: network from `latent` (rows, size) to images (rows, channels, height, width).
        discriminator: network from images to logits (rows), above 0 for a real image.
    """

    def __init__(self, generator: nn.Module, discriminator: nn.Module) -> None:
        super().__init__()
        self.generator = generator
        self.discriminator = discriminator
        self.average = copy.deepcopy(generator).requires_grad_(requires_grad=False)

    @torch.no_grad()
    def update_average(self, step: int) -> None:
        """Update the running average; the first steps of training change the average more."""
        share = 1 - min(_AVERAGE_DECAY, (1 + step) / (10 + step))
        tensors = checkpoint.tensors_of(self.generator)
        for name, value in checkpoint.tensors_of(self.average).items():
            if value.is_floating_point():
                value.lerp_(tensors[name], share)
            else:  # a batch norm's count of batches
                value.copy_(tensors[name])


class Guide(nn.Module):
    """A teacher whose images of the same noise a generator learns, beside its adversarial loss.

    Args:
        teacher: trained generator from `latent` (rows, size) to images.
        pixels: weight of the squared error of pixels.
        features: weight of the squared error of what the discriminator's last linear layer reads.
    """

    def __init__(self, teacher: nn.Module, pixels: float, features: float) -> None:
        super().__init__()
        self.teacher = teacher.eval().requires_grad_(requires_grad=False)
        self._pixels, self._features = pixels, features

    def loss(self, noise: Tensor, generated: Tensor, discriminator: nn.Module) -> Tensor:
        """Return the weighted sum of both errors, each in units of the teacher's variance.

        Args:
            noise: (rows, size).
            generated: images of the generator in training, from this noise.
            discriminator: in training mode, which it is in afterwards, too.
        """
        with torch.no_grad():
            target = self.teacher(noise).float()
        total = self._pixels * _relative_error(generated, target)
        if self._features:
            discriminator.eval()  # without dropout, which would differ between the two
            pair = discriminator_features(discriminator, torch.cat([generated, target]))
            discriminator.train()
            total = total + self._features * _relative_error(*pair.chunk(2))
        return total


def discriminator_features(discriminator: nn.Module, images: Tensor) -> Tensor:
    """Return what a discriminator's last linear layer reads, float32 (rows, features)."""
    last = [layer for layer in discriminator.modules() if isinstance(layer, nn.Linear)][-1]
    seen: list[Tensor] = []
    hook = last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        discriminator(images)
    finally:
        hook.remove()
    return seen[0].float()


def _relative_error(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the mean squared error in units of the teacher's variance; only the student learns."""
    teacher = teacher.detach()
    return (student - teacher).pow(2).mean() / teacher.var(correction=0).clamp(min=_LEAST_VARIANCE)


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
    guide: Guide | None = None,
) -> Fitted:
    """Train a generator in place against a discriminator; it ends with its best averaged weights.

    Both networks are trained with Adam (betas 0.5 and 0.999) on the non-saturating loss. Label
    smoothing lowers the discriminator's target for real images. Augmentations change real and
    generated images in the same way. The score of an epoch is the Frechet distance between images
    of the averaged generator and validation images, in the features of a fixed random convolutional
    network. That network is not trained, so the score only ranks the epochs of one run.

    Args:
        generator: network from `latent`, float32 (rows, size), to images (rows, channels, height,
            width).
        discriminator: network from images to logits (rows).
        size: number of noise values for each image.
        train: training images, in the value range of the generator's images.
        validation: images that decide which epoch is best.
        settings: training settings; the optimizer must be adam.
        folder: folder of the checkpoint.
        run: everything else that the result depends on, as text.
        after_step: function to call with the generator, as `loop.fit` calls it with its module.
        guide: teacher whose images the generator learns as well.

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
    guide = guide.to(device) if guide else None
    epochs = _Adversarial(networks, size, train, validation, settings, folder, run, guide)
    epochs.fit(generator, after_step)
    generator.to("cpu").eval()
    progress = epochs.progress
    return Fitted(progress.best_score, progress.best_epoch, tuple(progress.history), MEASURE)


class _Adversarial(Epochs):
    """Epochs that train discriminator and generator in turn; the running average is the result."""

    score_name = "Frechet distance"
    lower_is_better = True

    def __init__(
        self,
        networks: Networks,
        size: int,
        train: Rows,
        validation: Rows,
        settings: TrainingSettings,
        folder: Path,
        run: str,
        guide: Guide | None,
    ) -> None:
        parameters = [value for _, value in checkpoint.trainable(networks)]
        rate, decay = settings.learning_rate, settings.weight_decay
        optimizer = torch.optim.Adam(parameters, rate, _BETAS, weight_decay=decay, fused=True)
        super().__init__(networks, networks.average, optimizer, train, settings, folder, run)
        self._networks_pair, self._size, self._guide = networks, size, guide
        self._device = device_of(settings.device)
        self._real_features = features_of(images_of(validation, self._device))

    def start_epoch(self) -> None:
        self._networks_pair.generator.train()
        self._networks_pair.discriminator.train()

    def learn(self, indices: array[int], step: int) -> float:
        images = self._train.batch(indices).to(self._device).inputs["pixels"]
        total = 0.0
        for loss, network in _losses(
            self._networks_pair, images, self._size, self._settings, self._guide
        ):
            parameters = list(network.parameters())
            # Gradients go to this network only; the optimizer skips parameters without one.
            loss.backward(inputs=parameters)  # type: ignore[no-untyped-call]
            self.update(loss, parameters, step)
            total += float(loss.detach())
        return total

    def end_step(self, step: int) -> None:
        self._networks_pair.update_average(step)

    def score(self) -> float:
        average, rows = self._networks_pair.average, len(self._real_features)
        features = features_of(generated_images(average, rows, self._size))
        return frechet_distance(features, self._real_features)


def _check(settings: TrainingSettings) -> None:
    defaults = TrainingSettings()
    if settings.optimizer != "adam":
        raise SettingError(f"optimizer is {settings.optimizer!r}; a GAN is trained with adam")
    if settings.batch_size < 2:
        raise SettingError("batch size is 1; batch norm needs at least 2 rows")
    for name in _UNUSED_SETTINGS:
        if getattr(settings, name) != getattr(defaults, name):
            raise SettingError(
                f"{name.replace('_', ' ')} is {getattr(settings, name)!r}; "
                "adversarial training does not use this setting: leave it out"
            )
    for name in set(MIXING) & set(settings.augment):
        raise SettingError(
            f"the augmentation {name} mixes labels, and adversarial training has none: leave "
            f"{name} out of augment"
        )


def _losses(
    networks: Networks,
    images: Tensor,
    size: int,
    settings: TrainingSettings,
    guide: Guide | None,
) -> Iterator[tuple[Tensor, nn.Module]]:
    """Yield the discriminator's loss, and then the generator's, each with the network to train.

    The discriminator must be updated before the generator's loss is asked for.
    """
    precision, device = settings.precision, images.device
    # A full batch, even if the last batch of images has one image: batch norm needs several.
    noise = torch.randn(settings.batch_size, size, device=device)
    with autocast(precision, device):
        generated = networks.generator(noise)
        both = torch.cat([images, generated.detach().float()])
        logits = networks.discriminator(_augmented(both, settings)).float()
    real_logits, generated_logits = logits[: len(images)], logits[len(images) :]
    real_loss = _loss_as_real(real_logits, settings.label_smoothing)
    yield real_loss + _loss_as_generated(generated_logits), networks.discriminator
    with autocast(precision, device):
        logits = networks.discriminator(_augmented(generated.float(), settings)).float()
        further = guide.loss(noise, generated.float(), networks.discriminator) if guide else 0.0
    yield _loss_as_real(logits, 0.0) + further, networks.generator


def _augmented(images: Tensor, settings: TrainingSettings) -> Tensor:
    return augmented({"pixels": images}, settings.augment)["pixels"]


def _loss_as_real(logits: Tensor, smoothing: float) -> Tensor:
    return binary_cross_entropy_with_logits(logits, torch.full_like(logits, 1 - smoothing))


def _loss_as_generated(logits: Tensor) -> Tensor:
    return binary_cross_entropy_with_logits(logits, torch.zeros_like(logits))


@torch.no_grad()
def generated_images(average: nn.Module, rows: int, size: int) -> Iterator[Tensor]:
    """Yield batches of generated images, from the same noise in every epoch."""
    average.eval()
    device = next(average.parameters()).device
    random = torch.Generator().manual_seed(0)
    noise = torch.randn(rows, size, generator=random).to(device)
    for start in range(0, rows, _SCORING_BATCH):
        yield average(noise[start : start + _SCORING_BATCH])


def images_of(rows: Rows, device: torch.device) -> Iterator[Tensor]:
    """Yield batches of the first real images, up to _MAX_SCORED_IMAGES."""
    indices = list(range(min(len(rows), _MAX_SCORED_IMAGES)))
    for start in range(0, len(indices), _SCORING_BATCH):
        yield rows.batch(indices[start : start + _SCORING_BATCH]).inputs["pixels"].to(device)


@torch.no_grad()
def features_of(batches: Iterator[Tensor]) -> NDArray[np.float64]:
    """Return features of images (rows, features), from two random convolutions and 2 x 2 pooling.

    Source: Naeem et al. 2020, "Reliable Fidelity and Diversity Metrics for Generative Models",
    section 3.3 (untrained networks as feature extractors).
    """
    first_batch = next(batches)
    random = torch.Generator().manual_seed(0)
    widths = (first_batch.shape[1], *_FILTERS)
    kernels = [
        torch.randn(out, channels, 3, 3, generator=random) / (9 * channels / 2) ** 0.5
        for channels, out in pairwise(widths)
    ]
    features = []
    for images in chain([first_batch], batches):
        maps = images
        for kernel in kernels:
            maps = leaky_relu(conv2d(maps, kernel.to(maps.device), stride=2, padding=1), 0.2)
        pooled = nn.functional.adaptive_avg_pool2d(maps, 2).flatten(1)
        features.append(pooled.double().cpu().numpy())
    return np.concatenate(features)

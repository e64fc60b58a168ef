"""A teacher gets a student's pixels as its own encoder would make them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from bmc import data as datasets
from bmc.inputs.image import ImageEncoder, ImageSettings
from bmc.training.pixels import converted

GRAY = ImageSettings(8, 8, 1, (0.3,), (0.25,))
COLOR = ImageSettings(8, 8, 3, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def pixels(settings: ImageSettings, images: np.ndarray) -> torch.Tensor:
    encoder = ImageEncoder(settings)
    encoded = encoder.encode(images)
    return torch.from_numpy(encoder.batch(encoded, range(len(images)))["pixels"])


@pytest.mark.parametrize("target", [COLOR, replace(GRAY, mean=(0.0,), std=(1.0,))])
def test_another_normalization_and_more_channels_are_exact(target: ImageSettings) -> None:
    images = np.asarray(datasets.load("digits").train.rows)[:4]
    result = converted(pixels(GRAY, images), GRAY, target)
    torch.testing.assert_close(result, pixels(target, images), atol=1e-5, rtol=0)


@pytest.mark.parametrize("side", [4, 20])
def test_another_size_and_luminance_are_those_of_the_encoder_up_to_rounding(side: int) -> None:
    target = ImageSettings(side, side, 1, (0.1,), (0.5,))
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)
    result = converted(pixels(COLOR, images), COLOR, target)
    expected = pixels(target, images)
    # Pillow rounds to whole numbers after each step: 2 of 255, in units of the deviation.
    torch.testing.assert_close(result, expected, atol=2 / 255 / 0.5, rtol=0)


def test_equal_settings_change_nothing() -> None:
    images = np.asarray(datasets.load("digits").train.rows)[:2]
    same = pixels(GRAY, images)
    assert converted(same, GRAY, replace(GRAY, any_size=True)) is same

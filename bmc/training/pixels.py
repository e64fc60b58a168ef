"""A student's pixels as its teacher's encoder would make them, where the two encoders differ."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from bmc.inputs.image import ImageSettings

_LUMINANCE = (0.299, 0.587, 0.114)
"""ITU-R BT.601-2, by which images are read as gray ones."""


def converted(pixels: Tensor, source: ImageSettings, target: ImageSettings) -> Tensor:
    """Return pixels of another normalization, number of channels and size.

    Args:
        pixels: normalized as `source` says, float32 (rows, channels, height, width).
        source: how they were made.
        target: how they are returned.
    """
    if _appearance(source) == _appearance(target):
        return pixels
    values = pixels * _channels(source.std, pixels) + _channels(source.mean, pixels)
    if source.channels == 3 and target.channels == 1:
        values = (values * _channels(_LUMINANCE, values)).sum(1, keepdim=True)
    size = (target.height, target.width)
    if values.shape[2:] != size:
        values = interpolate(values, size, mode="bilinear", antialias=True)
    values = values.expand(-1, target.channels, -1, -1)
    return (values - _channels(target.mean, values)) / _channels(target.std, values)


def _appearance(settings: ImageSettings) -> tuple[object, ...]:
    """Return all that decides the pixels of an image."""
    size = (settings.height, settings.width, settings.channels)
    return (*size, tuple(settings.mean), tuple(settings.std))


def _channels(numbers: tuple[float, ...], pixels: Tensor) -> Tensor:
    """Return one number for each channel, as it multiplies pixels."""
    return torch.tensor(numbers, dtype=pixels.dtype, device=pixels.device)[None, :, None, None]

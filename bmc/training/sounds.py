"""Augmentation of sound: clips that are moved in time, played faster or slower, and made noisy."""

from __future__ import annotations

import torch
from torch import Tensor

_MAX_SHIFT = 0.1  # of a clip's length: 100 ms of a second, as for Speech Commands
_MAX_SPEED = 0.15
_SIGNAL_TO_NOISE = (5.0, 40.0)  # dB
_MAX_SLOPE = 2.0  # exponent of the noise's power over frequency: 0 is white, 1 pink, 2 brown
_QUIET = 1e-8  # mean power of a clip that counts as silent


def shift(samples: Tensor) -> Tensor:
    """Return clips that start up to a tenth of their length earlier or later; the rest is silent.

    Args:
        samples: clips, float32 (rows, samples).
    """
    rows, length = samples.shape
    most = max(1, int(_MAX_SHIFT * length))
    offsets = torch.randint(-most, most + 1, (rows, 1)).to(samples.device)
    sources = torch.arange(length, device=samples.device) + offsets
    shifted = samples.gather(1, sources.clamp(0, length - 1))
    return shifted * ((sources >= 0) & (sources < length))


def speed(samples: Tensor) -> Tensor:
    """Return clips that are played up to 15 % faster or slower, which moves the pitch as well.

    The middle of a clip stays where it is. Values between two samples are interpolated linearly.

    Args:
        samples: clips, float32 (rows, samples).
    """
    rows, length = samples.shape
    factors = 1 + _MAX_SPEED * (2 * torch.rand(rows, 1).to(samples.device) - 1)
    middle = (length - 1) / 2
    steps = torch.arange(length, device=samples.device, dtype=torch.float32) - middle
    times = steps * factors + middle
    before = times.floor().long()
    share = times - before
    is_inside = (before >= 0) & (before < length - 1)
    before = before.clamp(0, max(length - 2, 0))
    after = (before + 1).clamp(max=length - 1)
    return ((1 - share) * samples.gather(1, before) + share * samples.gather(1, after)) * is_inside


def noise(samples: Tensor) -> Tensor:
    """Return clips with noise at a signal-to-noise ratio of 5 to 40 dB.

    The noise's power falls with frequency by an exponent of 0 (white) to 2 (brown). A silent clip
    stays as it is.

    Args:
        samples: clips, float32 (rows, samples).
    """
    rows, length = samples.shape
    white = torch.randn(rows, length).to(samples.device)
    frequencies = torch.arange(length // 2 + 1, device=samples.device).clamp(min=1)
    slopes = _MAX_SLOPE * torch.rand(rows, 1).to(samples.device)
    colored = torch.fft.irfft(torch.fft.rfft(white) * frequencies ** (-slopes / 2), n=length)
    low, high = _SIGNAL_TO_NOISE
    decibels = low + (high - low) * torch.rand(rows, 1).to(samples.device)
    power = samples.square().mean(dim=1, keepdim=True)
    noise_power = power * 10 ** (-decibels / 10)
    scale = (noise_power / colored.square().mean(dim=1, keepdim=True)).sqrt()
    noisy: Tensor = samples + torch.where(power > _QUIET, scale, 0.0) * colored
    return noisy

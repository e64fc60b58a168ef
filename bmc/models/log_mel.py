"""Log-mel energies of sound, computed in the network: framing, Fourier transform, mel filters, log.

A window of 40 ms moves in steps of 20 ms, so that a frame is two neighboring blocks of samples. The
Fourier transform of a frame is two small products of matrices (Cooley and Tukey's factorization of
640 = 20 x 32), because one product with the whole matrix would take a megabyte of constants, many
times a keyword network's weights. Only the frequencies that the mel filters read are computed. All
of it is in float32, also in a quantized network, since energies span nine orders of magnitude.

Source: Davis and Mermelstein 1980, "Comparison of Parametric Representations for Monosyllabic Word
Recognition"; Cooley and Tukey 1965, "An Algorithm for the Machine Calculation of Complex Fourier
Series"; O'Shaughnessy 1987, "Speech Communication" (the mel scale of HTK).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bmc.data import Dataset
from bmc.errors import ArtifactError
from bmc.families.ds_cnn import MAX_FREQUENCY, MAX_MELS, MIN_FREQUENCY, AudioOptions
from bmc.inputs.audio import RATE, AudioEncoder, AudioSettings
from bmc.models.image_networks import whole_of

HOP = 320
"""Samples between the starts of two frames: 20 ms."""
WINDOW = 2 * HOP
"""Samples of a frame: 40 ms."""
FLOOR = 1e-3
"""Energy below which a mel band counts as silent: 70 dB below a full-scale tone."""
_OUTER, _INNER = 20, 32  # factors of WINDOW
_MIN_FREQUENCY = 20.0  # Hz, below which no mel filter reads
_SAMPLE = 512  # training clips from which mean and deviation are computed
_MIN_STD = 0.5  # a band without sound in training, as above 4 kHz of telephones, is not magnified


class LogMel(nn.Module):
    """Computes standardized log-mel energies of clips.

    Args:
        mels: number of mel bands.
        max_frequency: upper end of the highest band in Hz.
    """

    mean: Tensor
    std: Tensor
    window: Tensor
    outer: Tensor
    inner: Tensor
    cosine: Tensor
    sine: Tensor
    filters: Tensor

    def __init__(self, mels: int, max_frequency: float) -> None:
        super().__init__()
        self.mels = mels
        self.max_frequency = float(max_frequency)
        self.register_buffer("mean", torch.zeros(mels))
        self.register_buffer("std", torch.ones(mels))
        columns = -(-int(np.ceil(self.max_frequency * WINDOW / RATE)) // _OUTER)
        for name, values in _constants(mels, self.max_frequency, columns).items():
            value = torch.from_numpy(np.ascontiguousarray(values, np.float32))
            self.register_buffer(name, value, persistent=False)

    def forward(self, samples: Tensor) -> Tensor:
        """Return standardized log-mel energies (rows, frames, mels) of samples (rows, samples)."""
        if torch.is_autocast_enabled(samples.device.type):
            # bf16 has 8 bits of precision, too few for the sums of a Fourier transform.
            with torch.autocast(samples.device.type, enabled=False):
                return self._standardized(samples.float())
        return self._standardized(samples)

    def energies(self, samples: Tensor) -> Tensor:
        """Return log-mel energies (rows, frames, mels), natural logarithm, not standardized."""
        rows, blocks = samples.shape[0], samples.shape[1] // HOP
        pieces = samples[:, : blocks * HOP].reshape(rows, blocks, HOP)
        frames = torch.cat([pieces[:, :-1], pieces[:, 1:]], dim=2) * self.window
        grid = frames.reshape(rows, blocks - 1, _OUTER, _INNER)
        partial = torch.matmul(self.outer, grid)
        real, imaginary = partial[:, :, :_OUTER], partial[:, :, _OUTER:]
        twisted = torch.cat(
            [
                real * self.cosine + imaginary * self.sine,
                imaginary * self.cosine - real * self.sine,
            ],
            dim=3,
        )
        spectrum = torch.matmul(twisted, self.inner)
        half = spectrum.shape[3] // 2
        power = spectrum[..., :half] * spectrum[..., :half] + (
            spectrum[..., half:] * spectrum[..., half:]
        )
        energies = torch.matmul(power.flatten(2), self.filters)
        return energies.clamp(min=FLOOR).log()

    def _standardized(self, samples: Tensor) -> Tensor:
        return (self.energies(samples) - self.mean) / self.std


def _constants(mels: int, max_frequency: float, columns: int) -> dict[str, NDArray[np.float64]]:
    """Return the constants of a transform that computes 20 x `columns` frequencies, by name.

    Sample n = 32 a + b and frequency k = c + 20 d, so that the transform is a sum over a of 20
    samples, a rotation by (b, c), and a sum over b of 32 values.
    """
    outer = 2 * np.pi * np.outer(np.arange(_OUTER), np.arange(_OUTER)) / _OUTER
    twist = 2 * np.pi * np.outer(np.arange(_OUTER), np.arange(_INNER)) / WINDOW
    inner = 2 * np.pi * np.outer(np.arange(_INNER), np.arange(columns)) / _INNER
    cosine, sine = np.cos(inner), np.sin(inner)
    frequencies = np.arange(_OUTER)[:, None] + _OUTER * np.arange(columns)
    filters = mel_filters(mels, max_frequency)
    rows = np.zeros((_OUTER * columns, mels))
    is_read = frequencies.ravel() < len(filters)
    rows[is_read] = filters[frequencies.ravel()[is_read]]
    return {
        "window": np.hanning(WINDOW + 1)[:-1],
        "outer": np.concatenate([np.cos(outer), -np.sin(outer)]),
        "cosine": np.cos(twist),
        "sine": np.sin(twist),
        "inner": np.block([[cosine, -sine], [sine, cosine]]),
        "filters": rows,
    }


def mel_filters(mels: int, max_frequency: float) -> NDArray[np.float64]:
    """Return triangular filters of equal width on HTK's mel scale, (frequencies, mels).

    Args:
        mels: number of filters.
        max_frequency: upper end of the last filter in Hz.
    """
    ends = np.linspace(_mel(_MIN_FREQUENCY), _mel(max_frequency), mels + 2)
    hertz = 700 * (10 ** (ends / 2595) - 1)
    frequencies = np.arange(WINDOW // 2 + 1) * RATE / WINDOW
    rising = (frequencies[:, None] - hertz[:-2]) / np.diff(hertz)[:-1]
    falling = (hertz[2:] - frequencies[:, None]) / np.diff(hertz)[1:]
    filters: NDArray[np.float64] = np.maximum(0, np.minimum(rising, falling))
    return filters


def _mel(frequency: float) -> float:
    return float(2595 * np.log10(1 + frequency / 700))


class AudioModule(nn.Module):
    """A network for clips of one length; `forward` maps samples to outputs (rows, outputs).

    Args:
        samples: samples of a clip.
        mels: number of mel bands.
        max_frequency: upper end of the highest band in Hz.
    """

    def __init__(self, samples: int, mels: int, max_frequency: float) -> None:
        super().__init__()
        self.samples = samples
        self.frames = samples // HOP - 1
        self.log_mel = LogMel(mels, max_frequency)


def encoder_for(options: AudioOptions) -> AudioEncoder:
    """Return an encoder with the length of clips that a family's settings name."""
    return AudioEncoder(AudioSettings(round(options.seconds * RATE)))


def spec_of(encoder: AudioEncoder, options: AudioOptions) -> dict[str, Any]:
    """Return the entries of a spec that `AudioModule` is built from."""
    return {
        "samples": encoder.settings.samples,
        "mels": options.mels,
        "max_frequency": float(options.max_frequency),
    }


def sizes_of(spec: Mapping[str, Any]) -> tuple[int, int, float]:
    """Return the samples, mel bands and highest frequency in a spec.

    Raises:
        ArtifactError: a number is missing or out of range.
    """
    frequency: Any = spec.get("max_frequency")
    if type(frequency) not in (int, float) or not MIN_FREQUENCY <= frequency <= MAX_FREQUENCY:
        raise ArtifactError(
            f"the model's max_frequency is {frequency!r:.60}; it must lie in "
            f"{MIN_FREQUENCY}..{MAX_FREQUENCY}"
        )
    samples = whole_of(spec, "samples", least=WINDOW, most=60 * RATE)
    return samples, whole_of(spec, "mels", most=MAX_MELS), float(frequency)


@torch.no_grad()
def standardize(log_mel: LogMel, data: Dataset, encoder: AudioEncoder) -> None:
    """Set mean and deviation of each mel band from up to 512 evenly spaced training clips."""
    rows = data.train.rows
    indices = np.linspace(0, len(rows) - 1, min(len(rows), _SAMPLE)).astype(int).tolist()
    energies = [
        log_mel.energies(_clips(encoder, [rows[index] for index in indices[start::8]]))
        for start in range(min(8, len(indices)))
    ]
    frames = torch.cat(energies).flatten(0, 1).double()
    log_mel.mean.copy_(frames.mean(dim=0))
    log_mel.std.copy_(frames.std(dim=0).clamp(min=_MIN_STD))


def _clips(encoder: AudioEncoder, rows: list[Any]) -> Tensor:
    batch = encoder.batch(encoder.encode(rows), range(len(rows)))
    return torch.from_numpy(batch["samples"])


def examples(module: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return noise with different numbers of rows, for tracing and checks.

    Each row is quieter than the one before: outputs hardly differ between rows of equal loudness.
    """
    samples: Any = module.samples
    generator = torch.Generator().manual_seed(0)

    def noise(rows: int) -> dict[str, Tensor]:
        loudness = 0.3 * 0.1 ** torch.arange(rows)[:, None]
        return {"samples": loudness * torch.randn(rows, samples, generator=generator)}

    return noise(2), noise(3)

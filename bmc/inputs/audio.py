"""The encoder of sound: clips of any length become raw samples of one length, at 16 kHz.

The features (log-mel energies) are computed by the network, in the exported graph: a device passes
samples as the microphone gives them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc.errors import ArtifactError, DataError, SettingError
from bmc.inputs import Arrays, Many, Row, TensorInfo, whole_number
from bmc.inputs._sound_files import LARGEST, SoundInfo, info_of, read_mono
from bmc.inputs._sound_files import resampled as resampled_to

__all__ = [
    "RATE",
    "AudioEncoder",
    "AudioSettings",
    "SoundInfo",
    "info_of",
    "load",
    "read_clip",
    "resampled",
]

RATE = 16_000
"""Samples a second of every model."""
MAX_SECONDS = 60
INT16_RANGE = 32_768
_FORMS = (
    "a file (.wav, .flac, .ogg), or mono samples at 16 kHz: float in -1..1, or int16, (samples,)"
)


@dataclass(frozen=True)
class AudioSettings:
    """The length of a model's clips.

    A shorter clip is padded with zeros at its end, and of a longer clip the start is kept.

    Args:
        samples: samples of a clip, at 16,000 a second.

    Raises:
        SettingError: the number is outside its range.
    """

    samples: int

    def __post_init__(self) -> None:
        if not 1 <= self.samples <= MAX_SECONDS * RATE:
            raise SettingError(
                f"a clip has {self.samples} samples; it must lie in 1..{MAX_SECONDS * RATE}"
            )


class AudioEncoder:
    """Turn sound files or arrays of samples into clips of one length.

    Args:
        settings: length of the clips.
    """

    kind = "audio"

    def __init__(self, settings: AudioSettings) -> None:
        self.settings = settings

    def encode(self, rows: Many) -> Many:
        """Return clips of the model's length as one array, float32 or int16 (rows, samples).

        Files are returned as they are; `batch` reads them, so that a data set need not fit in
        memory.

        Raises:
            DataError: a row is not a clip; the message counts rows from 1.
        """
        samples = self.settings.samples
        is_array = isinstance(rows, np.ndarray) and not np.ma.is_masked(rows)
        if is_array and np.shape(rows)[1:] == (samples,) and np.asarray(rows).dtype == np.int16:
            return rows
        if len(rows) and all(isinstance(row, str | Path | bytes) for row in rows):
            return list(rows)
        if not len(rows):
            return []
        return np.stack([self._fit(row, number) for number, row in enumerate(rows, start=1)])

    def batch(self, encoded: Many, indices: Sequence[int]) -> Arrays:
        """Return the clips as `samples`: float32 (rows, samples), in -1..1."""
        if isinstance(encoded, np.ndarray):
            clips = encoded[np.asarray(indices, np.int64)]
        else:
            clips = np.stack([self._fit(encoded[index], index + 1) for index in indices])
        return {"samples": np.ascontiguousarray(_scaled(clips))}

    def lengths(self, encoded: Many) -> NDArray[np.int64]:
        """Return 1 for each clip: all clips have the same length."""
        return np.ones(len(encoded), np.int64)

    def tensors(self) -> tuple[TensorInfo, ...]:
        """Return the name, dtype and shape of each tensor that `batch` returns."""
        return (TensorInfo("samples", "float32", ("batch", self.settings.samples)),)

    def longest(self) -> dict[str, int]:
        """Return {}: only the batch is dynamic."""
        return {}

    def probes(self, max_rows: int) -> list[Arrays]:
        """Return noise of one row and of several, each row ten times quieter than the last."""
        generator = np.random.default_rng(0)
        probes: list[Arrays] = []
        for rows in sorted({1, min(3, max_rows), min(5, max_rows)}):
            noise = generator.uniform(-0.5, 0.5, (rows, self.settings.samples))
            loudness = 10.0 ** -np.arange(rows)[:, None]
            probes.append({"samples": (loudness * noise).astype(np.float32)})
        return probes

    def sized(self, golden: Arrays, rows: int, length: int) -> Arrays:
        """Repeat the first golden clip; `length` is not used."""
        return {"samples": np.repeat(golden["samples"][:1], rows, axis=0)}

    def example(self) -> Row:
        """Return a clip of a tone."""
        times = np.arange(self.settings.samples) / RATE
        return (0.5 * np.sin(2 * np.pi * 440 * times)).astype(np.float32)

    def save(self, folder: Path) -> None:
        """Write no file: the settings are enough."""

    def to_json(self) -> dict[str, Any]:
        """Return the settings as a JSON object."""
        return {"kind": self.kind, "rate": RATE, **asdict(self.settings)}

    def _fit(self, row: Row, number: int) -> NDArray[np.float32]:
        """Return a clip of the model's length, float32 (samples).

        Args:
            row: a file or an array of samples.
            number: number of the row, from 1, for messages.
        """
        samples = self.settings.samples
        try:
            clip = read_clip(row, samples / RATE)
        except DataError as error:
            raise DataError(f"clip {number}: {error}") from error
        fitted = np.zeros(samples, np.float32)
        fitted[: len(clip)] = clip[:samples]
        return fitted


def read_clip(row: Row, seconds: float = MAX_SECONDS) -> NDArray[np.float32]:
    """Return the samples of a file or an array, mono at 16 kHz.

    Args:
        row: path or content of a sound file, or samples (samples,).
        seconds: longest part of a file that is read, from its start.

    Returns:
        float32 (samples), in -1..1.

    Raises:
        DataError: the row is not a clip, has no sample, or has samples that are not finite or far
            outside -1..1.
        MissingError: a package is missing that reads the file.
    """
    if isinstance(row, str | Path | bytes):
        return read_mono(row, RATE, seconds)
    try:
        values = np.asarray(row)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"it is not an array of samples ({error}); pass {_FORMS}") from error
    if values.dtype != np.int16 and values.dtype.kind != "f":
        raise DataError(f"it holds {values.dtype}; pass {_FORMS}")
    if values.ndim != 1:
        hint = "; the mean over the channels is mono" if values.ndim == 2 else ""
        raise DataError(f"it has shape {values.shape}; pass {_FORMS}{hint}")
    if not len(values):
        raise DataError("it has no samples")
    if np.ma.is_masked(row):
        raise DataError("it has masked samples; fill them first")
    return _checked(_scaled(values))


def resampled(samples: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    """Return mono samples of another rate at 16 kHz.

    An array does not say its rate, and neither training nor a bundle can see that it is another:
    resample arrays first. For the chunks of a stream, soxr.ResampleStream keeps what lies between
    two chunks.

    Args:
        samples: float32 (samples).
        rate: samples a second of `samples`.

    Raises:
        MissingError: soxr is not installed.
    """
    return resampled_to(samples, rate, RATE)


def _scaled(values: NDArray[Any]) -> NDArray[np.float32]:
    """Return samples as float32; those of 16 bits are divided by 32,768."""
    if values.dtype == np.int16:
        return values.astype(np.float32) / np.float32(INT16_RANGE)
    with np.errstate(over="ignore"):
        return values.astype(np.float32, copy=False)


def _checked(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    if not np.isfinite(samples).all():
        raise DataError("it holds samples that are NaN or infinite")
    largest = float(np.abs(samples).max())
    if largest > LARGEST:
        raise DataError(
            f"its samples reach {largest:.4g}; float samples lie in -1..1: divide those of 16-bit "
            f"sound by {INT16_RANGE:,}, or pass them as int16"
        )
    return samples


def load(settings: Mapping[str, Any], folder: Path) -> AudioEncoder:
    """Create the encoder of a model directory or bundle.

    Raises:
        ArtifactError: the settings are malformed.
    """
    if settings.get("rate") != RATE:
        raise ArtifactError(
            f"preprocessing: the rate is {settings.get('rate')!r:.40}; {RATE} is possible"
        )
    try:
        return AudioEncoder(AudioSettings(whole_number(settings, "samples")))
    except SettingError as error:
        raise ArtifactError(f"preprocessing: {error}") from error

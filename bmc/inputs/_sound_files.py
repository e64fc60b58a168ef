"""Read sound files: any rate, depth and number of channels become mono float32 at one rate.

The package soundfile reads .wav, .flac, .ogg and .mp3 by their content, whatever a file is named.
Without it Python's own `wave` reads uncompressed .wav files, so that a device needs no package for
clips of the model's rate.
"""

from __future__ import annotations

import importlib
import io
import wave
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc import plugins
from bmc.errors import DataError

Samples = NDArray[np.float32]
_MAX_RATE = 768_000
_BLOCK = 2**20  # values, of all channels, that are decoded together
LARGEST = 10.0
"""Magnitude that no sample in -1..1 reaches, also after noise or resampling."""
_WIDEST = 4  # bytes of a sample of PCM
_NEEDED_BY = "reading this sound file"


@dataclass(frozen=True)
class SoundInfo:
    """What the header of a sound file says.

    Args:
        container: format of the file, such as "WAV" or "MP3", by its content.
        rate: samples a second of each channel.
        frames: number of samples of each channel.
    """

    container: str
    rate: int
    frames: int

    @property
    def seconds(self) -> float:
        """Length of the sound in seconds."""
        return self.frames / self.rate


def info_of(source: Path | str | bytes) -> SoundInfo:
    """Read the header of a sound file.

    Args:
        source: path, or content, of a sound file.

    Raises:
        DataError: the file is missing or is not a sound file.
        MissingError: a package is missing that reads this file.
    """
    return _opened(source, 0)[1]


def read_mono(source: Path | str | bytes, rate: int, seconds: float) -> Samples:
    """Read the start of a sound file as mono samples.

    Args:
        source: path, or content, of a .wav, .flac, .ogg or .mp3 file.
        rate: samples a second to return; a file of another rate is resampled.
        seconds: longest part of the file that is read, from its start.

    Returns:
        float32 (samples), in -1..1; the mean of the channels.

    Raises:
        DataError: the file is missing, is not a sound file, or holds no sample, NaN, or samples far
            outside -1..1.
        MissingError: a package is missing that reads or resamples this file.
    """
    mono, info = _opened(source, seconds)
    name = name_of(source)
    if not len(mono):
        raise DataError(f"{name} holds no samples; remove it, or record it again")
    if not np.isfinite(mono).all():
        raise DataError(f"{name} holds samples that are NaN or infinite; record it again")
    largest = float(np.abs(mono).max())
    if largest > LARGEST:
        raise DataError(
            f"{name} holds float samples up to {largest:.4g}; they lie in -1..1: divide those of "
            "16-bit sound by 32,768, or write them as 16-bit integers"
        )
    return mono if info.rate == rate else resampled(mono, info.rate, rate)


def name_of(source: Path | str | bytes) -> str:
    """Return the name of a sound file in messages."""
    return f"the sound of {len(source)} bytes" if isinstance(source, bytes) else str(source)


def _opened(source: Path | str | bytes, seconds: float) -> tuple[Samples, SoundInfo]:
    """Return the mean of the channels at a file's start, float32 (samples), and its header."""
    if not isinstance(source, bytes):
        _check_file(Path(source))
    try:
        soundfile = importlib.import_module("soundfile")
    except ModuleNotFoundError as error:
        return _by_wave(source, seconds, error)
    return _by_soundfile(soundfile, source, seconds)


def _check_file(path: Path) -> None:
    try:
        is_file, size = path.is_file(), path.stat().st_size
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if not is_file:
        raise DataError(f"{path} is not a file")
    if not size:
        raise DataError(f"{path} is empty; remove it, or record it again")


def _by_soundfile(
    soundfile: ModuleType, source: Path | str | bytes, seconds: float
) -> tuple[Samples, SoundInfo]:
    file = io.BytesIO(source) if isinstance(source, bytes) else str(source)
    try:
        with soundfile.SoundFile(file) as sound:
            info = SoundInfo(str(sound.format), int(sound.samplerate), int(sound.frames))
            _check_rate(info.rate, source)
            mono = _mono(sound, _frames(seconds, info.rate))
    except (soundfile.SoundFileError, OSError, TypeError) as error:  # TypeError: .raw has no header
        raise DataError(
            f"{name_of(source)} is not a sound file that can be read "
            f"({' '.join(str(error).split())[:120]}); convert it to .wav, or remove it"
        ) from error
    return mono, info


def _mono(sound: Any, frames: int) -> Samples:
    """Return the mean of the channels of the next samples, float32 (samples).

    A block at a time: a header may claim more samples and channels than fit into memory.
    """
    size = max(1, _BLOCK // int(sound.channels))
    means = [np.zeros(0, np.float32)]
    while frames > 0:
        block = sound.read(min(size, frames), dtype="float32", always_2d=True)
        if not len(block):
            break
        means.append(block.mean(axis=1, dtype=np.float32))
        frames -= len(block)
    return np.concatenate(means)


def _by_wave(
    source: Path | str | bytes, seconds: float, missing: ModuleNotFoundError
) -> tuple[Samples, SoundInfo]:
    """Read an uncompressed .wav file; anything else needs the missing package."""
    file: Any = io.BytesIO(source) if isinstance(source, bytes) else str(source)
    try:
        with wave.open(file, "rb") as sound:
            info = SoundInfo("WAV", sound.getframerate(), sound.getnframes())
            width, channels = sound.getsampwidth(), sound.getnchannels()
            _check_rate(info.rate, source)
            if width > _WIDEST:
                raise wave.Error(f"samples of {width} bytes")
            content = sound.readframes(_frames(seconds, info.rate))
    except (wave.Error, EOFError, OSError) as error:
        raise plugins.missing(missing, f"{_NEEDED_BY} ({name_of(source)})") from error
    values = _integers(content[: len(content) // (width * channels) * width * channels], width)
    samples = (values / 2.0 ** (8 * width - 1)).astype(np.float32).reshape(-1, channels)
    return samples.mean(axis=1, dtype=np.float32), info


def _integers(content: bytes, width: int) -> NDArray[np.int64]:
    """Return the signed integers of PCM; those of one byte are stored without a sign."""
    octets = np.frombuffer(content, np.uint8).reshape(-1, width).astype(np.int64)
    unsigned = (octets << (8 * np.arange(width))).sum(axis=1)
    half = 1 << (8 * width - 1)
    signed: NDArray[np.int64] = unsigned - half if width == 1 else (unsigned ^ half) - half
    return signed


def _check_rate(rate: int, source: Path | str | bytes) -> None:
    if not 1 <= rate <= _MAX_RATE:
        raise DataError(
            f"{name_of(source)} has {rate} samples a second; 1 to {_MAX_RATE:,} are possible"
        )


def _frames(seconds: float, rate: int) -> int:
    return int(np.ceil(seconds * rate))


def resampled(mono: Samples, source_rate: int, rate: int) -> Samples:
    """Return samples at another rate, by soxr's band-limited interpolation.

    Args:
        mono: float32 (samples).
        source_rate: samples a second of `mono`.
        rate: samples a second to return.

    Raises:
        MissingError: soxr is not installed.
    """
    try:
        soxr = importlib.import_module("soxr")
    except ModuleNotFoundError as error:
        raise plugins.missing(
            error, f"a sound of {source_rate} samples a second where the model takes {rate}"
        ) from error
    samples: Samples = np.asarray(soxr.resample(mono, source_rate, rate), np.float32)
    return samples if len(samples) else mono[:1].copy()  # shorter than one sample

"""The encoder of series: series of any length become a padded, normalized tensor and lengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc.errors import ArtifactError, DataError, SettingError
from bmc.inputs import Arrays, Many, Row, TensorInfo, numbers, whole_number

_RESOLVED = 1 / 16  # of a channel's standard deviation: the largest step of float32 that is taken


@dataclass(frozen=True)
class SeriesSettings:
    """The length and the normalization of a model's series.

    Args:
        channels: number of values in a time step.
        max_length: largest number of time steps; a longer series is refused, not cut.
        mean: value to subtract from each channel.
        std: value, above 0, by which each channel is then divided.

    Raises:
        SettingError: a value is outside its range.
    """

    channels: int
    max_length: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.channels < 1:
            raise SettingError(f"{self.channels} channels; a series needs at least 1")
        if not 1 <= self.max_length <= 2**20:
            raise SettingError(f"max length is {self.max_length}; it must lie in 1..{2**20}")
        if len(self.mean) != self.channels or len(self.std) != self.channels:
            raise SettingError(f"mean and std need one number for each of {self.channels} channels")
        if not all(value > 0 for value in self.std):
            raise SettingError(f"std is {self.std}; each must be above 0")


class SeriesEncoder:
    """Turn series, arrays (length, channels), into padded tensors.

    Args:
        settings: length and normalization of the series.
    """

    kind = "series"

    def __init__(self, settings: SeriesSettings) -> None:
        self.settings = settings

    def encode(self, rows: Many) -> list[NDArray[np.float32]]:
        """Return each series normalized, as float32 (length, channels).

        Raises:
            DataError: a series is not a table of finite numbers, has no step or too many, or has
                another number of channels; the message counts series from 1.
        """
        settings = self.settings
        mean, std = np.array(settings.mean, np.float32), np.array(settings.std, np.float32)
        normalized = []
        for number, row in enumerate(rows, start=1):
            series = _series(row, f"series {number}", settings.channels)
            check_series(series, f"series {number}", settings.channels)
            if len(series) > settings.max_length:
                raise DataError(
                    f"series {number} has {len(series)} steps; the model takes "
                    f"{settings.max_length} at most: cut it, or train with a larger --max-length"
                )
            with np.errstate(over="ignore"):
                series = (series - mean) / std
            check_series(series, f"series {number}, normalized,")
            normalized.append(series)
        return normalized

    def batch(self, encoded: Many, indices: Sequence[int]) -> Arrays:
        """Pad series with zeros to the length of the longest.

        Returns:
            series: float32 (rows, longest, channels).
            lengths: int64 (rows).
        """
        rows = [encoded[index] for index in indices]
        lengths = np.array([len(row) for row in rows], np.int64)
        series = np.zeros((len(rows), int(lengths.max()), self.settings.channels), np.float32)
        for number, row in enumerate(rows):
            series[number, : len(row)] = row
        return {"series": series, "lengths": lengths}

    def lengths(self, encoded: Many) -> list[int]:
        """Return the number of time steps of each series."""
        return [len(row) for row in encoded]

    def tensors(self) -> tuple[TensorInfo, ...]:
        """Return the name, dtype and shape of each tensor that `batch` returns."""
        return (
            TensorInfo("series", "float32", ("batch", "sequence", self.settings.channels)),
            TensorInfo("lengths", "int64", ("batch",)),
        )

    def longest(self) -> dict[str, int]:
        """Return the largest number of time steps."""
        return {"sequence": self.settings.max_length}

    def probes(self, max_rows: int) -> list[Arrays]:
        """Return random series: of one step, of several with padding, and of the largest length."""
        generator = np.random.default_rng(0)
        settings = self.settings
        longest = min(settings.max_length, 512)
        shapes = [(1, 1), (1, min(3, longest)), (min(5, max_rows), min(17, longest)), (1, longest)]
        probes: list[Arrays] = []
        for rows, length in shapes:
            series = generator.normal(size=(rows, length, settings.channels)).astype(np.float32)
            lengths = generator.integers(1, length + 1, rows)
            probes.append({"series": series, "lengths": lengths.astype(np.int64)})
        return probes

    def sized(self, golden: Arrays, rows: int, length: int) -> Arrays:
        """Cut or repeat the first golden series to `length` steps, then to `rows` rows."""
        length = min(length, self.settings.max_length)
        unpadded = golden["series"][0, : golden["lengths"][0]]
        row = np.resize(unpadded, (length, unpadded.shape[1]))
        return {
            "series": np.ascontiguousarray(np.tile(row, (rows, 1, 1))),
            "lengths": np.full(rows, length, np.int64),
        }

    def example(self) -> Row:
        """Return a constant series."""
        settings = self.settings
        return np.tile(np.array(settings.mean, np.float32), (min(8, settings.max_length), 1))

    def save(self, folder: Path) -> None:
        """Write no file: the settings are enough."""

    def to_json(self) -> dict[str, Any]:
        """Return the settings as a JSON object."""
        return {"kind": self.kind, **asdict(self.settings)}


def encoder_for(rows: Many, max_length: int) -> SeriesEncoder:
    """Create an encoder that scales each channel of the training series to mean 0 and deviation 1.

    Args:
        rows: training series, arrays (length, channels).
        max_length: largest number of time steps of a series.

    Raises:
        DataError: a series is not a table of finite numbers, or a channel varies by less than
            float32, in which models compute, can tell apart.
    """
    series = [np.asarray(row, np.float64) for row in rows]
    for number, table in enumerate(series, start=1):
        check_series(table, f"series {number}", series[0].shape[-1])
    steps = np.concatenate(series)
    is_constant = steps.min(axis=0) == steps.max(axis=0)
    std = np.where(is_constant, 1.0, steps.std(axis=0))  # a constant channel is normalized to 0
    mean = steps.mean(axis=0)
    with np.errstate(over="ignore", invalid="ignore"):  # `encode` refuses infinite numbers
        resolution = np.spacing(np.abs(mean).astype(np.float32))
    if (is_hidden := ~is_constant & (resolution > _RESOLVED * std)).any():
        channel = int(is_hidden.argmax())
        raise DataError(
            f"channel {channel} of the series varies by {std[channel]:.3g} (standard deviation) "
            f"around {mean[channel]:.6g}, where float32, in which models compute, has steps of "
            f"{resolution[channel]:.3g}: subtract a constant from the channel first"
        )
    settings = SeriesSettings(steps.shape[1], max_length, tuple(mean.tolist()), tuple(std.tolist()))
    return SeriesEncoder(settings)


def _series(row: Row, name: str, channels: int) -> NDArray[np.float32]:
    """Return a series as float32 (length, channels); a series of one channel may be (length,).

    Raises:
        DataError: a value is not a real number, or is outside the range of float32.
    """
    try:
        values = np.asarray(row)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{name} is not a series of numbers ({error})") from error
    if values.dtype.kind not in "buif":
        content = "text" if values.dtype.kind in "SU" else str(values.dtype)
        raise DataError(f"{name} is not a series of numbers (it holds {content}); convert it first")
    if np.ma.is_masked(row):
        raise DataError(f"{name} has masked values; fill them first")
    with np.errstate(over="ignore"):
        series = values.astype(np.float32)
    too_large = np.isinf(series) & np.isfinite(values)
    if too_large.any():
        raise DataError(f"{name} has {values[too_large][0]}; float32 ends at 3.4e38: scale it")
    return series[:, None] if channels == 1 and series.ndim == 1 else series


def check_series(series: NDArray[Any], name: str, channels: int | None = None) -> None:
    """Check that a series is a table (length, channels) of finite numbers.

    Raises:
        DataError: the series is not; the message names the series, the step and the channel.
    """
    if series.ndim != 2 or not len(series):
        raise DataError(
            f"{name} has shape {series.shape}; it must be (steps, channels), and a list holds "
            "several series"
        )
    if channels and series.shape[1] != channels:
        hint = ": channels come last (series.T)" if len(series) == channels else ""
        raise DataError(f"{name} has {series.shape[1]} channels; the model takes {channels}{hint}")
    not_finite = ~np.isfinite(series)
    if not_finite.any():
        step, channel = (int(index) for index in np.argwhere(not_finite)[0])
        raise DataError(
            f"{name} has {series[step, channel]} at step {step + 1}, channel {channel + 1}; "
            "fill or remove it"
        )


def load(settings: Mapping[str, Any], folder: Path) -> SeriesEncoder:
    """Create the encoder of a model directory or bundle.

    Raises:
        ArtifactError: the settings are malformed.
    """
    channels, max_length = whole_number(settings, "channels"), whole_number(settings, "max_length")
    mean, std = numbers(settings, "mean"), numbers(settings, "std")
    try:
        return SeriesEncoder(SeriesSettings(channels, max_length, mean, std))
    except SettingError as error:
        raise ArtifactError(f"preprocessing: {error}") from error

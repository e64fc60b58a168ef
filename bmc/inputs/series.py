"""Series of numbers, of any length, into padded and normalized tensors with their lengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc.errors import ArtifactError, DataError, SettingError
from bmc.inputs import Arrays, Many, Row, TensorInfo, numbers, whole_number


@dataclass(frozen=True)
class SeriesSettings:
    """What a model's series look like.

    Args:
        channels: numbers a time step.
        max_length: time steps at most; a longer series is refused, never cut.
        mean: of each channel, subtracted.
        std: of each channel, divided by.
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
    """Turn series, arrays (length, channels), into padded tensors."""

    kind = "series"

    def __init__(self, settings: SeriesSettings) -> None:
        self.settings = settings

    def encode(self, rows: Many) -> list[NDArray[np.float32]]:
        """Normalize each series: float32 (length, channels).

        Raises:
            DataError: a series is no table of finite numbers, or has no step, too many, or another
                number of channels; the message says which, counted from 1.
        """
        own = self.settings
        mean, std = np.array(own.mean, np.float32), np.array(own.std, np.float32)
        found = []
        for number, row in enumerate(rows, start=1):
            series = _series(row, f"series {number}", own.channels)
            check_series(series, f"series {number}", own.channels)
            if len(series) > own.max_length:
                raise DataError(
                    f"series {number} has {len(series)} steps; the model takes {own.max_length} "
                    "at most: cut it, or train with a larger --max-length"
                )
            with np.errstate(over="ignore"):
                series = (series - mean) / std
            check_series(series, f"series {number}, normalized,")
            found.append(series)
        return found

    def batch(self, encoded: Many, places: Sequence[int]) -> Arrays:
        """Pad with zeros to the longest.

        Returns:
            series: float32 (rows, longest, channels).
            lengths: int64 (rows).
        """
        rows = [encoded[place] for place in places]
        lengths = np.array([len(row) for row in rows], np.int64)
        series = np.zeros((len(rows), int(lengths.max()), self.settings.channels), np.float32)
        for number, row in enumerate(rows):
            series[number, : len(row)] = row
        return {"series": series, "lengths": lengths}

    def lengths(self, encoded: Many) -> list[int]:
        """Return each series' time steps."""
        return [len(row) for row in encoded]

    def tensors(self) -> tuple[TensorInfo, ...]:
        """Say which tensors `batch` makes."""
        return (
            TensorInfo("series", "float32", ("batch", "sequence", self.settings.channels)),
            TensorInfo("lengths", "int64", ("batch",)),
        )

    def longest(self) -> dict[str, int]:
        """Return the most time steps that a series may have."""
        return {"sequence": self.settings.max_length}

    def probes(self, most_rows: int) -> list[Arrays]:
        """Return random series: one step, ragged ones, padding beyond the longest, the longest."""
        generator = np.random.default_rng(0)
        own = self.settings
        most = min(own.max_length, 512)
        shapes = [(1, 1), (1, min(3, most)), (min(5, most_rows), min(17, most)), (1, most)]
        found: list[Arrays] = []
        for rows, length in shapes:
            series = generator.normal(size=(rows, length, own.channels)).astype(np.float32)
            lengths = generator.integers(1, length + 1, rows)
            found.append({"series": series, "lengths": lengths.astype(np.int64)})
        return found

    def sized(self, golden: Arrays, rows: int, length: int) -> Arrays:
        """Cut or repeat the first golden series to `length` steps, then to `rows` rows."""
        length = min(length, self.settings.max_length)
        one = golden["series"][0, : golden["lengths"][0]]
        row = np.resize(one, (length, one.shape[1]))
        return {
            "series": np.ascontiguousarray(np.tile(row, (rows, 1, 1))),
            "lengths": np.full(rows, length, np.int64),
        }

    def example(self) -> Row:
        """Return a series that never moves."""
        own = self.settings
        return np.tile(np.array(own.mean, np.float32), (min(8, own.max_length), 1))

    def save(self, folder: Path) -> None:
        """Write nothing: the settings say it all."""

    def to_json(self) -> dict[str, Any]:
        """Return the settings as a JSON object."""
        return {"kind": self.kind, **asdict(self.settings)}


def encoder_for(rows: Many, max_length: int) -> SeriesEncoder:
    """Make an encoder that brings each channel of the training series to mean 0, deviation 1.

    Args:
        rows: series, arrays (length, channels).
        max_length: time steps that a series may have at most.

    Raises:
        DataError: a series is no table of finite numbers.
    """
    series = [np.asarray(row, np.float64) for row in rows]
    for number, steps in enumerate(series, start=1):
        check_series(steps, f"series {number}", series[0].shape[-1])
    every = np.concatenate(series)
    deviation = every.std(axis=0)
    std = np.where(deviation > 0, deviation, 1.0)  # a channel that never changes stays 0
    mean = tuple(every.mean(axis=0).tolist())
    return SeriesEncoder(SeriesSettings(every.shape[1], max_length, mean, tuple(std.tolist())))


def _series(row: Row, name: str, channels: int) -> NDArray[np.float32]:
    """Return a series as float32; one of a single channel may be flat, as in a data set.

    Raises:
        DataError: it holds something else than real numbers, or some that float32 cannot hold.
    """
    try:
        values = np.asarray(row)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{name} is no series of numbers ({error})") from error
    if values.dtype.kind not in "buif":
        held = "text" if values.dtype.kind in "SU" else str(values.dtype)
        raise DataError(f"{name} is no series of numbers (it holds {held}); convert it first")
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
        DataError: it is not; the message names the series and the place.
    """
    if series.ndim != 2 or not len(series):
        raise DataError(
            f"{name} has shape {series.shape}; it must be (steps, channels), and a list holds "
            "several series"
        )
    if channels and series.shape[1] != channels:
        turned = ": channels come last (series.T)" if len(series) == channels else ""
        raise DataError(
            f"{name} has {series.shape[1]} channels; the model takes {channels}{turned}"
        )
    broken = ~np.isfinite(series)
    if broken.any():
        step, channel = (int(place) for place in np.argwhere(broken)[0])
        raise DataError(
            f"{name} has {series[step, channel]} at step {step + 1}, channel {channel + 1}; "
            "fill or remove it"
        )


def load(settings: Mapping[str, Any], folder: Path) -> SeriesEncoder:
    """Make the encoder that a model directory or bundle describes.

    Raises:
        ArtifactError: the settings are malformed.
    """
    channels, most = whole_number(settings, "channels"), whole_number(settings, "max_length")
    mean, std = numbers(settings, "mean"), numbers(settings, "std")
    try:
        return SeriesEncoder(SeriesSettings(channels, most, mean, std))
    except SettingError as error:
        raise ArtifactError(f"preprocessing: {error}") from error

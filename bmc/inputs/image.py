"""Images into normalized pixels (rows, channels, height, width)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc.errors import ArtifactError, DataError, SettingError
from bmc.inputs import Arrays, Many, Row, TensorInfo, numbers, whole_number
from bmc.inputs._pictures import check_image, read_image, shape_of, unread_parts

__all__ = [
    "ImageEncoder",
    "ImageSettings",
    "check_image",
    "load",
    "read_image",
    "shape_of",
    "unread_parts",
]

_LARGEST = 4096


@dataclass(frozen=True)
class ImageSettings:
    """What a model's images look like.

    An image of another size is resized (bilinear) to this one; gray becomes color by repeating,
    color becomes gray by luminance.

    Args:
        height: pixels.
        width: pixels.
        channels: 1 (gray) or 3 (red, green, blue).
        mean: of each channel, subtracted after values were brought to 0..1.
        std: of each channel, divided by.
        any_size: whether the exported model takes other heights and widths too.
    """

    height: int
    width: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    any_size: bool = False

    def __post_init__(self) -> None:
        for name in ("height", "width"):
            if not 1 <= getattr(self, name) <= _LARGEST:
                raise SettingError(
                    f"image {name} is {getattr(self, name)}; it must lie in 1..{_LARGEST}"
                )
        if self.channels not in (1, 3):
            raise SettingError(f"{self.channels} channels; 1 (gray) and 3 (color) are possible")
        if len(self.mean) != self.channels or len(self.std) != self.channels:
            raise SettingError(f"mean and std need one number for each of {self.channels} channels")
        if not all(value > 0 for value in self.std):
            raise SettingError(f"std is {self.std}; each must be above 0")


class ImageEncoder:
    """Turn files, their content, PIL images or uint8 arrays into a model's pixels."""

    kind = "image"

    def __init__(self, settings: ImageSettings) -> None:
        self.settings = settings
        self._scale = (1 / (255 * np.array(settings.std))).astype(np.float32)
        self._shift = (-np.array(settings.mean) / np.array(settings.std)).astype(np.float32)

    def encode(self, rows: Many) -> Many:
        """Return images of the model's size as one array, uint8 (rows, height, width, channels).

        Files stay files, read when they are collated: a data set need not fit in memory.

        Raises:
            DataError: a row is no image; the message says which, counted from 1.
        """
        own = self.settings
        shape = (own.height, own.width, own.channels)
        if isinstance(rows, np.ndarray) and rows.dtype == np.uint8 and rows.shape[1:] == shape:
            if np.ma.is_masked(rows):
                raise DataError("the images have masked pixels; fill them first")
            return rows
        if len(rows) and all(isinstance(row, str | Path | bytes) for row in rows):
            return list(rows)
        if not len(rows):
            return []
        return np.stack([self._fit(row, number) for number, row in enumerate(rows, start=1)])

    def batch(self, encoded: Many, places: Sequence[int]) -> Arrays:
        """Return `pixels`, normalized: float32 (rows, channels, height, width)."""
        if isinstance(encoded, np.ndarray):
            images = encoded[np.asarray(places)]
        else:
            images = np.stack([self._fit(encoded[place], place + 1) for place in places])
        pixels = images.transpose(0, 3, 1, 2).astype(np.float32)
        pixels *= self._scale[:, None, None]
        pixels += self._shift[:, None, None]
        return {"pixels": np.ascontiguousarray(pixels)}

    def lengths(self, encoded: Many) -> list[int]:
        """Return 1 for each image: all are of one size."""
        return [1] * len(encoded)

    def tensors(self) -> tuple[TensorInfo, ...]:
        """Say which tensors `batch` makes."""
        own = self.settings
        size = ("height", "width") if own.any_size else (own.height, own.width)
        return (TensorInfo("pixels", "float32", ("batch", own.channels, *size)),)

    def longest(self) -> dict[str, int]:
        """Return the largest height and width, where they are free."""
        own = self.settings
        if not own.any_size:
            return {}
        return {"height": max(2 * own.height, 64), "width": max(2 * own.width, 64)}

    def probes(self, most_rows: int) -> list[Arrays]:
        """Return random pixels: one image, several, and other sizes where they are free."""
        generator = np.random.default_rng(0)
        own = self.settings
        sizes = [(1, own.height, own.width), (min(5, most_rows), own.height, own.width)]
        if own.any_size:
            tall, wide = own.height + own.height // 2, own.width + own.width // 4
            sizes += [(1, own.height, wide), (min(3, most_rows), tall, own.width)]
        return [
            {"pixels": generator.normal(size=(rows, own.channels, *size)).astype(np.float32)}
            for rows, *size in sizes
        ]

    def sized(self, golden: Arrays, rows: int, length: int) -> Arrays:
        """Repeat a golden image; images have a size of their own, so `length` is not used."""
        return {
            "pixels": np.ascontiguousarray(
                np.resize(golden["pixels"][:1], (rows, *golden["pixels"].shape[1:]))
            )
        }

    def example(self) -> Row:
        """Return a gray image."""
        own = self.settings
        return np.full((own.height, own.width, own.channels), 127, np.uint8)

    def save(self, folder: Path) -> None:
        """Write nothing: the settings say it all."""

    def to_json(self) -> dict[str, Any]:
        """Return the settings as a JSON object."""
        return {"kind": self.kind, "layout": "NCHW", **asdict(self.settings)}

    def _fit(self, row: Row, number: int) -> NDArray[np.uint8]:
        """Return an image as uint8 (height, width, channels) of the model's size.

        Args:
            row: the image.
            number: its place in the list, from 1, for messages.
        """
        own = self.settings
        if type(row) is np.ndarray and row.dtype == np.uint8:  # others may be masked
            image = row[:, :, None] if row.ndim == 2 else row
            if image.shape == (own.height, own.width, own.channels):
                return image
        try:
            return read_image(row, own.height, own.width, own.channels)
        except DataError as error:
            raise DataError(f"image {number}: {error}") from error


def load(settings: Mapping[str, Any], folder: Path) -> ImageEncoder:
    """Make the encoder that a model directory or bundle describes.

    Raises:
        ArtifactError: the settings are malformed.
    """
    height, width, channels = (
        whole_number(settings, key) for key in ("height", "width", "channels")
    )
    mean, std = numbers(settings, "mean"), numbers(settings, "std")
    any_size = settings.get("any_size")
    if type(any_size) is not bool or settings.get("layout") != "NCHW":
        raise ArtifactError(f"preprocessing: any_size {any_size!r:.20}, layout NCHW is expected")
    try:
        return ImageEncoder(ImageSettings(height, width, channels, mean, std, any_size))
    except SettingError as error:
        raise ArtifactError(f"preprocessing: {error}") from error

"""The encoder of images: an image becomes normalized pixels (channels, height, width)."""

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

_MAX_SIZE = 4096


@dataclass(frozen=True)
class ImageSettings:
    """The size and the normalization of a model's images.

    An image of another size is resized (bilinear). A gray image becomes a color image by repeating
    its channel, and a color image becomes gray by its luminance.

    Args:
        height: height in pixels, 1 to 4096.
        width: width in pixels, 1 to 4096.
        channels: 1 (gray) or 3 (red, green, blue).
        mean: value to subtract from each channel, after values were scaled to 0..1.
        std: value, above 0, by which each channel is then divided.
        any_size: export a model that also takes other heights and widths.

    Raises:
        SettingError: a value is outside its range.
    """

    height: int
    width: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    any_size: bool = False

    def __post_init__(self) -> None:
        for name in ("height", "width"):
            if not 1 <= getattr(self, name) <= _MAX_SIZE:
                raise SettingError(
                    f"image {name} is {getattr(self, name)}; it must lie in 1..{_MAX_SIZE}"
                )
        if self.channels not in (1, 3):
            raise SettingError(f"{self.channels} channels; 1 (gray) and 3 (color) are possible")
        if len(self.mean) != self.channels or len(self.std) != self.channels:
            raise SettingError(f"mean and std need one number for each of {self.channels} channels")
        if not all(value > 0 for value in self.std):
            raise SettingError(f"std is {self.std}; each must be above 0")


class ImageEncoder:
    """Turn image files, their content, PIL images or uint8 arrays into a model's pixels.

    Args:
        settings: size and normalization of the images.
    """

    kind = "image"

    def __init__(self, settings: ImageSettings) -> None:
        self.settings = settings
        self._scale = (1 / (255 * np.array(settings.std))).astype(np.float32)
        self._shift = (-np.array(settings.mean) / np.array(settings.std)).astype(np.float32)

    def encode(self, rows: Many) -> Many:
        """Return images of the model's size as one array, uint8 (rows, height, width, channels).

        Files are returned as they are; `batch` reads them, so that a data set need not fit in
        memory.

        Raises:
            DataError: a row is not an image; the message counts rows from 1.
        """
        settings = self.settings
        shape = (settings.height, settings.width, settings.channels)
        if isinstance(rows, np.ndarray) and rows.dtype == np.uint8 and rows.shape[1:] == shape:
            if np.ma.is_masked(rows):
                raise DataError("the images have masked pixels; fill them first")
            return rows
        if len(rows) and all(isinstance(row, str | Path | bytes) for row in rows):
            return list(rows)
        if not len(rows):
            return []
        return np.stack([self._fit(row, number) for number, row in enumerate(rows, start=1)])

    def batch(self, encoded: Many, indices: Sequence[int]) -> Arrays:
        """Return the normalized `pixels`: float32 (rows, channels, height, width)."""
        if isinstance(encoded, np.ndarray):
            images = encoded[np.asarray(indices)]
        else:
            images = np.stack([self._fit(encoded[index], index + 1) for index in indices])
        pixels = images.transpose(0, 3, 1, 2).astype(np.float32)
        pixels *= self._scale[:, None, None]
        pixels += self._shift[:, None, None]
        return {"pixels": np.ascontiguousarray(pixels)}

    def lengths(self, encoded: Many) -> list[int]:
        """Return 1 for each image: all images have the same size."""
        return [1] * len(encoded)

    def tensors(self) -> tuple[TensorInfo, ...]:
        """Return the name, dtype and shape of each tensor that `batch` returns."""
        settings = self.settings
        size = ("height", "width") if settings.any_size else (settings.height, settings.width)
        return (TensorInfo("pixels", "float32", ("batch", settings.channels, *size)),)

    def longest(self) -> dict[str, int]:
        """Return the largest height and width of a model that takes images of any size, else {}."""
        settings = self.settings
        if not settings.any_size:
            return {}
        return {"height": max(2 * settings.height, 64), "width": max(2 * settings.width, 64)}

    def probes(self, max_rows: int) -> list[Arrays]:
        """Return random pixels: of one image, of several, and of other sizes if the model may."""
        generator = np.random.default_rng(0)
        height, width = self.settings.height, self.settings.width
        sizes = [(1, height, width), (min(5, max_rows), height, width)]
        if self.settings.any_size:
            taller, wider = height + height // 2, width + width // 4
            sizes += [(1, height, wider), (min(3, max_rows), taller, width)]
        channels = self.settings.channels
        return [
            {"pixels": generator.normal(size=(rows, channels, *size)).astype(np.float32)}
            for rows, *size in sizes
        ]

    def sized(self, golden: Arrays, rows: int, length: int) -> Arrays:
        """Repeat the first golden image; `length` is not used."""
        return {
            "pixels": np.ascontiguousarray(
                np.resize(golden["pixels"][:1], (rows, *golden["pixels"].shape[1:]))
            )
        }

    def example(self) -> Row:
        """Return a gray image."""
        settings = self.settings
        return np.full((settings.height, settings.width, settings.channels), 127, np.uint8)

    def save(self, folder: Path) -> None:
        """Write no file: the settings are enough."""

    def to_json(self) -> dict[str, Any]:
        """Return the settings as a JSON object."""
        return {"kind": self.kind, "layout": "NCHW", **asdict(self.settings)}

    def _fit(self, row: Row, number: int) -> NDArray[np.uint8]:
        """Return an image as uint8 (height, width, channels) of the model's size.

        Args:
            row: the image.
            number: number of the row, from 1, for messages.
        """
        settings = self.settings
        if type(row) is np.ndarray and row.dtype == np.uint8:  # not a masked array
            image = row[:, :, None] if row.ndim == 2 else row
            if image.shape == (settings.height, settings.width, settings.channels):
                return image
        try:
            return read_image(row, settings.height, settings.width, settings.channels)
        except DataError as error:
            raise DataError(f"image {number}: {error}") from error


def load(settings: Mapping[str, Any], folder: Path) -> ImageEncoder:
    """Create the encoder of a model directory or bundle.

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

"""Turn images into the input of an ONNX file: size, layout and normalization."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc.inputs import Row
from bmc.inputs.image import read_image


@dataclass(frozen=True)
class PixelFormat:
    """How an image becomes a tensor: (byte * scale - mean) / std.

    Args:
        name: name of the input.
        dtype: name of the input's numpy dtype.
        size: height, width and number of channels.
        is_channels_first: whether the tensor is (channels, height, width).
        scale: factor of the bytes.
        mean: number to subtract from each channel.
        std: number by which each channel is then divided.
        is_bgr: whether blue comes first.
        crop: share of the shorter side that is kept; None to stretch the whole image.
        rows: number of images that a call of the model takes.
        stretch: height and width to which the whole image is stretched before its middle is kept;
            () for the image as it is.
    """

    name: str
    dtype: str
    size: tuple[int, int, int]
    is_channels_first: bool
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    is_bgr: bool
    crop: float | None
    rows: int
    stretch: tuple[int, int] | tuple[()] = ()

    def tensor_of(self, image: Row) -> NDArray[Any]:
        """Return an image as the model takes it, without an axis of rows.

        Args:
            image: a file, or what else `bmc.inputs.image.read_image` reads.

        Raises:
            DataError: it is not an image that can be read.
            MissingError: Pillow is not installed.
        """
        height, width, channels = self.size
        if self.crop is not None:
            image = _middle(read_image(image, channels=channels), height, width, self.crop)
        elif self.stretch:
            stretched = read_image(image, *self.stretch, channels)
            image = _middle_of(
                stretched, min(height, len(stretched)), min(width, len(stretched[0]))
            )
        pixels: NDArray[Any] = read_image(image, height, width, channels)
        if self.is_bgr:
            pixels = pixels[:, :, ::-1]
        if np.dtype(self.dtype).kind == "f":
            scaled = pixels.astype(np.float32) * np.float32(self.scale)
            normalized = (scaled - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
            pixels = normalized
        pixels = pixels.astype(self.dtype)
        return np.ascontiguousarray(pixels.transpose(2, 0, 1) if self.is_channels_first else pixels)

    def calls(self, images: Sequence[Row]) -> Iterator[dict[str, NDArray[Any]]]:
        """Yield the input of each call; images that do not fill a call are left out."""
        for start in range(0, len(images) - len(images) % self.rows, self.rows):
            rows = images[start : start + self.rows]
            yield {self.name: np.stack([self.tensor_of(image) for image in rows])}


def _middle(image: NDArray[np.uint8], height: int, width: int, share: float) -> NDArray[np.uint8]:
    """Return the middle of an image, with the proportions of height and width.

    Args:
        image: uint8 (height, width, channels).
        height: height of the model's images.
        width: width of the model's images.
        share: share of the image's shorter side that is kept.
    """
    rows, columns = image.shape[:2]
    factor = max(height / rows, width / columns) / share
    kept_rows = min(rows, max(1, round(height / factor)))
    kept_columns = min(columns, max(1, round(width / factor)))
    return _middle_of(image, kept_rows, kept_columns)


def _middle_of(image: NDArray[np.uint8], rows: int, columns: int) -> NDArray[np.uint8]:
    """Return so many rows and columns in the middle of an image."""
    top, left = (len(image) - rows) // 2, (len(image[0]) - columns) // 2
    return np.ascontiguousarray(image[top : top + rows, left : left + columns])

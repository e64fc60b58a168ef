"""Images into normalised pixels (rows, channels, height, width)."""

from __future__ import annotations

import importlib
import io
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc import plugins
from bmc.errors import ArtifactError, DataError, SettingError
from bmc.inputs import Arrays, Many, Row, TensorInfo, numbers, whole_number

_LARGEST = 4096
_GREY = ("1", "L", "LA", "La", "I;16", "I;16L", "I;16B", "I;16N")
_DEEP = ("I", "F")


@dataclass(frozen=True)
class ImageSettings:
    """What a model's images look like.

    An image of another size is resized (bilinear) to this one; grey becomes colour by repeating,
    colour becomes grey by luminance.

    Args:
        height: pixels.
        width: pixels.
        channels: 1 (grey) or 3 (red, green, blue).
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
            raise SettingError(f"{self.channels} channels; 1 (grey) and 3 (colour) are possible")
        if len(self.mean) != self.channels or len(self.std) != self.channels:
            raise SettingError(f"mean and std need one number for each of {self.channels} channels")
        if not all(value > 0 for value in self.std):
            raise SettingError(f"std is {self.std}; each must be above 0")


class ImageEncoder:
    """Turn images, files or arrays (height, width[, channels]) of bytes, into a model's pixels."""

    kind = "image"

    def __init__(self, settings: ImageSettings) -> None:
        self.settings = settings
        self._scale = (1 / (255 * np.array(settings.std))).astype(np.float32)
        self._shift = (-np.array(settings.mean) / np.array(settings.std)).astype(np.float32)

    def encode(self, rows: Many) -> Many:
        """Return images of the model's size as one array, uint8 (rows, height, width, channels).

        Files stay files, read when they are collated: a data set need not fit in memory.

        Raises:
            DataError: a row is no image.
        """
        own = self.settings
        shape = (own.height, own.width, own.channels)
        if isinstance(rows, np.ndarray) and rows.dtype == np.uint8 and rows.shape[1:] == shape:
            return rows
        if len(rows) and all(isinstance(row, Path | bytes) for row in rows):
            return list(rows)
        return np.stack([self._fit(row) for row in rows]) if len(rows) else []

    def batch(self, encoded: Many, places: Sequence[int]) -> Arrays:
        """Return `pixels`, normalised: float32 (rows, channels, height, width)."""
        if isinstance(encoded, np.ndarray):
            images = encoded[np.asarray(places)]
        else:
            images = np.stack([self._fit(encoded[place]) for place in places])
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
        """Return a grey image."""
        own = self.settings
        return np.full((own.height, own.width, own.channels), 127, np.uint8)

    def save(self, folder: Path) -> None:
        """Write nothing: the settings say it all."""

    def to_json(self) -> dict[str, Any]:
        """Return the settings as a JSON object."""
        return {"kind": self.kind, "layout": "NCHW", **asdict(self.settings)}

    def _fit(self, row: Row) -> NDArray[np.uint8]:
        """Return one image as uint8 (height, width, channels) of the model's size."""
        own = self.settings
        if isinstance(row, np.ndarray) and row.dtype == np.uint8:
            image = row[:, :, None] if row.ndim == 2 else row
            if image.shape == (own.height, own.width, own.channels):
                return image
        return read_image(row, own.height, own.width, own.channels)


def read_image(
    row: Row, height: int | None = None, width: int | None = None, channels: int | None = None
) -> NDArray[np.uint8]:
    """Return an image as uint8 (height, width, channels), resized and recoloured where asked.

    Transparency is dropped; 16 bits a pixel are cut to the upper 8.

    Args:
        row: a file, a file's content, or an array of bytes (height, width) or
            (height, width, 1, 3 or 4).
        height: pixels; the image's own where None.
        width: likewise.
        channels: 1 or 3; the image's own where None.

    Raises:
        DataError: it is no image that can be read.
        MissingError: Pillow is not installed.
    """
    with _opened(row) as opened:
        image = _eight_bits(opened, row)
    if channels:
        image = image.convert("L" if channels == 1 else "RGB")
    if height and width and image.size != (width, height):
        image = image.resize((width, height), _pillow().Resampling.BILINEAR)
    found = np.asarray(image)
    return found[:, :, None] if found.ndim == 2 else found


def shape_of(row: Row) -> tuple[int, int, int]:
    """Return an image's (height, width, channels) as `read_image` would; of a file, by its header.

    Raises:
        DataError: it is no image.
        MissingError: Pillow is not installed.
    """
    with _opened(row) as image:
        return image.height, image.width, 1 if image.mode in _GREY else 3


def check_image(row: Row) -> None:
    """Decode an image, a JPEG at an eighth of its size, to see that it is whole.

    Raises:
        DataError: it is no image that can be read.
        MissingError: Pillow is not installed.
    """
    with _opened(row) as image:
        if image.mode in _DEEP:
            raise DataError(f"{_shown(row)} has 32 bits a pixel; save it with 8")
        image.draft("L", (1, 1))
        image.load()


@contextmanager
def _opened(row: Row) -> Iterator[Any]:
    """Open an image with Pillow; what goes wrong inside is a DataError that names it."""
    pillow = _pillow()
    try:
        if isinstance(row, str | Path | bytes):
            with pillow.open(io.BytesIO(row) if isinstance(row, bytes) else row) as opened:
                yield opened
            return
        array = np.asarray(row)
        if array.dtype != np.uint8:
            raise DataError(f"an image must be bytes (uint8); it is {array.dtype}")
        if array.ndim not in (2, 3) or not array.size:
            raise ValueError("it must be (height, width), or (height, width, 1, 3 or 4)")
        yield pillow.fromarray(array[:, :, 0] if array.shape[2:] == (1,) else array)
    except (
        *(OSError, ValueError, TypeError, IndexError, SyntaxError, EOFError, KeyError),
        *(struct.error, zlib.error, pillow.DecompressionBombError),
    ) as error:
        raise DataError(f"{_shown(row)} is no image that can be read ({error})") from error


def _eight_bits(image: Any, row: Row) -> Any:
    """Return a Pillow image of mode L or RGB, decoded."""
    if image.mode in _DEEP:
        raise DataError(f"{_shown(row)} has 32 bits a pixel; save it with 8")
    if image.mode.startswith("I;16"):
        return _pillow().fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8))
    if image.mode in ("L", "RGB"):
        return image.copy()
    if image.mode in _GREY:
        return image.convert("L")
    return image.convert("RGBA" if image.mode == "P" else "RGB").convert("RGB")


def _shown(row: Row) -> str:
    if isinstance(row, str | Path):
        return str(row)
    if isinstance(row, bytes):
        return f"a file's content of {len(row)} bytes"
    return f"an array of shape {np.shape(row)}"


def _pillow() -> Any:
    try:
        return importlib.import_module("PIL.Image")
    except ModuleNotFoundError as error:
        raise plugins.missing(error, "reading or resizing images") from error


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

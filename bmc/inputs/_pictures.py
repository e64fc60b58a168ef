"""Reading pictures: files, their content, Pillow's images and arrays, all to the same bytes.

The same rules hold in training and on devices: which files are read, their largest size, their
orientation, and how colors, transparency and bit depth are converted.
"""

from __future__ import annotations

import importlib
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from bmc import plugins
from bmc.errors import BmcError, DataError
from bmc.inputs import Row
from bmc.inputs._image_arrays import array_of, named

# Pillow opens some fifty formats; EPS starts Ghostscript, and few were written for strange files.
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "PPM")
_SHOWN_FORMATS = "PNG, JPEG, WebP, BMP, GIF, TIFF, PPM"
_MOST_PIXELS = 89_478_485
"""Pillow's own bound, above which it warns: a GiB of memory while it is decoded and recolored."""
_MOST_BYTES = 2**29
"""Of a file: the most pixels with 16 bits a channel."""
_GRAY = ("1", "L", "LA", "La", "I;16", "I;16L", "I;16B", "I;16N")
_DEEP = ("I", "F")
_STRAIGHT = {"RGBa": "RGBA", "La": "LA"}  # premultiplied by alpha; Pillow undoes it first
_ORIENTATION = 0x0112  # EXIF's tag
_SIDEWAYS = (5, 6, 7, 8)


def read_image(
    row: Row, height: int | None = None, width: int | None = None, channels: int | None = None
) -> NDArray[np.uint8]:
    """Return an image as uint8 (height, width, channels), resized and converted on request.

    The image is turned by its EXIF orientation. Transparency is dropped, as in torchvision. Of 16
    bits per channel the upper 8 are kept, and of several frames the first.

    Args:
        row: a file, a file's content, a PIL image, or an array of bytes (height, width) or
            (height, width, 1, 3 or 4).
        height: pixels; the image's own where None.
        width: likewise.
        channels: 1 or 3; the image's own where None.

    Raises:
        DataError: the file is not an image that can be read.
        MissingError: Pillow is not installed.
    """
    with _opened(row) as image:
        image.load()
        orientation = _orientation(image)
        image = _upright(_eight_bits(image), orientation)
        if channels:
            image = image.convert("L" if channels == 1 else "RGB")
        if height and width and image.size != (width, height):
            image = image.resize((width, height), _pillow().Resampling.BILINEAR)
        pixels = np.asarray(image)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def shape_of(row: Row) -> tuple[int, int, int]:
    """Return an image's (height, width, channels) as `read_image` would; of a file, by its header.

    Raises:
        DataError: the file is not an image.
        MissingError: Pillow is not installed.
    """
    with _opened(row) as image:
        channels = 1 if image.mode in _GRAY else 3
        # Pillow gives the size of a TIFF after its rotation by the EXIF orientation.
        if image.format != "TIFF" and _orientation(image) in _SIDEWAYS:
            return image.width, image.height, channels
        return image.height, image.width, channels


def check_image(row: Row) -> tuple[str, ...]:
    """Decode an image to check that it is complete; a JPEG at an eighth of its size, for speed.

    Returns:
        what of it no model will see: "transparency", "later frames", "lower 8 bits", or nothing.

    Raises:
        DataError: the file is not an image that can be read.
        MissingError: Pillow is not installed.
    """
    with _opened(row) as image:
        unread = _parts_left_out(image)
        image.draft("L", (1, 1))
        image.load()
        return unread


def unread_parts(row: Row) -> tuple[str, ...]:
    """Say what of an image no model will see, likewise; of a file, by its header.

    Raises:
        DataError: the file is not an image.
        MissingError: Pillow is not installed.
    """
    with _opened(row) as image:
        return _parts_left_out(image)


def _parts_left_out(image: Any) -> tuple[str, ...]:
    # The second picture of a phone's JPEG is a preview or a depth map, and no frame.
    moves = getattr(image, "is_animated", False) and image.format not in ("JPEG", "MPO")
    return (
        *(("transparency",) if image.has_transparency_data else ()),
        *(("later frames",) if moves else ()),
        *(("lower 8 bits",) if image.mode.startswith("I;16") else ()),
    )


@contextmanager
def _opened(row: Row) -> Iterator[Any]:
    """Open an image with Pillow; what goes wrong inside is a DataError that names it."""
    pillow = _pillow()
    try:
        if isinstance(row, pillow.Image):
            yield _bounded(row, row)
        elif isinstance(row, str | Path):
            with _regular_file(Path(row)) as file, _open(pillow, file) as image:
                yield _bounded(image, row)
        elif isinstance(row, bytes | bytearray | memoryview):
            with _open(pillow, io.BytesIO(row)) as image:
                yield _bounded(image, row)
        else:
            array = array_of(row)
            yield pillow.fromarray(array[:, :, 0] if array.shape[2:] == (1,) else array)
    except BmcError:
        raise
    except Exception as error:  # Pillow's decoders raise whatever a broken file leads them to
        raise DataError(
            f"{named(row)} is no image that can be read ({_reason(error, pillow)})"
        ) from error


def _open(pillow: Any, file: BinaryIO) -> Any:
    return pillow.open(file, formats=_FORMATS)


@contextmanager
def _regular_file(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file; refuse a pipe or a device, because reading it could block forever.

    Raises:
        DataError: it is something else, or too large for a picture.
    """
    if not stat.S_ISREG(path.stat().st_mode):  # opening a device may already do something
        raise DataError(f"{path} is no image that can be read (it is no regular file)")
    with open(path, "rb", opener=_without_waiting) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{path} is no image that can be read (it is no regular file)")
        if status.st_size > _MOST_BYTES:
            raise DataError(
                f"{path} is no image that can be read ({status.st_size / 1e6:,.0f} MB; "
                f"{_MOST_BYTES / 1e6:,.0f} are possible)"
            )
        yield file


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _bounded(image: Any, row: Row) -> Any:
    """Return an image that is small enough to be decoded, and of 8 or 16 bits a channel.

    Raises:
        DataError: it is not; nothing was allocated for its pixels yet.
    """
    if image.width * image.height > _MOST_PIXELS:
        raise DataError(
            f"{named(row)} has {image.width:,} x {image.height:,} pixels; {_MOST_PIXELS:,} "
            "are possible: make it smaller"
        )
    if image.mode in _DEEP:
        raise DataError(f"{named(row)} has 32 bits a pixel; save it with 8")
    return image


def _eight_bits(image: Any) -> Any:
    """Return a decoded image in mode L or RGB."""
    if image.mode in ("L", "RGB"):
        return image
    if image.mode.startswith("I;16"):
        return _pillow().fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8))
    image = image.convert(_STRAIGHT.get(image.mode, image.mode))
    if image.mode in _GRAY:
        return image.convert("L")
    return image.convert("RGBA" if image.mode in ("P", "PA") else "RGB").convert("RGB")


def _orientation(image: Any) -> int:
    """Return the EXIF orientation, 1 (upright) to 8; 1 where EXIF is missing or broken."""
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except Exception:  # noqa: BLE001  Pillow raises many kinds; viewers pass over broken EXIF too
        return 1
    return int(orientation) if orientation in range(1, 9) else 1


def _upright(image: Any, orientation: int) -> Any:
    how = _pillow().Transpose
    turn = {
        2: how.FLIP_LEFT_RIGHT,
        3: how.ROTATE_180,
        4: how.FLIP_TOP_BOTTOM,
        5: how.TRANSPOSE,
        6: how.ROTATE_270,
        7: how.TRANSVERSE,
        8: how.ROTATE_90,
    }.get(orientation)
    return image if turn is None else image.transpose(turn)


def _reason(error: Exception, pillow: Any) -> str:
    if isinstance(error, pillow.UnidentifiedImageError):
        return f"it is none of {_SHOWN_FORMATS}"
    if isinstance(error, pillow.DecompressionBombError | pillow.DecompressionBombWarning):
        return f"it has more than {_MOST_PIXELS:,} pixels"
    if isinstance(error, MemoryError):
        return "it does not fit into memory"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def _pillow() -> Any:
    try:
        return importlib.import_module("PIL.Image")
    except ModuleNotFoundError as error:
        raise plugins.missing(error, "reading images") from error

"""Mutated pictures: each is read, or refused with a message that names it; nothing else."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from functools import cache
from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from bmc.errors import DataError
from bmc.inputs.image import check_image, read_image, shape_of

Image.init()  # a case imports nothing
warnings.filterwarnings("ignore", module="PIL")  # a warning that is shown reads Pillow's source

_PNG = b"\x89PNG\r\n\x1a\n"
_NUMBERS = (0, 1, 2, 7, 255, 256, 2**15, 2**16 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
_MODES = {
    "png": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "jpeg": ("L", "RGB", "CMYK"),
    "webp": ("RGB", "RGBA"),
    "bmp": ("1", "L", "P", "RGB", "RGBA"),
    "gif": ("L", "P"),
    "tiff": ("1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "F", "I;16"),
    "ppm": ("1", "L", "RGB"),
}


@cache
def originals() -> tuple[bytes, ...]:
    """Return small pictures of every format and mode: turned, animated, compressed."""
    pixels = np.random.default_rng(0).integers(0, 256, (12, 10, 3), np.uint8)
    picture, other = Image.fromarray(pixels), Image.fromarray(255 - pixels)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a picture"
    files = []
    for kind, modes in _MODES.items():
        for mode in modes:
            image = picture.convert("L").convert(mode) if mode == "I;16" else picture.convert(mode)
            files.append(_saved(image, kind, exif=exif))
    for kind in ("gif", "png", "webp", "tiff"):
        files.append(_saved(picture, kind, save_all=True, append_images=[other]))
    for packed in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "group4", "packbits"):
        image = picture.convert("1") if packed == "group4" else picture
        files.append(_saved(image, "tiff", compression=packed))
    files.append(_saved(picture, "jpeg", progressive=True, icc_profile=bytes(300)))
    files.append(_saved(picture, "mpo", save_all=True, append_images=[other]))
    return tuple(files)


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def cases() -> st.SearchStrategy[bytes]:
    """Return pictures with bytes changed, cut out, repeated, or taken from other pictures."""
    changes = st.lists(_change(), min_size=1, max_size=6)
    mended = st.booleans()
    return st.builds(_changed, st.sampled_from(originals()), changes, mended)


def _change() -> st.SearchStrategy[tuple[str, float, bytes]]:
    """Return what to do, where in the file (a share of it), and with which bytes."""
    numbers = st.builds(
        lambda number, form: struct.pack(form, number & (0xFFFF if form[1] == "H" else 0xFFFFFFFF)),
        st.sampled_from(_NUMBERS),
        st.sampled_from([">H", "<H", ">I", "<I"]),
    )
    content = st.one_of(st.binary(min_size=1, max_size=8), numbers)
    # Headers are in front: half of the changes go there.
    where = st.one_of(st.floats(0, 1), st.floats(0, 0.1))
    how = st.sampled_from(["overwrite", "overwrite", "flip", "insert", "cut", "end", "repeat"])
    return st.tuples(how, where, content)


def _changed(original: bytes, changes: list[tuple[str, float, bytes]], mended: bool) -> bytes:
    content = bytearray(original)
    for how, where, new in changes:
        index = int(where * max(len(content) - 1, 0))
        if how == "overwrite":
            content[index : index + len(new)] = new
        elif how == "flip" and content:
            content[index] ^= 1 << (new[0] % 8)
        elif how == "insert":
            content[index:index] = new
        elif how == "cut":
            del content[index : index + len(new)]
        elif how == "end":
            del content[index:]
        elif how == "repeat":
            content[index:index] = content[index : index + 64]
    return _with_checksums(bytes(content)) if mended else bytes(content)


def _with_checksums(content: bytes) -> bytes:
    """Make a PNG's checksums right again, without which a reader looks no further."""
    if not content.startswith(_PNG):
        return content
    mended, index = bytearray(content), len(_PNG)
    while index + 12 <= len(mended):
        (length,) = struct.unpack_from(">I", mended, index)
        end = index + 8 + length
        if end + 4 > len(mended):
            break
        struct.pack_into(">I", mended, end, zlib.crc32(mended[index + 4 : end]))
        index = end + 4
    return bytes(mended)


def check(case: bytes, folder: Path) -> None:
    """Read a picture from a file and from memory.

    Raises:
        BmcError: it cannot be read.
        AssertionError: the two differ, or the size by the header is not the size that is read.
    """
    path = folder / "picture.png"
    path.write_bytes(case)
    shapes = [_shape(row) for row in (path, case)]
    assert shapes[0] == shapes[1]
    if shapes[0] is None:
        read_image(path)


def _shape(row: Path | bytes) -> tuple[int, ...] | None:
    """Return the shape of a picture that can be read; None for another."""
    try:
        check_image(row)
        shape = shape_of(row)
        pixels = read_image(row)
        small = read_image(row, 8, 8, 3)
    except DataError:
        return None
    assert pixels.shape == shape
    assert small.shape == (8, 8, 3)
    return shape

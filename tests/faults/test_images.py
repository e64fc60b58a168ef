"""Pictures from strangers: modes, orientation, formats, sizes, files that are none, and series."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

from bmc import data as datasets
from bmc.errors import DataError
from bmc.inputs.image import ImageEncoder, ImageSettings, check_image, read_image, shape_of
from bmc.inputs.latent import LatentEncoder
from bmc.inputs.series import SeriesEncoder, SeriesSettings

COLOR = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
PICTURE = Image.fromarray(COLOR)
BY = ImageEncoder(ImageSettings(6, 8, 3, (0.5,) * 3, (0.25,) * 3))
SERIES = SeriesEncoder(SeriesSettings(2, 6, (1.0, -1.0), (2.0, 0.5)))
ONE_CHANNEL = SeriesEncoder(SeriesSettings(1, 6, (0.0,), (1.0,)))


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def of_mode(mode: str) -> Image.Image:
    """Return the picture in a mode; those premultiplied by alpha are made of one with alpha."""
    if mode in ("RGBa", "La"):
        straight = {"RGBa": "RGBA", "La": "LA"}[mode]
        return see_through(straight).convert(mode)
    if mode in ("RGBA", "LA"):
        return see_through(mode)
    if mode == "I;16":
        return Image.fromarray(COLOR[:, :, 0].astype(np.uint16) * 256 + 77)
    return PICTURE.convert(mode)


def see_through(mode: str) -> Image.Image:
    image = PICTURE.convert(mode)
    image.putalpha(Image.fromarray(np.linspace(1, 255, 48).astype(np.uint8).reshape(6, 8)))
    return image


# What a picture is, whatever its mode

# A format that keeps the mode. None keeps HSV, RGBX or alpha that was multiplied in.
FILES = {
    **dict.fromkeys(("1", "L", "LA", "P", "RGB", "RGBA", "I;16"), "png"),
    **dict.fromkeys(("PA", "CMYK", "YCbCr", "LAB"), "tiff"),
}


@pytest.mark.parametrize("mode", FILES)
def test_a_pil_image_answers_as_the_file_that_it_is_saved_as(mode: str) -> None:
    image = of_mode(mode)
    content = saved(image, FILES[mode])
    assert Image.open(io.BytesIO(content)).mode == mode
    np.testing.assert_array_equal(read_image(image, channels=3), read_image(content, channels=3))
    assert shape_of(image) == shape_of(content) == read_image(image).shape


@pytest.mark.parametrize(("mode", "off_by"), [("HSV", 6), ("RGBX", 0), ("RGBa", 2), ("La", 2)])
def test_a_pil_image_of_a_mode_that_no_file_has_is_the_same_picture(mode: str, off_by: int) -> None:
    image = of_mode(mode)
    plain = COLOR if mode != "La" else np.asarray(PICTURE.convert("L"))[:, :, None]
    change = np.abs(read_image(image).astype(int) - plain)
    assert shape_of(image) == plain.shape
    assert change[3:].max() <= off_by  # above, an alpha near 0 leaves little of a color


@pytest.mark.parametrize("mode", ["I", "F"])
def test_32_bits_a_pixel_are_refused_with_the_way_out(mode: str) -> None:
    with pytest.raises(
        DataError, match=r"image 1: a PIL image of mode . has 32 bits a pixel; save"
    ):
        BY.encode([PICTURE.convert(mode)])


def test_transparency_is_dropped_wherever_it_is_kept() -> None:
    palette = PICTURE.quantize(16)
    clear = saved(palette, "png", transparency=bytes(range(0, 256, 16)))
    np.testing.assert_array_equal(read_image(clear), np.asarray(palette.convert("RGB")))
    for image in (see_through("RGBA"), np.asarray(see_through("RGBA"))):
        np.testing.assert_array_equal(read_image(image), COLOR)


def test_16_bits_a_channel_are_cut_to_the_upper_8() -> None:
    wide = (COLOR.astype(">u2") << 8) + 77
    lines = b"".join(b"\0" + line.tobytes() for line in wide.astype(">u2"))
    np.testing.assert_array_equal(read_image(png(8, 6, lines, depth=16)), COLOR)


def test_a_cmyk_jpeg_has_the_colors_of_the_same_in_rgb() -> None:
    plain = Image.new("RGB", (16, 16), (200, 40, 90))
    content = saved(plain.convert("CMYK"), "jpeg", quality=95)  # written inverted, as Adobe does
    assert np.abs(read_image(content).astype(int) - np.asarray(plain)).max() <= 6


def test_a_corrupt_color_profile_does_not_matter() -> None:
    content = saved(PICTURE, "png", icc_profile=b"no profile")
    np.testing.assert_array_equal(read_image(content), COLOR)


def test_the_first_frame_is_read_and_said() -> None:
    other = Image.fromarray(255 - COLOR)
    for kind in ("gif", "tiff", "png", "webp"):
        lossless = {"lossless": True} if kind == "webp" else {}
        content = saved(PICTURE, kind, save_all=True, append_images=[other], **lossless)
        assert check_image(content) == ("later frames",)
        first = read_image(content, channels=3)
        np.testing.assert_array_equal(first, read_image(saved(PICTURE, kind, **lossless)))


def test_the_pictures_of_a_phone_are_read_although_they_hold_two() -> None:
    content = saved(PICTURE, "mpo", save_all=True, append_images=[PICTURE], quality=95)
    assert Image.open(io.BytesIO(content)).format == "MPO"
    assert check_image(content) == ()
    np.testing.assert_array_equal(
        read_image(content), read_image(saved(PICTURE, "jpeg", quality=95))
    )


# Orientation

TURNS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def turned(orientation: int, kind: str) -> bytes:
    """Save the picture turned, with the EXIF orientation that turns it back."""
    how = TURNS[orientation]
    image = PICTURE if how is None else PICTURE.transpose(how)
    exif = Image.Exif()
    exif[0x0112] = orientation
    quality = {"quality": 100, "subsampling": 0} if kind == "jpeg" else {}
    lossless = {"lossless": True} if kind == "webp" else {}
    packed = {"compression": "tiff_lzw"} if kind == "tiff" else {}
    return saved(image, kind, exif=exif, **quality, **lossless, **packed)


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "tiff"])
@pytest.mark.parametrize("orientation", TURNS)
def test_a_picture_is_turned_as_its_exif_says(kind: str, orientation: int, tmp_path: Path) -> None:
    content = turned(orientation, kind)
    path = tmp_path / f"turned.{kind}"
    path.write_bytes(content)
    for row in (content, path, str(path), Image.open(path), Image.open(path).convert("RGB")):
        change = np.abs(read_image(row).astype(int) - COLOR)
        assert change.max() <= (20 if kind == "jpeg" else 0)  # JPEG loses some of such noise
        assert shape_of(row) == (6, 8, 3)
    check_image(path)


def test_a_folder_of_turned_pictures_has_the_size_that_they_are_seen_in(tmp_path: Path) -> None:
    for number in range(40):
        image = Image.fromarray(np.random.default_rng(number).integers(0, 256, (8, 6, 3), np.uint8))
        folder = tmp_path / "photos" / f"k{number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        exif = Image.Exif()
        exif[0x0112] = 6
        image.save(folder / f"{number}.jpg", exif=exif)
    data = datasets.load(f"imagefolder:{tmp_path / 'photos'}")
    assert datasets.image_shape(data) == (6, 8, 3)


def test_what_of_a_folders_pictures_no_model_sees_is_said(tmp_path: Path) -> None:
    for number in range(40):
        image = Image.fromarray(np.random.default_rng(number).integers(0, 256, (8, 6, 3), np.uint8))
        if number < 3:
            image.putalpha(number)
        (tmp_path / f"k{number % 2}").mkdir(exist_ok=True)
        image.save(tmp_path / f"k{number % 2}" / f"{number}.png")
    notes = datasets.load(f"imagefolder:{tmp_path}").summary.notes
    assert "3 of 40 images have transparency, which no model sees" in notes


@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0MM\0*\0\0\0\xff", b"nonsense"])
def test_broken_exif_leaves_a_picture_as_it_is(exif: bytes) -> None:
    content = saved(PICTURE, "png", exif=exif)
    np.testing.assert_array_equal(read_image(content), COLOR)
    assert shape_of(content) == (6, 8, 3)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_exif_does_not_know_turns_nothing(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(read_image(saved(PICTURE, "png", exif=exif)), COLOR)


# Which files are read


@pytest.mark.parametrize("kind", ["eps", "pdf", "tga", "pcx", "ico", "jpeg2000", "im", "sgi"])
def test_a_format_that_is_not_listed_is_refused_whatever_its_name(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(saved(PICTURE, kind))
    monkeypatch.setenv("PATH", str(ghostscript(tmp_path)))
    for use in (read_image, shape_of, check_image):
        with pytest.raises(DataError, match=r"cat\.png is no image .*none of PNG, JPEG, WebP"):
            use(path)
    assert not (tmp_path / "was started").exists()


def ghostscript(folder: Path) -> Path:
    """Write a program named gs that leaves a trace, and return its folder."""
    program = folder / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n: > '{folder}/was started'\n")
    program.chmod(0o755)
    return program.parent


def png(width: int, height: int, lines: bytes, depth: int = 8) -> bytes:
    """Write a PNG of colors by hand."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checked = kind + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*item) for item in chunks)


@pytest.mark.parametrize("size", [(2**31 - 1, 2**31 - 1), (100_000, 1000), (10_000, 9000)])
def test_a_picture_of_giant_size_is_refused_by_its_header(size: tuple[int, int]) -> None:
    content = png(*size, b"")
    for use in (read_image, shape_of, check_image):
        with pytest.raises(DataError, match=r"89,478,485 (pixels|are possible)"):
            use(content)


def test_a_giant_pil_image_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Image.open(io.BytesIO(png(10_000, 9000, b"")))
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("it was decoded"))
    with pytest.raises(DataError, match="10,000 x 9,000 pixels"):
        BY.encode([opened])


@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "link to a device", "gone"])
def test_what_is_no_regular_file_is_refused_at_once(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path = Path("/dev/zero")
    elif kind == "link to a device":
        path.symlink_to("/dev/zero")
    reason = "No such file" if kind == "gone" else "no regular file"
    for use in (read_image, shape_of, check_image):
        with pytest.raises(DataError, match=f"{path.name} is no image .*{reason}"):
            use(path)


def test_a_sparse_file_of_a_terabyte_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "cat.webp"
    path.write_bytes(saved(PICTURE, "webp"))
    os.truncate(path, 2**40)
    with pytest.raises(DataError, match=r"cat\.webp is no image .*MB"):
        check_image(path)


# Arrays


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (COLOR / 255, r"float64, of values in 0..1: \(255 \* image\)"),
        (COLOR.astype(np.float32), r"float32, of values in 0..249: image.round\(\)"),
        (COLOR.astype(np.int64), r"int64, of values in"),
        (COLOR > 99, r"bool: 255 \* image"),
        (COLOR.astype(np.uint16) * 257, "uint16, of values in .*bring them to 0..255"),
        (COLOR * np.nan, "NaN or infinity"),
        (COLOR.astype(object), "is no image; give a file"),
        (COLOR.transpose(2, 0, 1), r"channels come last: image.transpose\(1, 2, 0\)"),
        (torch.from_numpy(COLOR).permute(2, 0, 1), "channels come last"),
        (np.stack([COLOR] * 5), r"5 images are given as a list"),
        (np.stack([COLOR[:, :, 0]] * 5), r"5 gray images, give a list"),
        (COLOR[:, :, :2], "gray and alpha"),
        (np.zeros((0, 8, 3), np.uint8), "is no image"),
        (np.ma.masked_equal(COLOR, COLOR[0, 0, 0]), "masked pixels"),
        (torch.rand(6, 8, 3, requires_grad=True), "is no image"),
        (None, "NoneType None is no image; give a file"),
        (5, "is"),
        ({"a": 1}, "is no image; give a file"),
        ([[1, 2], [3]], "is no image"),
        (io.BytesIO(b""), "BytesIO .* is no image"),
    ],
)
def test_an_array_that_is_no_image_is_refused_with_its_row_and_the_way_out(
    image: Any, message: str
) -> None:
    with pytest.raises(DataError, match=f"^image 2: .*{message}"):
        BY.encode([COLOR, image])


def test_images_of_all_kinds_in_one_list_answer_alike() -> None:
    rows = [COLOR, PICTURE, saved(PICTURE, "png"), torch.from_numpy(COLOR), see_through("RGBA")]
    encoded = BY.encode([*rows, np.asarray(see_through("RGBA"))])
    for index in range(len(rows) + 1):
        np.testing.assert_array_equal(encoded[index], COLOR)


def test_a_broken_file_is_named_with_its_place_in_the_list(tmp_path: Path) -> None:
    (tmp_path / "cut.png").write_bytes(saved(PICTURE, "png")[:-60])
    rows = BY.encode([saved(PICTURE, "png"), tmp_path / "cut.png"])
    with pytest.raises(DataError, match=r"^image 2: .*cut\.png is no image"):
        BY.batch(rows, [0, 1])


# Series and seeds


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (np.ones((3, 2)) * 1j, "it holds complex128"),
        ([["1", "2"]], "it holds text"),
        (np.array([[b"1", b"2"]]), "it holds text"),
        ([[None, 1]], "it holds object"),
        (np.zeros((3, 2), "M8[s]"), "it holds datetime64"),
        (np.full((1, 2), 1e39), "1e\\+39; float32 ends at 3.4e38"),
        (np.full((1, 2), 3e38), "normalized, has inf at step 1, channel 2"),
        (np.ma.masked_equal(np.zeros((3, 2)), 0), "masked values"),
        (torch.zeros(3, 2, requires_grad=True), "not a series of numbers"),
        (np.zeros((2, 3)), r"has 3 channels; the model takes 2: channels come last"),
        (1.5, "shape .*a list holds several series"),
        (np.zeros((1, 3, 2)), "must be .steps, channels"),
    ],
)
def test_a_row_that_is_no_series_is_refused_with_its_place(row: Any, message: str) -> None:
    with pytest.raises(DataError, match=f"^series 2.*{message}"):
        SERIES.encode([np.zeros((3, 2)), row])


def test_lists_tensors_and_whole_numbers_are_series_too() -> None:
    expected = SERIES.encode([np.array([[1, 2], [3, 4]], np.float32)])[0]
    for row in ([[1, 2], [3, 4]], torch.tensor([[1, 2], [3, 4]]), np.array([[1, 2], [3, 4]], "i1")):
        np.testing.assert_array_equal(SERIES.encode([row])[0], expected)


def test_a_flat_series_is_one_of_a_single_channel() -> None:
    np.testing.assert_array_equal(ONE_CHANNEL.encode([[1, 2, 3]])[0], [[1], [2], [3]])


@pytest.mark.parametrize(
    "seed", [True, 1.5, 3.0, -1, 2**64, "1_000", "-5", "", "٣", "9" * 5000, b"7", None]
)
def test_what_is_no_whole_number_seeds_nothing(seed: Any) -> None:
    with pytest.raises(DataError, match=r"^row 2 is .*whole number .* 0 to 2\*\*64 - 1"):
        LatentEncoder(3).encode([0, seed])


def test_a_seed_too_long_to_be_shown_is_refused_like_any_other() -> None:
    with pytest.raises(DataError, match="row 1 is a number of thousands of digits"):
        LatentEncoder(3).encode([10**5000])


def test_a_seed_may_be_typed_and_as_large_as_64_bits() -> None:
    result = LatentEncoder(3).encode([7, "7", np.int8(7), 2**64 - 1])
    np.testing.assert_array_equal(result[0], result[1])
    np.testing.assert_array_equal(result[0], result[2])

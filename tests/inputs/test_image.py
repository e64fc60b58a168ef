"""Images into pixels: sizes, colors, files, and what is refused."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bmc import inputs
from bmc.errors import ArtifactError, DataError, SettingError
from bmc.inputs.image import ImageEncoder, ImageSettings, check_image, read_image, shape_of

COLOR = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)


def encoder(height: int = 6, width: int = 8, channels: int = 3, **more: Any) -> ImageEncoder:
    return ImageEncoder(
        ImageSettings(height, width, channels, (0.5,) * channels, (0.25,) * channels, **more)
    )


def pixels(image: object, by: ImageEncoder) -> np.ndarray[Any, Any]:
    return by.batch(by.encode([image]), [0])["pixels"]


def png(image: Image.Image) -> bytes:
    content = io.BytesIO()
    image.save(content, "png")
    return content.getvalue()


def test_values_are_brought_to_0_1_and_normalized() -> None:
    result = pixels(COLOR, encoder())
    assert result.dtype == np.float32
    np.testing.assert_allclose(result[0], (COLOR.transpose(2, 0, 1) / 255 - 0.5) / 0.25, atol=1e-6)


def test_a_file_its_content_and_its_pixels_answer_alike(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(png(Image.fromarray(COLOR)))
    for row in (path, path.read_bytes(), [path]):
        image = row[0] if isinstance(row, list) else row
        np.testing.assert_array_equal(pixels(image, encoder()), pixels(COLOR, encoder()))


def test_a_file_is_read_when_it_is_collated_and_not_before(tmp_path: Path) -> None:
    by = encoder()
    rows = by.encode([tmp_path / "later.png"])
    (tmp_path / "later.png").write_bytes(png(Image.fromarray(COLOR)))
    np.testing.assert_array_equal(by.batch(rows, [0])["pixels"], pixels(COLOR, by))


def test_another_size_is_resized_and_a_plain_area_keeps_its_value() -> None:
    plain = np.full((30, 17, 3), 200, np.uint8)
    assert pixels(plain, encoder()).shape == (1, 3, 6, 8)
    np.testing.assert_allclose(pixels(plain, encoder()), (200 / 255 - 0.5) / 0.25, atol=1e-6)


def test_gray_becomes_color_by_repeating_and_color_gray_by_luminance() -> None:
    gray = COLOR[:, :, 0]
    repeated = pixels(gray, encoder())[0]
    assert (repeated == repeated[0]).all()
    np.testing.assert_array_equal(repeated[:1], pixels(gray, encoder(channels=1))[0])
    expected = np.round(COLOR @ np.array([0.299, 0.587, 0.114]))  # ITU-R 601, as Pillow
    result = read_image(COLOR, channels=1)[:, :, 0].astype(int)
    assert np.abs(result - expected).max() <= 1


@pytest.mark.parametrize(
    ("mode", "channels"), [("1", 1), ("L", 1), ("LA", 1), ("P", 3), ("RGB", 3), ("RGBA", 3)]
)
def test_every_mode_is_read_as_its_header_says(mode: str, channels: int) -> None:
    row = png(Image.fromarray(COLOR).convert(mode))
    assert shape_of(row) == (6, 8, channels)
    assert read_image(row).shape == (6, 8, channels)


def test_16_bits_a_pixel_are_cut_to_the_upper_8() -> None:
    deep = (COLOR[:, :, 0].astype(np.uint16) << 8) + 77
    row = png(Image.fromarray(deep))
    assert shape_of(row) == (6, 8, 1)
    np.testing.assert_array_equal(read_image(row)[:, :, 0], COLOR[:, :, 0])


def test_images_of_the_right_size_are_taken_as_they_are() -> None:
    images = np.stack([COLOR, COLOR])
    assert encoder().encode(images) is images


@pytest.mark.parametrize(
    "row",
    [b"hello", b"", "no/such/file.png", COLOR.astype(float), COLOR[0, 0], np.zeros((0, 3), "u1")],
)
def test_what_is_no_image_is_refused(row: Any) -> None:
    with pytest.raises(DataError, match=r"is no image|must be bytes"):
        read_image(row, 6, 8, 3)


def test_a_cut_file_is_refused_when_checked_and_when_read() -> None:
    content = png(Image.fromarray(COLOR))[:-60]
    for use in (check_image, read_image):
        with pytest.raises(DataError, match="is no image"):
            use(content)


def test_an_image_of_floats_in_a_file_is_refused(tmp_path: Path) -> None:
    Image.fromarray(COLOR[:, :, 0].astype(np.float32)).save(tmp_path / "deep.tif")
    for use in (check_image, read_image):
        with pytest.raises(DataError, match=r"deep\.tif has 32 bits a pixel"):
            use(tmp_path / "deep.tif")


def test_probes_and_timing_inputs_have_the_shapes_that_tensors_say() -> None:
    for by in (encoder(), encoder(any_size=True)):
        (info,) = by.tensors()
        for arrays in [*by.probes(5), by.sized(by.probes(5)[1], 3, 128)]:
            shape = arrays["pixels"].shape
            assert all(
                isinstance(want, str) or want == is_
                for want, is_ in zip(info.shape, shape, strict=True)
            )
    assert len({arrays["pixels"].shape for arrays in encoder(any_size=True).probes(5)}) == 4


def test_an_encoder_comes_back_from_its_settings(tmp_path: Path) -> None:
    by = encoder(any_size=True)
    again = inputs.load(by.to_json(), tmp_path)
    assert again.to_json() == by.to_json()
    np.testing.assert_array_equal(
        again.batch(again.encode([COLOR]), [0])["pixels"], pixels(COLOR, by)
    )


@pytest.mark.parametrize(
    "change",
    [
        {"height": 0},
        {"width": 5000},
        {"channels": 2},
        {"height": 2.5},
        {"mean": [0.5]},
        {"std": [0, 1, 1]},
        {"mean": "gray"},
        {"any_size": 1},
        {"layout": "NHWC"},
        {"std": [float("nan")] * 3},
    ],
)
def test_malformed_preprocessing_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="preprocessing"):
        inputs.load({**encoder().to_json(), **change}, tmp_path)


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(SettingError, match="height is 0"):
        encoder(height=0)
    with pytest.raises(SettingError, match="2 channels"):
        encoder(channels=2)

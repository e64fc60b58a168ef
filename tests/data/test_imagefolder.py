"""Folders of images: classes, official parts, mixed sizes, and what is refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bmc import data as datasets
from bmc.data import image_shape
from bmc.errors import DataError, UnknownError
from bmc.inputs.image import ImageEncoder, ImageSettings


def draw(path: Path, number: int, size: tuple[int, int] = (8, 6), mode: str = "L") -> None:
    """Write an image (width, height) that no other number has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bands = len(Image.new(mode, (1, 1)).getbands())
    pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0], bands), np.uint8)
    Image.fromarray(pixels[:, :, 0] if bands == 1 else pixels).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(40):
        draw(tmp_path / "images" / f"k{number % 2}" / f"{number}.png", number)
    return tmp_path / "images"


def test_each_folder_is_a_class_and_rows_are_paths(folder: Path) -> None:
    (folder / "k0" / "notes.txt").write_text("not an image")
    (folder / ".hidden").mkdir()
    data = datasets.load(f"imagefolder:{folder}")
    assert (data.kind, data.labels, data.name) == ("image", ("k0", "k1"), "images")
    assert sum(len(part) for part in (data.train, data.validation, data.test)) == 40
    assert all(
        path.parent.name == data.labels[int(label)]
        for path, label in zip(data.train.rows, data.train.labels, strict=True)
    )
    assert image_shape(data) == (6, 8, 1)


def test_images_in_hidden_folders_are_said_not_to_be_read(folder: Path) -> None:
    draw(folder / ".k2" / "0.png", 0)
    notes = datasets.load(f"imagefolder:{folder}").summary.notes
    assert any("starts with a dot" in note and ".k2" in note for note in notes)


def test_a_test_folder_is_the_official_test_part(tmp_path: Path) -> None:
    for number in range(40):
        part = "test" if number < 6 else "train"
        draw(tmp_path / part / f"k{number % 2}" / f"{number}.png", number)
    data = datasets.load(f"imagefolder:{tmp_path}")
    assert sorted(path.name for path in data.test.rows) == [f"{n}.png" for n in range(6)]
    assert len(data.train) + len(data.validation) == 34


def test_a_test_image_that_stands_in_train_too_is_never_trained_on(tmp_path: Path) -> None:
    for number in range(40):
        draw(tmp_path / "train" / f"k{number % 2}" / f"{number}.png", number)
    draw(tmp_path / "test" / "k0" / "copy.png", 0)
    draw(tmp_path / "test" / "k1" / "new.png", 99)
    data = datasets.load(f"imagefolder:{tmp_path}")
    assert "0.png" not in {path.name for path in (*data.train.rows, *data.validation.rows)}


def test_mixed_images_take_the_most_common_size_and_color(folder: Path) -> None:
    for number in range(40, 44):
        draw(folder / "k0" / f"{number}.jpg", number, (20, 10), "RGB")
    data = datasets.load(f"imagefolder:{folder}")
    assert image_shape(data) == (6, 8, 3)
    encoder = ImageEncoder(ImageSettings(6, 8, 3, (0.5,) * 3, (0.5,) * 3))
    rows = encoder.encode(data.train.rows)
    assert encoder.batch(rows, range(len(rows)))["pixels"].shape == (len(rows), 3, 6, 8)


def test_the_order_of_files_on_disk_does_not_matter(folder: Path, tmp_path: Path) -> None:
    for number in reversed(range(40)):
        draw(tmp_path / "again" / f"k{number % 2}" / f"{number}.png", number)
    prints = {
        datasets.load(f"imagefolder:{path}").fingerprint for path in (folder, tmp_path / "again")
    }
    assert len(prints) == 1


@pytest.mark.parametrize("damage", ["cut", "text", "flipped", "empty"])
def test_a_corrupt_png_is_named(folder: Path, damage: str) -> None:
    path = folder / "k1" / "7.png"
    content = path.read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 255
    path.write_bytes(
        {"cut": content[:-60], "text": b"hello", "flipped": bytes(flipped), "empty": b""}[damage]
    )
    with pytest.raises(DataError, match=r"k1/7\.png is no image that can be read"):
        datasets.load(f"imagefolder:{folder}")


def test_a_cut_jpeg_is_named(folder: Path) -> None:
    path = folder / "k0" / "z.jpg"
    draw(path, 77, (64, 64), "RGB")
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(DataError, match=r"z\.jpg is no image"):
        datasets.load(f"imagefolder:{folder}")


def test_a_class_folder_without_an_image_is_named(folder: Path) -> None:
    (folder / "k2").mkdir()
    (folder / "k2" / "notes.txt").write_text("soon")
    with pytest.raises(DataError, match=r"class folder .*k2 has no image"):
        datasets.load(f"imagefolder:{folder}")


def test_a_folder_of_other_shape_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownError, match="no folder"):
        datasets.load(f"imagefolder:{tmp_path / 'gone'}")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="has no class folders"):
        datasets.load(f"imagefolder:{tmp_path / 'empty'}")
    with pytest.raises(DataError, match="has no class folders"):
        datasets.load(f"imagefolder:{folder / 'k0'}")
    (folder / "k1").rename(tmp_path / "k1")
    with pytest.raises(DataError, match="only the class 'k0'"):
        datasets.load(f"imagefolder:{folder}")


def test_a_folder_beside_train_and_test_is_refused_by_name(tmp_path: Path) -> None:
    for part in ("train", "test", "val"):
        draw(tmp_path / part / "k0" / "1.png", 1)
    with pytest.raises(DataError, match="holds 'val' beside train and test"):
        datasets.load(f"imagefolder:{tmp_path}")

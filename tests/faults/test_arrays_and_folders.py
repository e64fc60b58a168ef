"""Arrays and folders of images: no layout, label or file is guessed or passed over in silence."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bmc import data as datasets
from bmc.errors import BmcError, DataError

LABELS = np.arange(40) % 2
SERIES = np.random.default_rng(0).normal(size=(40, 9, 3))
IMAGES = np.random.default_rng(0).integers(0, 256, (40, 6, 5, 3), np.uint8)


def saved(folder: Path, **arrays: Any) -> str:
    np.savez(folder / "own.npz", **arrays)
    return str(folder / "own.npz")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": IMAGES.transpose(0, 3, 1, 2)}, r"images\.transpose\(0, 2, 3, 1\)"),
        ({"images": np.zeros((40, 3, 4, 4), np.uint8)}, "may be .height, width, channels. or"),
        ({"images": np.zeros((40, 3, 3, 3), np.uint8)}, "may be .height, width, channels. or"),
        ({"images": np.zeros((40, 1, 8, 3), np.uint8)}, "may be .height, width, channels. or"),
        ({"images": IMAGES / 255}, r"float64.*\(images \* 255\)"),
        ({"images": IMAGES.astype(int)}, "is int64; it must be uint8"),
        ({"images": IMAGES, "lengths": LABELS + 1}, "lengths, which images have not"),
        ({"series": SERIES, "labels": np.eye(2)[LABELS]}, r"one-hot .*argmax.*multi-label"),
        ({"series": SERIES, "labels": LABELS[:, None]}, r"labels\.ravel\(\)"),
        ({"series": SERIES, "labels": LABELS + 1j}, "must hold a number or text a row"),
        ({"series": SERIES, "labels": LABELS.astype("M8[s]")}, "must hold a number or text a row"),
        ({"series": SERIES, "labels": np.zeros(40, "i4,i4")}, "must hold a number or text a row"),
        ({"series": SERIES, "labels": np.array(["a", ""] * 20)}, "row 2.* has an empty label"),
        ({"series": SERIES, "labels": np.array([b"a", b"\xff"] * 20)}, "row 2.* no UTF-8"),
        ({"series": SERIES, "labels": np.array(["a", None] * 20)}, "holds Python objects"),
        ({"series": np.zeros(40, "i4,i4")}, "must hold numbers"),
        ({"series": SERIES[:, :0]}, "has shape"),
        ({"series": SERIES[0], "lengths": np.full(9, 2**63, np.uint64)}, "it can be"),
        ({"series": SERIES, "test_series": SERIES[:, :, :2], "test_labels": LABELS}, "3 channels"),
    ],
)
def test_arrays_that_may_mean_two_things_or_none_are_refused(
    tmp_path: Path, arrays: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        datasets.load(saved(tmp_path, **{"labels": LABELS, **arrays}))


@pytest.mark.parametrize("shape", [(4, 4, 1), (8, 8, 3), (3, 9, 1), (4, 5, 3), (5, 6, 4)])
def test_small_images_whose_layout_is_clear_are_taken(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, *shape), np.uint8)
    data = datasets.load(saved(tmp_path, images=images, labels=LABELS))
    assert datasets.image_shape(data) == (*shape[:2], min(shape[2], 3))
    dropped = any("transparency" in note for note in data.summary.notes)
    assert dropped == (shape[2] == 4)


def test_byte_order_and_type_of_labels_do_not_matter(tmp_path: Path) -> None:
    prints = set()
    for labels in (LABELS, LABELS.astype(">i2"), LABELS.astype(">f8"), LABELS.astype("S1")):
        for series in (SERIES, SERIES.astype(">f8")):
            prints.add(datasets.load(saved(tmp_path, series=series, labels=labels)).fingerprint)
    assert len(prints) == 1
    data = datasets.load(saved(tmp_path, series=SERIES, labels=LABELS == 1))
    assert data.labels == ("False", "True")


def test_what_a_row_was_taken_for_is_noted(tmp_path: Path) -> None:
    data = datasets.load(saved(tmp_path, series=SERIES, labels=LABELS))
    assert data.summary.notes == ("a series is 9 steps x 3 channels",)
    data = datasets.load(saved(tmp_path, images=IMAGES, labels=LABELS))
    assert data.summary.notes == ("an image is 6 x 5, color",)


def test_a_header_that_promises_more_than_the_file_holds_is_refused(tmp_path: Path) -> None:
    path = Path(saved(tmp_path, series=SERIES, labels=LABELS))
    with zipfile.ZipFile(path) as archive:
        content = archive.read("series.npy")
    content = content.replace(b"(40, 9, 3), ", b"(4000000000,9,3)")[: len(content)]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("series.npy", content)
    with pytest.raises(DataError, match=r"says it has \d+ bytes and holds"):
        datasets.load(str(path))


def test_an_array_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = Path(saved(tmp_path, series=SERIES, labels=LABELS))
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("labels.npy", archive.read("labels.npy"))
    with pytest.raises(DataError, match="two arrays 'labels'"):
        datasets.load(str(path))


def draw(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (6, 8), np.uint8)
    Image.fromarray(pixels).save(path, "png")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(40):
        ending = ".PNG" if number % 3 else ".png"
        draw(tmp_path / "images" / f"k{number % 2}" / f"{number}{ending}", number)
    return tmp_path / "images"


def refusal(folder: Path) -> str:
    with pytest.raises(BmcError) as refused:
        datasets.load(f"imagefolder:{folder}")
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_what_is_not_read_is_noted_by_name(folder: Path) -> None:
    draw(folder / "loose.png", 98)
    draw(folder / "k0" / "more" / "below.png", 99)
    (folder / "k1" / "notes.heic").write_text("no image")
    data = datasets.load(f"imagefolder:{folder}")
    assert data.summary.rows == 40
    notes = " / ".join(data.summary.notes)
    assert f"not read, since they lie in no class folder: '{folder / 'loose.png'}'" in notes
    assert f"not read, since they lie below a class folder: '{folder}/k0/more/below.png'" in notes
    assert f"not read, since their endings are no image's: '{folder}/k1/notes.heic'" in notes


def test_classes_that_lie_a_folder_deeper_are_refused_with_the_folder_to_name(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "outer").mkdir()
    folder.rename(tmp_path / "outer" / "inner")
    assert f"name it: imagefolder:{tmp_path}/outer/inner" in refusal(tmp_path / "outer")


@pytest.mark.parametrize("name", ["val", "valid", "validation", "dev"])
def test_a_validation_folder_is_never_taken_for_a_class(
    folder: Path, tmp_path: Path, name: str
) -> None:
    for part in ("train", name):
        for number in range(8):
            draw(tmp_path / "parts" / part / f"k{number % 2}" / f"{number}.png", number)
    assert f"holds train and {name}, and no test; rename {name} to test" in refusal(
        tmp_path / "parts"
    )
    draw(tmp_path / "parts" / "test" / "k0" / "1.png", 1)
    assert f"holds '{name}' beside train and test" in refusal(tmp_path / "parts")


def test_links_in_a_circle_pipes_and_folders_named_as_images_are_no_images(folder: Path) -> None:
    (folder / "k0" / "again").symlink_to(folder)
    (folder / "k0" / "folder.png").mkdir()
    assert datasets.load(f"imagefolder:{folder}").summary.rows == 40
    (folder / "k1" / "loop.png").symlink_to(folder / "k1" / "loop.png")
    assert "k1/loop.png cannot be read" in refusal(folder)
    (folder / "k1" / "loop.png").unlink()
    os.mkfifo(folder / "k1" / "pipe.png")
    assert "k1/pipe.png cannot be read: it is a named pipe" in refusal(folder)


def test_a_class_folder_whose_name_is_no_text_is_refused(folder: Path) -> None:
    draw(folder / os.fsdecode(b"caf\xe9") / "1.png", 1)
    assert "half of a surrogate pair" in refusal(folder)


def test_a_picture_that_is_there_under_two_classes_is_noted(folder: Path) -> None:
    draw(folder / "k0" / "again.png", 1)
    data = datasets.load(f"imagefolder:{folder}")
    assert (data.summary.duplicates, data.summary.conflicts) == (1, 1)


def test_an_image_of_hub_data_that_is_missing_is_named_by_its_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = pytest.importorskip("datasets")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    draw(tmp_path / "1.png", 1)
    content = {"bytes": (tmp_path / "1.png").read_bytes(), "path": None}
    records = {"image": [content] * 9 + [None], "label": ["a", "b"] * 5}
    features = hub.Features({"image": hub.Image(), "label": hub.Value("string")})
    (tmp_path / "own").mkdir()
    hub.Dataset.from_dict(records, features).to_parquet(tmp_path / "own" / "train.parquet")
    with pytest.raises(DataError, match="row 10, column 'image', holds no image"):
        datasets.load(f"hf:{tmp_path / 'own'}")


def test_rows_of_hub_data_without_a_label_are_left_out_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = pytest.importorskip("datasets")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    records = {"text": [f"film {n}" for n in range(43)], "label": [*LABELS.tolist(), -1, -1, -1]}
    features = hub.Features(
        {"text": hub.Value("large_string"), "label": hub.ClassLabel(names=["bad", "good"])}
    )
    (tmp_path / "own").mkdir()
    hub.Dataset.from_dict(records, features).to_parquet(tmp_path / "own" / "train.parquet")
    data = datasets.load(f"hf:{tmp_path / 'own'}")
    assert data.summary.classes == {"bad": 20, "good": 20}
    assert any(note.startswith("3 rows of ") for note in data.summary.notes)

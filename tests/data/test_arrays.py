"""Arrays in .npz files: series in three forms, images, official parts, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bmc import data as datasets
from bmc.data import image_shape
from bmc.errors import DataError

GENERATOR = np.random.default_rng(0)
SERIES = GENERATOR.normal(size=(40, 9, 3))
LABELS = np.arange(40) % 2


def saved(folder: Path, **arrays: Any) -> str:
    np.savez(folder / "own.npz", **arrays)
    return str(folder / "own.npz")


def test_series_of_one_length_are_read(tmp_path: Path) -> None:
    data = datasets.load(saved(tmp_path, series=SERIES, labels=LABELS))
    assert (data.kind, data.labels) == ("series", ("0", "1"))
    assert all(row.shape == (9, 3) and row.dtype == np.float32 for row in data.train.rows)


def test_flat_padded_and_single_series_are_the_same_data(tmp_path: Path) -> None:
    lengths = 1 + np.arange(40) % 9
    flat = np.concatenate([row[:length] for row, length in zip(SERIES, lengths, strict=True)])
    prints = {
        datasets.load(saved(tmp_path, series=series, lengths=lengths, labels=LABELS)).fingerprint
        for series in (flat, SERIES)
    }
    assert len(prints) == 1
    table, cube = SERIES[:, :, 0], SERIES[:, :, :1]
    prints = {
        datasets.load(saved(tmp_path, series=series, labels=LABELS)).fingerprint
        for series in (table, cube)
    }
    assert len(prints) == 1


def test_images_get_a_channel_axis_and_lose_transparency(tmp_path: Path) -> None:
    images = GENERATOR.integers(0, 256, (40, 5, 6, 4), np.uint8)
    gray = datasets.load(saved(tmp_path, images=images[..., 0], labels=LABELS))
    assert (gray.kind, image_shape(gray)) == ("image", (5, 6, 1))
    color = datasets.load(saved(tmp_path, images=images, labels=LABELS))
    assert image_shape(color) == (5, 6, 3)


def test_rows_that_move_from_one_part_to_the_other_are_other_data(tmp_path: Path) -> None:
    prints = set()
    for count in (30, 34):
        parts = {"series": SERIES[:count], "labels": LABELS[:count]}
        held = {"test_series": SERIES[count:], "test_labels": LABELS[count:]}
        prints.add(datasets.load(saved(tmp_path, **parts, **held)).fingerprint)
    assert len(prints) == 2


def test_test_arrays_are_the_official_test_part(tmp_path: Path) -> None:
    held = {"test_series": SERIES[:7] + 1, "test_labels": LABELS[:7]}
    data = datasets.load(saved(tmp_path, series=SERIES, labels=LABELS, **held))
    assert len(data.test) == 7
    np.testing.assert_array_equal(data.test.rows[3], (SERIES[3] + 1).astype(np.float32))


def test_whole_numbers_as_floats_and_text_are_classes(tmp_path: Path) -> None:
    for labels in (LABELS.astype(float), LABELS.astype(str)):
        assert datasets.load(saved(tmp_path, series=SERIES, labels=labels)).labels == ("0", "1")


def test_labels_that_are_no_whole_numbers_need_a_regression(tmp_path: Path) -> None:
    path = saved(tmp_path, series=SERIES, labels=LABELS + 0.5)
    with pytest.raises(DataError, match=r"labels such as 0\.5 are numbers.*--task regression"):
        datasets.load(path)
    data = datasets.load(path, task="regression")
    assert set(data.train.labels) == {0.5, 1.5}


def test_nan_in_a_series_is_named_with_row_and_step(tmp_path: Path) -> None:
    broken = SERIES.copy()
    broken[12, 4, 1] = np.nan
    with pytest.raises(DataError, match="series: row 13 has nan at step 5, channel 2"):
        datasets.load(saved(tmp_path, series=broken, labels=LABELS))
    broken[12, 4, 1] = 1e300  # more than float32 holds
    with pytest.raises(DataError, match="row 13 has inf at step 5"):
        datasets.load(saved(tmp_path, series=broken, labels=LABELS))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "it needs labels and one of series and images"),
        ({"series": SERIES}, "it has series; it needs labels|has series; it needs labels"),
        ({"x": SERIES, "labels": LABELS}, "has an array 'x'"),
        ({"series": SERIES, "labels": LABELS[:9]}, "40 rows of series, 9 labels"),
        ({"series": SERIES[0, 0], "labels": LABELS}, "must be \\(rows, steps, channels\\)"),
        ({"series": SERIES.astype(str), "labels": LABELS}, "must hold numbers"),
        ({"series": SERIES[0], "lengths": [4, 4], "labels": LABELS}, "lengths add up to 8"),
        (
            {"series": SERIES[..., 0], "lengths": [4] * 40, "labels": LABELS},
            r"lengths add up to 160 \(of one channel: give .*\[:, :, None\]\)",
        ),
        ({"series": SERIES, "lengths": [10] * 40, "labels": LABELS}, "row 1 has length 10"),
        ({"series": SERIES[0], "lengths": [0, 9], "labels": LABELS}, "row 1 has length 0"),
        ({"images": SERIES, "labels": LABELS}, "must be uint8"),
        ({"images": np.zeros((40, 3, 8, 8), np.uint8), "labels": LABELS}, "1, 3 or 4 channels"),
        ({"series": SERIES, "labels": np.where(LABELS, np.nan, 1)}, "row 2 has nan"),
        ({"series": SERIES, "labels": LABELS, "test_series": SERIES}, "it needs test_labels"),
        ({"series": SERIES[:0], "labels": LABELS[:0]}, "has no rows"),
        ({"series": SERIES[:1], "labels": LABELS[:1]}, "only the class '0' \\(1 rows\\)"),
    ],
)
def test_arrays_that_cannot_be_used_are_refused(
    tmp_path: Path, arrays: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        datasets.load(saved(tmp_path, **arrays))


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    path = saved(tmp_path, series=np.array([SERIES, None], dtype=object), labels=LABELS)
    with pytest.raises(DataError, match="holds Python objects"):
        datasets.load(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04broken", b"hello"])
def test_what_is_no_npz_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "own.npz").write_bytes(content)
    with pytest.raises(DataError, match="not readable as npz"):
        datasets.load(str(tmp_path / "own.npz"))


def test_a_cut_npz_is_refused(tmp_path: Path) -> None:
    path = Path(saved(tmp_path, series=SERIES, labels=LABELS))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="not readable as npz"):
        datasets.load(str(path))

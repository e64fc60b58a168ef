"""Hugging Face data sets: a local folder is loaded the way a hub's repository is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
from PIL import Image

from bmc import data as datasets
from bmc.data import image_shape
from bmc.errors import AssetError, DataError


def test_without_the_package_it_is_exit_3_with_the_line_that_installs_it(
    blocked: Callable[..., CompletedProcess[str]],
) -> None:
    done = blocked("from bmc.cli import main; main(['datasets', 'hf:some/name'])", "datasets")
    assert done.returncode == 3
    assert done.stderr.strip().endswith("pip install 'bmc-toolkit[hub]'")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a train and a test file, as a hub's repository has them."""
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "repository"
    folder.mkdir()
    for part, count in (("train", 60), ("test", 10)):
        lines = [f"{part} text {number},{'ab'[number % 2]}" for number in range(count)]
        (folder / f"{part}.csv").write_text("\n".join(["text,label", *lines]))
    return folder


def test_texts_and_the_official_test_part_are_read(repository: Path) -> None:
    data = datasets.load(f"hf:{repository}")
    assert (data.kind, data.labels, data.name) == ("text", ("a", "b"), "repository")
    assert tuple(data.test.rows) == tuple((f"test text {number}",) for number in range(10))
    assert len(data.train) + len(data.validation) == 60


def test_a_missing_column_lists_those_there_are(repository: Path) -> None:
    with pytest.raises(DataError, match="no column 'body'; it has text, label"):
        datasets.load(f"hf:{repository}", ("body",))


def test_images_are_read_where_there_is_no_text(repository: Path) -> None:
    folder = repository.parent / "images"
    for number in range(60):
        path = folder / ("test" if number < 6 else "train") / f"k{number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (6, 8, 3), np.uint8)
        Image.fromarray(pixels).save(path)
    data = datasets.load(f"hf:{folder}")
    assert (data.kind, data.labels, len(data.test)) == ("image", ("k0", "k1"), 6)
    assert image_shape(data) == (6, 8, 3)


def test_a_data_set_that_cannot_be_had_is_refused_with_the_way_out(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    with pytest.raises(AssetError, match=r"could not be had .*download it elsewhere"):
        datasets.load(f"hf:{tmp_path / 'gone'}")

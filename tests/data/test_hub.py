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


def listed(
    folder: Path, labels: list[list[int] | None], monkeypatch: pytest.MonkeyPatch
) -> datasets.Dataset:
    """Load rows whose labels are lists of indices of the classes a, b and c."""
    package = pytest.importorskip("datasets")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(folder / "cache"))
    classes = package.ClassLabel(names=["a", "b", "c"])
    kind = package.Features(
        {"text": package.Value("string"), "label": package.Sequence(package.Value("int64"))}
    )
    rows = {"text": [f"text {number}" for number in range(len(labels))], "label": labels}
    part = package.Dataset.from_dict(rows, kind)
    kind["label"] = package.Sequence(classes)
    part.info.features = kind  # a cast would refuse the indices that the readers must refuse
    (folder / "own").mkdir()
    part.to_parquet(folder / "own" / "train.parquet")
    return datasets.load(f"hf:{folder / 'own'}", task="multilabel")


def test_lists_of_classes_are_sets_and_rows_of_minus_1_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels: list[list[int] | None] = [[0], [0, 2], [1], [], [-1]]
    data = listed(tmp_path, labels * 12, monkeypatch)
    assert data.labels == ("a", "b", "c")
    assert data.summary.classes == {"a": 24, "b": 12, "c": 12}
    assert (
        f"12 rows of hf:{tmp_path / 'own'} have no label (-1) and are left out"
        in data.summary.notes
    )


@pytest.mark.parametrize("wrong", [[0, 3], [0, -1], [None]])
def test_lists_of_classes_that_there_are_not_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: list[int]
) -> None:
    with pytest.raises(DataError, match=r"row 2 has the label .*; its 3 classes are numbered"):
        listed(tmp_path, [[0], wrong], monkeypatch)


def test_columns_that_have_a_space_at_an_end_are_found(repository: Path) -> None:
    for part, count in (("train", 60), ("test", 10)):
        lines = [f"{part} {number},{number % 2},{int(number % 3 > 0)}" for number in range(count)]
        (repository / f"{part}.csv").write_text("\n".join(["text, plot, music", *lines]))
    data = datasets.load(f"hf:{repository}", label_column="plot, music", task="multilabel")
    assert data.labels == ("music", "plot")


def test_a_test_part_whose_labels_are_all_minus_1_is_not_held_out(repository: Path) -> None:
    for part, count in (("train", 60), ("validation", 12), ("test", 10)):
        label = -1.0 if part == "test" else 0.5
        lines = [f"{part} text {number},{label * (1 + number % 3)}" for number in range(count)]
        if part == "test":
            lines = [f"{part} text {number},-1.0" for number in range(count)]
        (repository / f"{part}.csv").write_text("\n".join(["text,label", *lines]))
    data = datasets.load(f"hf:{repository}", task="regression")
    assert {text for (text,) in data.test.rows} == {f"validation text {i}" for i in range(12)}


def test_a_labeled_validation_part_is_the_one_to_choose_by(repository: Path) -> None:
    for part, count in (("train", 60), ("validation", 12), ("test", 10)):
        lines = [f"{part} text {number},{'ab'[number % 2]}" for number in range(count)]
        (repository / f"{part}.csv").write_text("\n".join(["text,label", *lines]))
    data = datasets.load(f"hf:{repository}")
    assert {text for (text,) in data.validation.rows} == {f"validation text {i}" for i in range(12)}
    assert {text for (text,) in data.test.rows} == {f"test text {i}" for i in range(10)}
    assert len(data.train) == 60
    assert "test is the part held out, and validation the part to choose by" in data.summary.notes
    (repository / "validation.csv").write_text((repository / "test.csv").read_text())
    assert len(datasets.load(f"hf:{repository}").validation) == 6

"""Data that cannot be used: one line on stderr, exit code 2, and nothing written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Run = Callable[..., tuple[int, str, str]]
GENERATOR = np.random.default_rng(0)
SERIES = GENERATOR.normal(size=(60, 9, 2)).astype(np.float32)
LABELS = np.arange(60) % 2


@pytest.fixture
def refused(bmc: Run, workspace: Path) -> Callable[..., None]:
    """Return a function that runs a command and checks how it was refused."""

    def check(arguments: list[str], *words: str) -> None:
        code, out, err = bmc(*arguments)
        lines = [line for line in err.splitlines() if line.startswith("bmc: ")]
        assert (code, out) == (2, ""), err
        assert len(lines) == 1, err
        assert err.splitlines()[-1] == lines[0]
        assert "bug in bmc" not in err
        assert "Traceback" not in err
        for word in words:
            assert word in lines[0], lines[0]
        assert not workspace.exists()

    return check


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Return a folder of 60 images of two classes."""
    folder = tmp_path / "images"
    for number in range(60):
        path = folder / f"k{number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(GENERATOR.integers(0, 256, (8, 8), np.uint8)).save(path)
    return folder


def saved(folder: Path, **arrays: Any) -> str:
    np.savez(folder / "own.npz", **arrays)
    return str(folder / "own.npz")


@pytest.mark.parametrize("verb", [["datasets"], ["train", "cnn", "--data"]])
def test_a_corrupt_png_is_refused_by_name(
    refused: Callable[..., None], images: Path, verb: list[str]
) -> None:
    path = images / "k1" / "7.png"
    path.write_bytes(path.read_bytes()[:50])
    refused([*verb, f"imagefolder:{images}"], "k1/7.png", "is no image that can be read")


def test_a_class_folder_with_no_image_is_refused_by_name(
    refused: Callable[..., None], images: Path
) -> None:
    (images / "k2").mkdir()
    refused(["train", "cnn", "--data", f"imagefolder:{images}"], "k2", "has no image")


def test_images_of_mixed_sizes_and_channels_are_trained_on(
    bmc: Run, images: Path, tmp_path: Path
) -> None:
    for number in range(60, 72):
        pixels = GENERATOR.integers(0, 256, (5 + number % 9, 11, 3), np.uint8)
        Image.fromarray(pixels).save(images / f"k{number % 2}" / f"{number}.png")
    words = ["train", "cnn", "--data", f"imagefolder:{images}", "--epochs", "1", "--quiet"]
    code, _, err = bmc(*words, "--output", tmp_path / "model", "--device", "cpu")
    assert code == 0, err
    assert (tmp_path / "model" / "bmc.json").is_file()


@pytest.mark.parametrize("name", ["own.npz", "own.csv"])
def test_labels_that_are_not_whole_numbers_are_refused_with_the_way_out(
    refused: Callable[..., None], tmp_path: Path, name: str
) -> None:
    if name == "own.npz":
        path, model = saved(tmp_path, series=SERIES, labels=LABELS + 0.37), "lstm"
    else:
        lines = "".join(f"text {number},{number / 7}\n" for number in range(60))
        (tmp_path / name).write_text("text,label\n" + lines)
        path, model = str(tmp_path / name), "bert"
    refused(["train", model, "--data", path], "--task regression", "whole numbers")


def test_nan_in_a_series_is_refused_with_its_row_and_step(
    refused: Callable[..., None], tmp_path: Path
) -> None:
    broken = SERIES.copy()
    broken[12, 4, 1] = np.nan
    path = saved(tmp_path, series=broken, labels=LABELS)
    refused(["train", "lstm", "--data", path], "own.npz", "row 13 has nan at step 5, channel 2")


def test_a_series_longer_than_the_model_takes_is_refused(
    refused: Callable[..., None], tmp_path: Path
) -> None:
    path = saved(tmp_path, series=SERIES, labels=LABELS)
    words = ["train", "lstm", "--data", path, "--max-length", "5", "--epochs", "1"]
    refused(words, "has 9 steps; the model takes 5 at most", "--max-length")


@pytest.mark.parametrize(("model", "kind"), [("lstm", "npz"), ("bert", "csv"), ("cnn", "png")])
def test_one_row_is_refused(
    refused: Callable[..., None], tmp_path: Path, model: str, kind: str
) -> None:
    if kind == "npz":
        path = saved(tmp_path, series=SERIES[:1], labels=LABELS[:1])
    elif kind == "csv":
        (tmp_path / "own.csv").write_text("text,label\na film,good\n")
        path = str(tmp_path / "own.csv")
    else:
        (tmp_path / "images" / "k0").mkdir(parents=True)
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "images" / "k0" / "1.png")
        path = f"imagefolder:{tmp_path / 'images'}"
    refused(["train", model, "--data", path], "only the class", "(1 rows)", "two classes")


def test_a_label_in_the_test_part_that_training_never_saw_is_refused(
    refused: Callable[..., None], tmp_path: Path
) -> None:
    held = {"test_series": SERIES[:4] + 1, "test_labels": [0, 1, 7, 1]}
    path = saved(tmp_path, series=SERIES, labels=LABELS, **held)
    refused(["train", "lstm", "--data", path], "rows of class '7', but the training rows have none")


def test_data_of_another_kind_than_the_model_takes_is_refused(
    refused: Callable[..., None], tmp_path: Path
) -> None:
    path = saved(tmp_path, series=SERIES, labels=LABELS)
    refused(["train", "cnn", "--data", path], "cnn takes image", "holds series")


@pytest.mark.parametrize("kind", ["text", "image", "series"])
def test_datasets_shows_size_classes_lengths_and_ten_examples_of_every_kind(
    bmc: Run, images: Path, tmp_path: Path, kind: str
) -> None:
    import json

    (tmp_path / "own.csv").write_text(
        "text,label\n" + "".join(f"film{' x' * (n % 9)} {n},{n % 2}\n" for n in range(60))
    )
    references = {
        "text": str(tmp_path / "own.csv"),
        "image": f"imagefolder:{images}",
        "series": saved(tmp_path, series=SERIES, labels=LABELS),
    }
    code, out, err = bmc("datasets", references[kind], "--json")
    assert code == 0, err
    content = json.loads(out)
    assert content["kind"] == kind
    assert sum(content["rows"].values()) == 60
    assert sum(sum(part.values()) for part in content["classes"].values()) == 60
    assert len(content["examples"]) == 10
    assert sum(content["lengths"].get("rows", [])) == (
        0 if kind == "image" else content["rows"]["train"]
    )
    code, out, err = bmc("datasets", references[kind])
    assert code == 0, err
    assert {"text": "words", "image": ".png", "series": "steps"}[kind] in out

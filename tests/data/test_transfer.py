"""Unlabeled rows: sources of every kind, what is left out of them, and what is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bmc import data as datasets
from bmc import memory
from bmc.data import Dataset, Examples, Table, fresh_rows, split, transfer_rows, words_in_memory
from bmc.errors import DataError, SettingError, UnknownError

SHAPE = (8, 6, 1)


def write(path: Path, content: str) -> str:
    path.write_text(content, encoding="utf-8")
    return str(path)


def pixels(number: int) -> np.ndarray:
    """Return an image that no other number has."""
    return np.random.default_rng(number).integers(0, 256, SHAPE, np.uint8)


def save(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(number)[:, :, 0]).save(path)


def hub_of(folder: Path) -> Dataset:
    """Write 60 images, and return them as a hub's data: the content of each file."""
    for number in range(60):
        save(folder / f"{number}.png", number)
    labels = ["ab"[number % 2] for number in range(60)]
    rows = [file.read_bytes() for file in sorted(folder.iterdir())]
    return split(Table(rows, labels, kind="image"), "hub")


@pytest.fixture(scope="module")
def images() -> Dataset:
    rows = np.stack([pixels(number) for number in range(60)])
    return split(Table(rows, ["ab"[number % 2] for number in range(60)], kind="image"), "images")


@pytest.fixture(scope="module")
def pairs() -> Dataset:
    rows = [(f"first {number}", f"second {number}") for number in range(60)]
    labels = ["ab"[number % 2] for number in range(60)]
    return split(Table(rows, labels), "pairs", ("left", "right"))


# texts


def test_texts_that_are_held_out_or_doubled_are_left_out_and_counted(
    reviews: Dataset, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    held_out = [reviews.test.rows[0][0].upper(), reviews.validation.rows[0][0]]
    lines = [*held_out, "  fresh one ", "", "fresh two", "Fresh  ONE", "fresh three"]
    transfer = transfer_rows(write(tmp_path / "more.txt", "\n".join(lines)), 9, reviews)
    assert sorted(transfer.rows) == [("fresh one",), ("fresh three",), ("fresh two",)]
    assert (transfer.found, transfer.held_out, transfer.duplicates) == (6, 2, 1)
    said = " ".join(capfd.readouterr().err.split())
    assert "3 of 6 from" in said
    assert "2 dropped as equal to validation or test rows, 1 as duplicates" in said


def test_a_smaller_limit_gives_the_first_of_a_larger_one(reviews: Dataset, tmp_path: Path) -> None:
    path = write(tmp_path / "more.txt", "\n".join(f"fresh film {n}" for n in range(9)))
    assert transfer_rows(path, 4, reviews).rows == transfer_rows(path, 9, reviews).rows[:4]
    assert len(transfer_rows("none", 10, reviews)) == len(transfer_rows(path, 0, reviews)) == 0


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".json"])
def test_a_tables_column_is_read_without_labels(
    reviews: Dataset, tmp_path: Path, ending: str
) -> None:
    texts = ["fresh one", "fresh two"]
    records = [{"id": str(number), "text": text} for number, text in enumerate(texts)]
    separator = "\t" if ending == ".tsv" else ","
    table = "\n".join(separator.join(record) for record in (("id", "text"), *enumerated(texts)))
    lines = "\n".join(map(json.dumps, records))
    content = {".jsonl": lines, ".json": json.dumps(records)}.get(ending, table)
    path = write(tmp_path / f"more{ending}", content)
    assert sorted(transfer_rows(path, 9, reviews).rows) == [("fresh one",), ("fresh two",)]
    assert sorted(transfer_rows(path, 9, reviews, ("id",)).rows) == [("0",), ("1",)]


def enumerated(texts: Sequence[str]) -> list[tuple[str, str]]:
    return [(str(number), text) for number, text in enumerate(texts)]


def test_pairs_are_read_from_two_columns_and_not_from_single_texts(
    pairs: Dataset, tmp_path: Path
) -> None:
    path = write(tmp_path / "more.csv", "left,right\nfirst 99,second 99\nfirst 98,second 97")
    rows = transfer_rows(path, 9, pairs).rows
    assert set(rows) == {("first 99", "second 99"), ("first 98", "second 97")}
    for reference, columns in ((write(tmp_path / "t.txt", "one\ntwo"), ()), (path, ("left",))):
        with pytest.raises(DataError, match=r"single texts.*--transfer-column"):
            transfer_rows(reference, 9, pairs, columns)


def test_a_missing_column_is_refused_with_the_option_that_names_one(
    reviews: Dataset, tmp_path: Path
) -> None:
    path = write(tmp_path / "more.csv", "review\na fine film")
    with pytest.raises(DataError, match=r"no column 'text'.*review.*--transfer-column"):
        transfer_rows(path, 9, reviews)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.txt", "", "no rows"),
        ("t.txt", "\n \n", "no rows"),
        ("t.csv", "text\n", "no rows"),
        ("t.txt", "one film\nOne  Film\none film", "all 3 rows are equal"),
        ("t.csv", 'text\n""\n', "empty"),
        ("t.jsonl", '{"text": 3}', "is no text"),
    ],
)
def test_a_source_without_texts_is_refused(
    reviews: Dataset, tmp_path: Path, name: str, content: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        transfer_rows(write(tmp_path / name, content), 9, reviews)


def test_texts_that_are_all_held_out_are_refused(reviews: Dataset, tmp_path: Path) -> None:
    lines = [text for (text,) in (*reviews.test.rows, *reviews.validation.rows)]
    path = write(tmp_path / "more.txt", "\n".join(lines))
    with pytest.raises(DataError, match=r"all \d+ rows equal validation or test rows"):
        transfer_rows(path, 9, reviews)


def test_what_cannot_be_read_is_refused(reviews: Dataset, tmp_path: Path) -> None:
    (tmp_path / "binary.txt").write_bytes(b"a film\n\xff\x00")
    with pytest.raises(DataError, match="line 2 is not UTF-8"):
        transfer_rows(str(tmp_path / "binary.txt"), 5, reviews)
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(DataError, match="a named pipe"):
        transfer_rows(str(tmp_path / "pipe.csv"), 5, reviews)
    for gone in ("gone.txt", "gone.csv", "gone.npz"):
        with pytest.raises(UnknownError, match=gone):
            transfer_rows(str(tmp_path / gone), 5, reviews)
    with pytest.raises(UnknownError, match=r"no transfer set named 'imbd'.*imdb"):
        transfer_rows("imbd", 5, reviews)
    with pytest.raises(SettingError, match="0 or more"):
        transfer_rows("imdb", -5, reviews)


def test_made_texts_that_equal_a_row_or_an_earlier_text_are_left_out(reviews: Dataset) -> None:
    held_out = [(reviews.test.rows[0][0].upper(),), reviews.validation.rows[1]]
    made = [*held_out, reviews.train.rows[0], ("Fresh  one",), ("fresh one",), ("two",), ("old",)]
    fresh = fresh_rows(made, reviews, [("Old",)])
    assert fresh.rows == (("Fresh  one",), ("two",))
    assert (fresh.found, fresh.held_out, fresh.duplicates) == (7, 2, 3)


# images


def test_images_of_any_folder_become_rows_and_held_out_pixels_are_left_out(
    images: Dataset, tmp_path: Path
) -> None:
    for number in range(100, 105):
        save(tmp_path / "deep" / "er" / f"{number}.png", number)
    save(tmp_path / "again.png", 100)
    Image.fromarray(images.test.rows[0][:, :, 0]).save(tmp_path / "held.png")
    save(tmp_path / ".hidden" / "106.png", 106)
    (tmp_path / "notes.md").write_text("no image")
    transfer = transfer_rows(f"imagefolder:{tmp_path}", 99, images)
    assert (transfer.found, transfer.held_out, transfer.duplicates) == (7, 1, 1)
    assert np.shape(transfer.rows) == (5, *SHAPE)
    rows = {row.tobytes() for row in transfer.rows}
    assert rows == {pixels(number).tobytes() for number in range(100, 105)}


def test_images_stay_files_where_the_data_are_files(tmp_path: Path) -> None:
    for number in range(40):
        save(tmp_path / "data" / f"k{number % 2}" / f"{number}.png", number)
    data = datasets.load(f"imagefolder:{tmp_path / 'data'}")
    for number in range(38, 45):
        save(tmp_path / "more" / f"{number}.png", number)
    held_out = data.validation.rows[0]
    (tmp_path / "more" / "copy.png").write_bytes(held_out.read_bytes())
    with Image.open(held_out) as image:  # the same pixels in other bytes
        image.convert("RGB").save(tmp_path / "more" / "again.bmp")
    transfer = transfer_rows(f"imagefolder:{tmp_path / 'more'}", 99, data)
    assert all(isinstance(row, Path) for row in transfer.rows)
    assert not {"copy.png", "again.bmp"} & {row.name for row in transfer.rows}
    array = np.stack([pixels(200), np.asarray(Image.open(held_out))[:, :, None]])
    np.savez(tmp_path / "more.npz", images=array)
    assert transfer_rows(str(tmp_path / "more.npz"), 9, data).held_out == 1


def test_a_folder_without_images_or_with_a_broken_one_is_refused(
    images: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(UnknownError, match="no folder"):
        transfer_rows(f"imagefolder:{tmp_path / 'gone'}", 9, images)
    with pytest.raises(DataError, match="no rows"):
        transfer_rows(f"imagefolder:{tmp_path}", 9, images)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG but not really")
    with pytest.raises(DataError, match=r"broken\.png"):
        transfer_rows(f"imagefolder:{tmp_path}", 9, images)


def test_rows_of_another_kind_than_the_data_are_refused(
    images: Dataset, reviews: Dataset, tmp_path: Path
) -> None:
    save(tmp_path / "one.png", 1)
    with pytest.raises(DataError, match=r"holds image rows, and .* holds text"):
        transfer_rows(f"imagefolder:{tmp_path}", 9, reviews)
    with pytest.raises(DataError, match=r"holds text rows, and 'images' holds image"):
        transfer_rows(write(tmp_path / "t.txt", "one\ntwo"), 9, images)


# arrays


def test_images_that_are_all_equal_or_all_held_out_are_refused(
    images: Dataset, tmp_path: Path
) -> None:
    np.savez(tmp_path / "equal.npz", images=np.stack([pixels(100)] * 3))
    np.savez(tmp_path / "held.npz", images=np.asarray(images.test.rows))
    np.savez(tmp_path / "none.npz", images=np.asarray(images.test.rows)[:0])
    for name, message in (
        ("equal", "all 3 rows are equal; name a source with different rows"),
        ("held", r"all \d+ rows equal validation or test rows"),
        ("none", "has no rows; add some, or use --transfer none"),
    ):
        with pytest.raises(DataError, match=message):
            transfer_rows(str(tmp_path / f"{name}.npz"), 9, images)


def test_an_npz_file_needs_no_labels(images: Dataset, tmp_path: Path) -> None:
    np.savez(tmp_path / "more.npz", images=np.stack([pixels(300), pixels(301), pixels(300)]))
    transfer = transfer_rows(str(tmp_path / "more.npz"), 9, images)
    assert (len(transfer), transfer.duplicates) == (2, 1)
    np.savez(tmp_path / "labels.npz", labels=np.zeros(3))
    with pytest.raises(DataError, match="needs series or images"):
        transfer_rows(str(tmp_path / "labels.npz"), 9, images)


def test_rows_of_a_python_caller_are_checked_as_rows_of_the_datas_kind(
    images: Dataset, reviews: Dataset, pairs: Dataset
) -> None:
    with memory.keeping_rows("rows", ["fresh one", "fresh two"]):
        assert len(transfer_rows("memory:rows", 9, reviews)) == 2
        with pytest.raises(DataError, match="must hold 2 text"):
            transfer_rows("memory:rows", 9, pairs)
        with pytest.raises(DataError, match="images are one uint8 array"):
            transfer_rows("memory:rows", 9, images)
    with memory.keeping_rows("rows", np.stack([pixels(300), pixels(301)])):
        assert len(transfer_rows("memory:rows", 9, images)) == 2
    floats = np.zeros((2, *SHAPE), np.float32)
    with memory.keeping_rows("rows", floats), pytest.raises(DataError, match="must be uint8"):
        transfer_rows("memory:rows", 9, images)
    with pytest.raises(UnknownError, match="give them again"):
        transfer_rows("memory:rows", 9, images)


# words


@pytest.fixture(scope="module")
def people() -> Dataset:
    rows = [("Ada", "left", "town", str(number), ".") for number in range(60)]
    tags = [("B-PER", "O", "O", "O", "O")] * 60
    return split(words_in_memory(rows, tags), "people", task="tokens")


def test_texts_teach_words_and_are_split_as_a_bundle_splits_them(
    people: Dataset, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    held_out = " ".join(people.test.rows[0][:-1]).upper() + "."
    lines = [held_out, "Grace didn't leave.", "grace  didn't leave .", "new text"]
    transfer = transfer_rows(write(tmp_path / "more.txt", "\n".join(lines)), 9, people)
    assert set(transfer.rows) == {("Grace", "didn't", "leave", "."), ("new", "text")}
    assert (transfer.found, transfer.held_out, transfer.duplicates) == (4, 1, 1)
    assert "transfer texts: 2 of 4 from" in " ".join(capfd.readouterr().err.split())
    table = write(tmp_path / "more.csv", 'id,sentence\n1,"Ada, left"\n')
    columns = transfer_rows(table, 9, people, ("sentence",))
    assert columns.rows == (("Ada", ",", "left"),)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("more.conll", "-DOCSTART- O\n\nAda B-PER\nleft O\n\ndo O\nn't O\n"),
        ("words.conll", "Ada\nleft\n\ndo\nn't\n"),
        ("more.jsonl", '{"tokens": ["Ada", "left"]}\n{"tokens": ["do", "n\'t"], "tags": [1, 2]}\n'),
        ("mixed.jsonl", '{"text": "Ada left"}\n{"tokens": ["do", "n\'t"]}\n'),
    ],
)
def test_words_that_a_file_has_split_stay_so(
    people: Dataset, tmp_path: Path, name: str, content: str
) -> None:
    transfer = transfer_rows(write(tmp_path / name, content), 9, people)
    assert set(transfer.rows) == {("Ada", "left"), ("do", "n't")}


def test_rows_of_words_of_a_python_caller_are_checked(people: Dataset) -> None:
    rows: list[object] = ["Ada left.", ("do", "n't"), ["a", "b"]]
    with memory.keeping_rows("rows", rows):
        transfer = transfer_rows("memory:rows", 9, people)
    assert set(transfer.rows) == {("Ada", "left", "."), ("do", "n't"), ("a", "b")}
    for row, message in ((7, "must be a text, or a list"), (("a b",), "has white space")):
        with memory.keeping_rows("rows", [row]), pytest.raises(DataError, match=message):
            transfer_rows("memory:rows", 9, people)


@pytest.mark.parametrize(
    ("name", "content", "columns", "message"),
    [
        ("a.conll", "1\tAda\n2\tleft\n", (), "the first column numbers the words"),
        ("a.conll", "Ada O\n", ("word",), "--transfer-column word: .* leave it out"),
        ("a.txt", "Ada B-PER\nleft O\n\nGrace B-PER\n", (), "rename it to .conll"),
        ("a.jsonl", '{"words": ["a"]}\n', (), "it needs tokens or text"),
        ("a.jsonl", '{"tokens": [1]}\n', (), "it must be a text, or a list of words"),
        ("a.csv", "text,b\nx,y\n", ("text", "b"), "names 2 columns of .*: name one"),
    ],
)
def test_words_that_cannot_be_read_are_refused(
    people: Dataset, tmp_path: Path, name: str, content: str, columns: Sequence[str], message: str
) -> None:
    with pytest.raises((DataError, SettingError), match=message):
        transfer_rows(write(tmp_path / name, content), 9, people, columns)


def test_images_do_not_teach_words(people: Dataset, tmp_path: Path) -> None:
    save(tmp_path / "images" / "a.png", 1)
    with pytest.raises(DataError, match="holds image rows, and 'people' holds words"):
        transfer_rows(f"imagefolder:{tmp_path / 'images'}", 9, people)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("features", [(), ("a", "b")])
def test_held_out_rows_of_numbers_are_found_whatever_their_type(
    dtype: type, features: tuple[str, ...]
) -> None:
    numbers = np.random.default_rng(0).normal(size=(60, 2))
    numbers[:, 1] = 0.0
    labels = ["ab"[number % 2] for number in range(60)]
    table = Table(numbers.astype(np.float32), labels, kind="array", features=features)
    data = split(table, "numbers")
    with memory.keeping_rows("rows", (numbers * [1, -1]).astype(dtype)):  # -0 is 0
        transfer = transfer_rows("memory:rows", 99, data)
    assert transfer.held_out == len(data.validation) + len(data.test)
    assert len(transfer) == len(data.train)


def test_held_out_images_of_a_hub_are_found_among_files(tmp_path: Path) -> None:
    data = hub_of(tmp_path / "images")
    transfer = transfer_rows(f"imagefolder:{tmp_path / 'images'}", 99, data)
    assert transfer.held_out == len(data.validation) + len(data.test)


def test_held_out_images_of_a_hub_are_found_among_arrays(tmp_path: Path) -> None:
    data = hub_of(tmp_path / "images")
    arrays = tmp_path / "more.npz"
    np.savez(arrays, images=np.stack([pixels(number) for number in range(70)]))
    transfer = transfer_rows(str(arrays), 99, data)
    assert transfer.held_out == len(data.validation) + len(data.test)
    without = replace(data, test=Examples((), ()))
    assert transfer_rows(str(arrays), 99, without).held_out == len(data.validation)

"""Several labels a row: how lists, bars and columns are read, split, and refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bmc import data as datasets
from bmc.contracts.tasks import label_reading
from bmc.data import Dataset
from bmc.errors import BmcError, DataError

SETS: list[list[str]] = [["good"], ["good", "long"], ["long"], []] * 15


def load(path: Path, label_column: str = "label") -> Dataset:
    return datasets.load(str(path), ("text",), label_column, "multilabel")


def lines(folder: Path, labels: list[object]) -> Path:
    rows = [json.dumps({"text": f"text {n}", "label": row}) for n, row in enumerate(labels)]
    path = folder / "data.jsonl"
    path.write_text("\n".join(rows))
    return path


def table(folder: Path, header: str, rows: list[str]) -> Path:
    path = folder / "data.csv"
    path.write_text("\n".join([header, *(f"text {n},{row}" for n, row in enumerate(rows))]))
    return path


def sets_of(data: Dataset) -> dict[str, tuple[str, ...]]:
    parts = (data.train, data.validation, data.test)
    return {
        row[0]: tuple(name for name, flag in zip(data.labels, labels, strict=True) if flag)
        for part in parts
        for row, labels in zip(part.rows, part.labels, strict=True)
    }


def test_lists_bars_and_columns_are_the_same_data(tmp_path: Path) -> None:
    listed = load(lines(tmp_path, list(SETS)))
    expected = {f"text {n}": tuple(row) for n, row in enumerate(SETS)}
    assert listed.labels == ("good", "long")
    assert sets_of(listed) == expected
    barred = load(table(tmp_path, "text,label", [" | ".join(row) for row in SETS]))
    assert sets_of(barred) == expected
    flags = [f"{int('good' in row)},{'long' in row}" for row in SETS]
    flagged = load(table(tmp_path, "text,good,long", flags), "good,long")
    assert sets_of(flagged) == expected
    assert listed.fingerprint == barred.fingerprint == flagged.fingerprint


def test_tables_of_numbers_have_sets_too(tmp_path: Path) -> None:
    rows = [f"{n},{n % 7},{n % 2},{int(n % 3 == 0)}" for n in range(60)]
    path = tmp_path / "data.csv"
    path.write_text("\n".join(["x,y,even,third", *rows]))
    data = datasets.load(str(path), label_column="even,third", task="multilabel", features=("all",))
    assert (data.features, data.labels) == (("x", "y"), ("even", "third"))
    assert data.summary.classes == {"even": 30, "third": 20}
    with pytest.raises(BmcError, match="'third' is named as feature and as label"):
        datasets.load(
            str(path), label_column="even,third", task="multilabel", features=("x", "third")
        )


def test_arrays_hold_0_or_1_for_each_label(tmp_path: Path) -> None:
    labels = np.array([[1, 0], [1, 1], [0, 1], [0, 0]] * 15)
    series = np.random.default_rng(0).normal(size=(60, 5, 2))
    np.savez(tmp_path / "own.npz", series=series, labels=labels)
    data = load(tmp_path / "own.npz")
    assert data.labels == ("0", "1")
    assert data.summary.classes == {"0": 30, "1": 30}


def test_counts_are_of_each_label_and_rows_without_one_are_noted(tmp_path: Path) -> None:
    data = load(lines(tmp_path, list(SETS)))
    assert data.summary.classes == {"good": 30, "long": 30}
    assert "15 rows have no label" in data.summary.notes
    assert datasets.histogram(data.train, data.labels) == {
        "good": sum(row[0] for row in data.train.labels),
        "long": sum(row[1] for row in data.train.labels),
    }


def test_every_part_has_rows_of_the_rarest_label(tmp_path: Path) -> None:
    labels = [["common", *(["rare"] if n % 12 == 0 else [])] for n in range(60)]
    data = load(lines(tmp_path, list(labels)))
    place = data.labels.index("rare")
    for part in (data.train, data.validation, data.test):
        assert sum(row[place] for row in part.labels) >= 1


def test_a_row_is_in_the_stratum_of_its_rarest_label() -> None:
    codes = np.array([[1, 0], [1, 1], [1, 0], [0, 0]], np.int8)
    assert label_reading("multilabel").strata(codes).tolist() == [0, 1, 0, 2]


def test_equal_rows_with_other_labels_are_counted_as_conflicts(tmp_path: Path) -> None:
    path = lines(tmp_path, list(SETS))
    path.write_text(path.read_text() + '\n{"text": "text 0", "label": ["long"]}')
    assert load(path).summary.conflicts == 1


BAD: dict[str, tuple[list[object], str]] = {
    "null": ([["a"], None], r"line 2.*has the labels null; several labels are a list"),
    "a number": ([["a"], 3], r"line 2.*has the labels 3"),
    "an empty label": ([["a"], ["a", ""]], "line 2.*has an empty label"),
    "a list in a list": ([["a"], [["b"]]], "line 2.*has the label"),
    "a bar too many": ([["a"], "a||b"], "line 2.*has an empty label"),
    "the separator": ([["a"], ["b\x1fc"]], r"line 2.*control character U\+001F"),
    "one label": ([["a"], ["a"], []], "has only the label 'a'.*--task classification"),
    "no labels": ([[], []], "has no labels"),
}


@pytest.mark.parametrize("name", BAD)
def test_labels_without_a_clear_meaning_are_refused(tmp_path: Path, name: str) -> None:
    labels, message = BAD[name]
    with pytest.raises(BmcError, match=message):
        load(lines(tmp_path, labels))


@pytest.mark.parametrize(
    ("header", "columns", "message"),
    [
        ("text,good,long", "good,long", "line 2, column 'good', holds '2'.*0 or 1"),
        ("text,good,long", "good,short", "no column 'short'"),
        ("text,good,long", "good,text", "'text' is named as text and as label"),
    ],
)
def test_columns_that_hold_no_flags_are_refused(
    tmp_path: Path, header: str, columns: str, message: str
) -> None:
    with pytest.raises(BmcError, match=message):
        load(table(tmp_path, header, ["2,0", "1,1"]), columns)


def test_data_with_one_label_a_row_says_how_several_are_written(tmp_path: Path) -> None:
    (tmp_path / "images" / "a").mkdir(parents=True)
    with pytest.raises(BmcError, match=r"one label per row; --task multilabel reads lists"):
        datasets.load("digits", task="multilabel")


def test_a_list_of_labels_without_the_task_names_the_task(tmp_path: Path) -> None:
    with pytest.raises(BmcError, match="--task multilabel"):
        datasets.load(str(lines(tmp_path, list(SETS))))


def test_arrays_that_are_no_flags_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "own.npz", series=np.ones((4, 5, 2)), labels=np.arange(4))
    with pytest.raises(BmcError, match=r"several labels a row are 0 or 1"):
        load(tmp_path / "own.npz")


@pytest.mark.parametrize("label_column", ["good, long", " good ,long"])
def test_spaces_around_a_label_columns_name_are_no_part_of_the_label(
    tmp_path: Path, label_column: str
) -> None:
    flags = [f"{int('good' in row)},{'long' in row}" for row in SETS]
    data = load(table(tmp_path, "text,good, long", flags), label_column)
    assert data.labels == ("good", "long")
    with pytest.raises(BmcError, match="'text' is named as text and as label"):
        load(tmp_path / "data.csv", "good, text")


@pytest.mark.parametrize("flags", [[0.0, 1.0, 0.0], [1, 1, 0], [False, True, True]])
def test_a_list_of_0_and_1_is_refused_where_labels_have_names(
    tmp_path: Path, flags: list[object]
) -> None:
    with pytest.raises(BmcError, match=r"line 2.*are 0 or 1 for each label; write the names"):
        load(lines(tmp_path, [["a"], flags]))


def test_labels_that_are_the_numbers_0_and_1_are_read(tmp_path: Path) -> None:
    data = load(lines(tmp_path, [[0], [0, 1], [1], []] * 15))
    assert data.labels == ("0", "1")


@pytest.mark.parametrize("text", ["['plot', 'music']", "[plot, music]", '["plot"]', "[1 0]", "[]"])
def test_a_list_that_is_written_as_text_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(BmcError, match=r"line 2.*a list that is written as text; .* as in a\|b"):
        load(lines(tmp_path, ["a", text]))


def test_a_name_in_brackets_is_a_label(tmp_path: Path) -> None:
    assert load(lines(tmp_path, ["a|[other]", "a", "[other]"] * 20)).labels == ("[other]", "a")


def test_texts_of_one_label_each_are_noted(tmp_path: Path) -> None:
    data = load(lines(tmp_path, ["a,b", "a", "b"] * 20))
    note = "no row has two labels; in one text they are separated by |"
    assert note in data.summary.notes
    assert note not in load(lines(tmp_path, ["a|b", "a", "b"] * 20)).summary.notes
    assert note not in load(lines(tmp_path, [["a"], ["b"]] * 20)).summary.notes


def test_a_label_that_no_row_has_is_refused(tmp_path: Path) -> None:
    flags = [f"{int('good' in row)},{int('long' in row)},0" for row in SETS]
    with pytest.raises(BmcError, match="no row has the label 'never'; leave it out"):
        load(table(tmp_path, "text,good,long,never", flags), "good,long,never")
    labels = np.array([[1, 0, 0], [1, 0, 1], [0, 0, 1], [0, 0, 0]] * 15)
    np.savez(tmp_path / "own.npz", series=np.random.default_rng(0).random((60, 5)), labels=labels)
    with pytest.raises(BmcError, match="no row has the label '1'"):
        load(tmp_path / "own.npz")


def test_labels_of_one_number_have_one_order(tmp_path: Path) -> None:
    labels: list[object] = [["1", "a"], ["01", "a"]] * 10
    assert load(lines(tmp_path, labels)).labels == ("01", "1", "a")


def test_a_test_part_of_other_labels_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    flags = np.eye(5, dtype=np.int64)[np.arange(40) % 5]
    images = np.arange(40 * 64, dtype=np.int64).reshape(40, 8, 8) % 251
    pixels = images.astype(np.uint8)
    held: Any = {"test_images": pixels[:9], "test_labels": flags[:9, :3]}
    np.savez(path, images=pixels, labels=flags, **held)
    with pytest.raises(DataError, match="labels has 5 columns, test_labels 3"):
        datasets.load(str(path), task="multilabel")

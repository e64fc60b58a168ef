"""Tables of numbers: which columns are read, what is missing, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bmc import data as datasets
from bmc import memory
from bmc.data import Dataset, features_in_memory, transfer_rows
from bmc.errors import DataError, SettingError
from bmc.inputs.features import number_of

ROWS: list[dict[str, Any]] = [
    {"name": "n", "a": index, "b, c": -index / 3, "d": index % 4, "y": "no" if index % 3 else "yes"}
    for index in range(30)
]


def table(path: Path, rows: list[dict[str, Any]] = ROWS, **changes: Any) -> Path:
    """Write a .csv; `changes` are cells of the row on line 4, by column."""
    rows = [{**row, **(changes if index == 2 else {})} for index, row in enumerate(rows)]
    quoted = [[json.dumps(str(cell)) for cell in row.values()] for row in rows]
    header = [json.dumps(name) for name in rows[0]]
    path.write_text("\n".join(",".join(line) for line in [header, *quoted]) + "\n")
    return path


def load(path: Path, *features: str) -> Dataset:
    return datasets.load(str(path), label_column="y", features=features)


def test_named_columns_are_read_in_the_order_in_which_they_are_named(tmp_path: Path) -> None:
    data = load(table(tmp_path / "t.csv"), "d,a")
    assert (data.kind, data.features, data.labels) == ("features", ("d", "a"), ("no", "yes"))
    rows = np.concatenate([data.train.rows, data.validation.rows, data.test.rows])
    assert sorted(map(tuple, rows.tolist())) == sorted((i % 4, i) for i in range(30))


def test_a_column_with_a_comma_in_its_name_is_named_as_it_is(tmp_path: Path) -> None:
    assert load(table(tmp_path / "t.csv"), "b, c", "a").features == ("b, c", "a")


def test_all_stands_for_every_column_of_numbers_but_the_labels(tmp_path: Path) -> None:
    data = load(table(tmp_path / "t.csv"), "all")
    assert data.features == ("a", "b, c", "d")
    assert "non-numeric columns are left out: name" in data.summary.notes


def test_a_csv_a_jsonl_and_a_parquet_file_of_the_same_rows_are_the_same_data(
    tmp_path: Path,
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    arrow = pytest.importorskip("pyarrow")
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    parquet.write_table(arrow.Table.from_pylist(ROWS), tmp_path / "t.parquet")
    table(tmp_path / "t.csv")
    prints = {load(path, "all").fingerprint for path in tmp_path.iterdir()}
    assert len(prints) == 1


@pytest.mark.parametrize("missing", ["", "NaN", "null", "N/A", "?"])
def test_missing_values_are_kept_as_nan_and_said(tmp_path: Path, missing: str) -> None:
    data = load(table(tmp_path / "t.csv", a=missing), "all")
    rows = np.concatenate([data.train.rows, data.validation.rows, data.test.rows])
    assert int(np.isnan(rows).sum()) == 1
    assert any("median of the training rows, in columns a (1)" in n for n in data.summary.notes)


def test_true_and_false_are_one_and_zero(tmp_path: Path) -> None:
    data = load(table(tmp_path / "t.csv", [{**row, "d": row["a"] > 9} for row in ROWS]), "d,a")
    assert set(np.asarray(data.train.rows)[:, 0]) == {0.0, 1.0}


@pytest.mark.parametrize(
    ("changes", "features", "message"),
    [
        ({"a": "old"}, ("all",), "line 4, column 'a', holds 'old', which is not a number"),
        ({"a": "1_000"}, ("a",), "line 4, column 'a', holds '1_000'"),
        ({"a": "inf"}, ("all",), "line 4, column 'a', has inf; write a finite number"),
        ({}, ("name",), "line 2, column 'name', holds 'n', which is not a number"),
        ({}, ("a,age",), r"has no column 'age'; it has name, a, .*Name yours with --features"),
        ({}, ("a,y",), "'y' is named as feature and as label"),
        ({}, ("a", "a"), "--features names 'a' twice"),
        ({}, (",",), "no column besides the label"),
    ],
)
def test_what_cannot_be_read_is_refused(
    tmp_path: Path, changes: Any, features: Any, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load(table(tmp_path / "t.csv", **changes), *features)


def test_a_table_without_a_column_of_numbers_is_refused(tmp_path: Path) -> None:
    rows = [{"name": "n", "empty": "", "y": row["y"]} for row in ROWS]
    with pytest.raises(DataError, match=r"no numeric column .*name, empty.*--text-column"):
        load(table(tmp_path / "t.csv", rows), "all")


def test_a_named_column_without_any_value_is_refused(tmp_path: Path) -> None:
    rows = [{"a": "", "d": row["a"], "y": row["y"]} for row in ROWS]
    path = table(tmp_path / "t.csv", rows)
    with pytest.raises(DataError, match="column 'a' has no value in any line; leave it out of"):
        load(path, "a,d")
    assert load(path, "all").features == ("d",)


def test_features_are_refused_where_they_mean_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"--features names columns of a table, and 'digits' holds"):
        datasets.load("digits", features=("a",))
    with pytest.raises(DataError, match=r"--features names columns of a table .*hf:x is not"):
        datasets.load("hf:x", features=("all",))
    with pytest.raises(SettingError, match="--text-column and --features"):
        datasets.load(str(table(tmp_path / "t.csv")), ("name",), "y", features=("a",))


def test_columns_of_a_named_data_set_can_be_chosen() -> None:
    data = datasets.load("breast-cancer", features=("worst area,mean radius",))
    assert data.features == ("worst area", "mean radius")
    assert np.asarray(data.train.rows).shape[1] == 2
    with pytest.raises(DataError, match="no column 'age'"):
        datasets.load("breast-cancer", features=("age",))


def test_the_diabetes_data_is_for_a_regression() -> None:
    data = datasets.load("diabetes", task="regression")
    assert (len(data.features), len(data.train)) == (10, 310)


@pytest.mark.parametrize("form", ["dictionaries", "array", "tuple of an array", "data frame"])
def test_unlabeled_rows_of_a_python_caller_are_read_in_every_form(
    tmp_path: Path, form: str
) -> None:
    pandas = pytest.importorskip("pandas")
    data = load(table(tmp_path / "t.csv"), "d,a")
    rows = [{"a": 100 + index, "d": 1.0} for index in range(4)]
    array = np.array([[row["d"], row["a"]] for row in rows])
    forms: dict[str, Any] = {
        "dictionaries": rows,
        "array": array,
        "tuple of an array": (array,),
        "data frame": pandas.DataFrame(rows),
    }
    with memory.keeping_rows("more", forms[form]):
        read = transfer_rows(f"{memory.PREFIX}more", 10, data).rows
    assert sorted(np.asarray(read).tolist()) == array.tolist()


def test_unlabeled_rows_come_from_a_table_and_held_out_rows_are_left_out(tmp_path: Path) -> None:
    data = load(table(tmp_path / "t.csv"), "all")
    more = [{"a": 100 + index, "d": 1, "b, c": 0} for index in range(5)]
    table(tmp_path / "more.csv", [*more, *[{key: row[key] for key in more[0]} for row in ROWS]])
    rows = transfer_rows(str(tmp_path / "more.csv"), 100, data)
    assert rows.held_out == len(data.validation) + len(data.test)
    assert len(rows) == 5 + len(data.train)
    with pytest.raises(DataError, match="no column 'b, c'"):
        transfer_rows(str(table(tmp_path / "less.csv", [{"a": 1, "d": 2}] * 3)), 9, data)


def test_the_label_is_no_feature_where_names_differ_in_white_space(tmp_path: Path) -> None:
    rows = [{"a": row["a"], " y": row["y"] == "yes"} for row in ROWS]
    path = table(tmp_path / "t.csv", rows)
    assert load(path, "all").features == ("a",)
    with pytest.raises(DataError, match="'y' is named as feature and as label"):
        load(path, "a,y")
    columns = {name: [row[name] for row in rows] for name in ("a", " y")}
    read = datasets.features_in_memory(columns, ("all",), "y")
    assert (read.features, set(read.labels)) == (("a",), {"False", "True"})


def test_a_column_whose_name_has_white_space_is_read_from_memory() -> None:
    columns: dict[str, Any] = {" a ": [1.0, 2.0], "y": ["no", "yes"]}
    table = features_in_memory(columns, ("a",), "y")
    assert (table.features, np.asarray(table.rows).tolist()) == (("a",), [[1.0], [2.0]])


@pytest.mark.parametrize("unit", ["ns", "D"])
def test_dates_are_no_numbers(unit: str) -> None:
    dates = np.array(["2024-01-01", "2024-01-02"], f"datetime64[{unit}]")
    columns: dict[str, Any] = {
        "a": [1.0, 2.0],
        "day": list(dates),
        "span": list(dates - dates[0]),
        "y": ["no", "yes"],
    }
    assert features_in_memory(columns, ("all",), "y").features == ("a",)
    assert number_of(dates[0]) is None
    assert number_of(dates[1] - dates[0]) is None
    assert np.isnan(number_of(dates[0] - np.timedelta64("NaT")) or 0)


def test_two_columns_of_one_name_are_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,a,y\n1,2,no\n3,4,yes\n")
    with pytest.raises(DataError, match="has 2 columns named 'a'; rename or remove one"):
        load(tmp_path / "t.csv", "all")


def test_thousands_with_separators_are_texts_and_said(tmp_path: Path) -> None:
    rows = [{**row, "name": f"1,{row['a'] + 100}"} for row in ROWS]
    notes = load(table(tmp_path / "t.csv", rows), "all").summary.notes
    assert "non-numeric columns are left out: name (1,200 is a text: write 1200)" in notes


class ToDicts:
    """A data frame with the methods that polars has and pandas has not."""

    columns = ("a", "d")

    def to_dict(self, *, as_series: bool = True) -> dict[str, list[float]]:
        return {"a": [1.0, 2.0], "d": [3.0, 4.0]}

    def to_dicts(self) -> list[dict[str, float]]:
        return [{"a": 1.0, "d": 3.0}, {"a": 2.0, "d": 4.0}]


def test_frames_with_the_methods_of_polars_are_rows(tmp_path: Path) -> None:
    data = load(table(tmp_path / "t.csv"), "d,a")
    with memory.keeping_rows("polars", ToDicts()):
        read = transfer_rows(f"{memory.PREFIX}polars", 10, data).rows
    assert sorted(np.asarray(read).tolist()) == [[3.0, 1.0], [4.0, 2.0]]


@pytest.mark.parametrize("name", ["", "Unnamed: 0"])
def test_a_column_that_numbers_the_rows_is_no_feature(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{name: index, **row} for index, row in enumerate(ROWS)]
    data = load(table(tmp_path / "t.csv", rows), "all")
    assert name not in data.features
    assert "it is left out" in capsys.readouterr().err


def test_a_column_that_the_first_object_lacks_is_missed_aloud(tmp_path: Path) -> None:
    rows = [{"a": index, **({"b": index} if index else {}), "y": "no"} for index in range(9)]
    path = tmp_path / "t.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(DataError, match="'b'"):
        load(path, "all")


def test_all_names_columns_without_the_space_of_the_header(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    rows = [f"{number}, {number * 7 % 11}, {'ab'[number % 2]}" for number in range(40)]
    path.write_text("\n".join(["age, income, y", *rows]))
    assert load(path, "all").features == load(path, "age,income").features == ("age", "income")

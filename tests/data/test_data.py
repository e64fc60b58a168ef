"""Data: splits that leak nothing, fingerprints, and a user's own tables."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bmc import data as datasets
from bmc.data import Dataset, Examples, Table, compared, histogram, split
from bmc.errors import DataError, UnknownError


def table(count: int = 300, prefix: str = "text") -> Table:
    rows = [(f"{prefix} number {index}",) for index in range(count)]
    return Table(rows, ["a" if position % 2 else "b" for position in range(count)])


def texts_of(part: Examples) -> set[str]:
    return {" ".join(" ".join(row).lower().split()) for row in part.rows}


def test_parts_are_cut_70_10_20_and_hold_every_row_once() -> None:
    data = split(table(3000), "rows", ("text",))
    sizes = [len(part) for part in (data.train, data.validation, data.test)]
    assert sum(sizes) == 3000
    assert sizes[0] / 3000 == pytest.approx(0.7, abs=0.03)
    assert sizes[1] / 3000 == pytest.approx(0.1, abs=0.03)
    assert sizes[2] / 3000 == pytest.approx(0.2, abs=0.03)


def test_duplicates_never_cross_whatever_their_case_spaces_and_labels() -> None:
    plain = table()
    shouted = [(f"  {text.upper()}  ".replace(" ", "\t "),) for (text,) in plain.rows]
    both = Table([*plain.rows, *shouted], [*plain.labels, *reversed(plain.labels)])
    data = split(both, "rows", ("text",))
    train, validation, test = map(texts_of, (data.train, data.validation, data.test))
    assert len(train) + len(validation) + len(test) == 300
    assert not train & validation
    assert not train & test
    assert not validation & test


def test_an_official_test_part_is_kept_whole_and_taken_out_of_the_rest() -> None:
    official = Table([*table(40).rows, ("TEXT number 7",)], ["a"] * 41)
    entry = table(300)
    data = split(Table(entry.rows, entry.labels, official), "rows", ("text",))
    assert tuple(data.test.rows) == tuple(official.rows)
    held_out = texts_of(data.test)
    assert not held_out & texts_of(data.train)
    assert not held_out & texts_of(data.validation)
    assert len(data.train) + len(data.validation) == 260


def test_labels_are_sorted_and_indices_point_at_them() -> None:
    data = split(table(), "rows", ("text",))
    assert data.labels == ("a", "b")
    for (text,), label in zip(data.train.rows, data.train.labels, strict=True):
        assert data.labels[int(label)] == ("a" if int(text.split()[-1]) % 2 else "b")
    assert sum(histogram(data.train, data.labels).values()) == len(data.train)


def test_the_fingerprint_changes_with_any_text_label_or_order_and_with_nothing_else() -> None:
    entry = table()
    prints = {split(entry, name, ("text",)).fingerprint for name in ("one", "two")}
    assert len(prints) == 1
    changed = [
        Table([("other",), *entry.rows[1:]], entry.labels),
        Table(entry.rows, ["a", *entry.labels[1:]]),
        Table(list(reversed(entry.rows)), list(reversed(entry.labels))),
        Table(entry.rows, entry.labels, Table([("held out",)], ["a"])),
    ]
    prints |= {split(other, "one", ("text",)).fingerprint for other in changed}
    assert len(prints) == 5


def test_fractions_may_be_class_names_where_there_are_few() -> None:
    entry = table()
    stars = [str(index % 8 / 2) for index in range(300)]
    assert split(Table(entry.rows, stars), "rows", ("text",)).labels[:2] == ("0.0", "0.5")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["1", "two"], "row 2 has the label 'two'"),
        (["1", "nan"], "row 2 has the label 'nan'"),
        (["3.5", "3.50"], "only the label 3.5"),
    ],
)
def test_labels_that_no_regression_can_learn_are_refused(values: list[str], message: str) -> None:
    rows = [(f"text {number}",) for number in range(len(values))]
    with pytest.raises(DataError, match=message):
        split(Table(rows, values), "rows", ("text",), "regression")


def test_a_regression_keeps_its_numbers() -> None:
    entry = table()
    values = [str(index / 7) for index in range(300)]
    data = split(Table(entry.rows, values), "rows", ("text",), "regression")
    assert data.labels == ()
    for (text,), value in zip(data.train.rows, data.train.labels, strict=True):
        assert value == int(text.split()[-1]) / 7


def test_a_class_that_only_the_test_part_has_is_refused_by_name() -> None:
    entry = table()
    official = Table([("held out",)], ["new"])
    with pytest.raises(DataError, match="rows of class 'new', but the training rows have none"):
        split(Table(entry.rows, entry.labels, official), "rows", ("text",))


@pytest.mark.parametrize(
    ("rows", "labels", "message"),
    [
        ([], [], "has no rows"),
        ([("x",), ("y",)], ["a", "a"], "only the class 'a'"),
        ([("x",), (" \t",)], ["a", "b"], "row 2 has an empty text"),
        ([("x",), ("y",)], ["a", "b"], "part empty"),
        ([(f"t{n}",) for n in range(99)], ["a"] * 98 + ["rare"], "class 'rare' falls|have none"),
        ([(f"t{n}",) for n in range(99)], [str(n / 8) for n in range(99)], "--task regression"),
    ],
)
def test_data_that_cannot_be_used_is_refused(
    rows: list[tuple[str, ...]], labels: list[str], message: str
) -> None:
    if "rare" in labels:  # its only row equals one of another class that is held out
        rows[-1] = split(Table(rows, labels), "rows", ("text",)).test.rows[0]
    with pytest.raises(DataError, match=message):
        split(Table(rows, labels), "rows", ("text",))


def test_an_official_test_part_with_an_empty_text_is_refused() -> None:
    entry = table()
    official = Table([("fine",), (" ",)], ["a", "b"])
    with pytest.raises(DataError, match="empty text"):
        split(Table(entry.rows, entry.labels, official), "rows", ("text",))


def write_csv(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_csv_may_have_a_bom_quotes_and_columns_of_other_names(tmp_path: Path) -> None:
    lines = "".join(f'"ticket, {n}\nwith a line","k{n % 2}",{n}\n' for n in range(90))
    path = write_csv(tmp_path / "t.csv", "\ufeffbody,kind,id\n" + lines)
    data = datasets.load(path, ("body",), "kind")
    assert data.name == "t"
    assert data.labels == ("k0", "k1")
    assert all(row[0].startswith("ticket, ") and "\n" in row[0] for row in data.train.rows)


def test_csv_jsonl_and_parquet_of_the_same_rows_are_the_same_data(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    entry = table(90)
    records = [
        {"text": text, "label": label}
        for (text,), label in zip(entry.rows, entry.labels, strict=True)
    ]
    lines = "".join(f"{record['text']},{record['label']}\n" for record in records)
    csv_path = write_csv(tmp_path / "t.csv", "text,label\n" + lines)
    jsonl = write_csv(tmp_path / "t.jsonl", "\n\n".join(json.dumps(item) for item in records))
    parquet.write_table(pyarrow.Table.from_pylist(records), tmp_path / "t.parquet")
    paths = (csv_path, jsonl, str(tmp_path / "t.parquet"))
    assert len({datasets.load(path).fingerprint for path in paths}) == 1


def test_two_text_columns_make_pairs(tmp_path: Path) -> None:
    lines = "".join(f"question {n},answer {n},{n % 2}\n" for n in range(90))
    path = write_csv(tmp_path / "t.csv", "q,a,label\n" + lines)
    data = datasets.load(path, ("q", "a"))
    assert data.columns == ("q", "a")
    assert all(row[0].replace("question", "answer") == row[1] for row in data.train.rows)
    with pytest.raises(DataError, match="3 text columns"):
        datasets.load(path, ("q", "a", "q"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"", "has no rows"),
        ("t.csv", b"text,label\n", "has no rows"),
        ("t.csv", b"body,label\nx,a\n", "no column 'text'; it has body, label"),
        ("t.csv", b"text,label\nx\n", "line 2 has 1 field, the header 2"),
        ("t.csv", b"text,label\nx,\n", "line 2, column 'label', has an empty label"),
        ("t.csv", b"\x89PNG\r\n\x1a\n\x00\x00", "line 1 is not UTF-8 .byte 0x89 at 0"),
        ("t.csv", "text,label\nä,a\n".encode("utf-16"), "is UTF-16; save it as UTF-8"),
        ("t.csv", b'text,label\n"never closed', "line 2 opens a quote that is never closed"),
        ("t.jsonl", b'{"text": "x", "label"', "line 1 is not readable as JSON"),
        ("t.jsonl", b"[1, 2]\n", "holds no JSON object"),
        ("t.jsonl", b"[" * 100_000, "line 1 is not readable as JSON"),
        ("t.jsonl", b'{"text": null, "label": "a"}', "line 1, column 'text', holds null"),
        ("t.parquet", b"not parquet at all", "not readable as parquet"),
        ("t.arrow", b"not arrow at all", "not readable as Arrow after row 0"),
        ("t.feather", b"", "not readable as Arrow after row 0"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    if name.endswith(("parquet", "arrow", "feather")):
        pytest.importorskip("pyarrow")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        datasets.load(str(tmp_path / name))


def test_what_is_no_data_set_is_refused_with_the_names_there_are(tmp_path: Path) -> None:
    with pytest.raises(UnknownError, match="Did you mean 'movie-reviews'"):
        datasets.load("movie-review")
    with pytest.raises(UnknownError, match="no data file"):
        datasets.load(str(tmp_path / "gone.csv"))
    with pytest.raises(UnknownError, match="of a kind bmc reads"):
        datasets.load(str(tmp_path / "sheet.xlsx"))


def test_movie_reviews_are_the_8530_of_both_classes() -> None:
    data = datasets.load("movie-reviews")
    assert len(data.train) + len(data.validation) + len(data.test) == 8530
    assert data.labels == ("negative", "positive")
    assert not texts_of(data.train) & texts_of(data.test)


def test_a_tsv_file_that_quotes_nothing_loses_no_row(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text('text\tlabel\n"I loved it.\tpos\nSo did she."\tneg\nfine\tpos\n')
    with pytest.raises(DataError, match="lines 2 to 3 would be one row, with tabs inside a field"):
        datasets.load(str(path))


def test_a_tsv_file_whose_quoted_texts_have_lines_and_tabs_is_read(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    rows = "".join(f"text {i}\t{'ab'[i % 2]}\n" for i in range(20))
    path.write_text(f'text\tlabel\n"one\n\tindented"\ta\n{rows}')
    data = datasets.load(str(path))
    assert ("one\n\tindented",) in {*data.train.rows, *data.validation.rows, *data.test.rows}


def test_rows_that_are_compared_with_a_reference_are_spread_over_all(reviews: Dataset) -> None:
    """They may be sorted by their class."""
    rows = tuple((f"text {number}",) for number in range(2_500))
    part = Examples(rows, tuple(number // 500 for number in range(2_500)))
    data = replace(reviews, task="embedding", validation=part)
    chosen = compared(data).validation
    assert len(chosen) == 2_000
    assert np.bincount(np.array(chosen.labels)).tolist() == [400] * 5
    pairs = replace(part, labels=tuple(number // 2 / 1250 for number in range(2_500)))
    chosen = compared(replace(data, validation=pairs)).validation
    assert chosen.labels[::2] == chosen.labels[1::2]
    assert chosen.labels[-1] > 0.99

"""Large tables: rows on disk are the same data as rows in memory."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from bmc import data as datasets
from bmc import stored_rows
from bmc.data import Dataset
from bmc.stored_rows import StoredRows, Writer

ROWS: list[tuple[str, ...]] = [("ä\nfilm", "second"), ("", "x" * 5000), ("\x1f\x1e,", "z")]


def stored(rows: list[tuple[str, ...]] = ROWS) -> StoredRows:
    writer = Writer()
    for number, row in enumerate(rows):
        writer.append(row, str(number))
    return writer.finish()[0]


def test_rows_come_back_as_they_were_written_in_any_order() -> None:
    rows = stored()
    assert len(rows) == 3
    assert list(rows) == ROWS
    assert [rows[index] for index in (2, 0, -2)] == [ROWS[2], ROWS[0], ROWS[1]]
    assert list(rows[1:]) == ROWS[1:]
    with pytest.raises(IndexError):
        rows[3]


def test_a_part_of_a_part_holds_the_right_rows_and_sizes() -> None:
    import numpy as np

    part = stored().take(np.array([2, 1])).take(np.array([1]))
    assert list(part) == [ROWS[1]]
    assert part.sizes().tolist() == [len("\0".join((*ROWS[1], "1")))]


def test_labels_come_back_in_order() -> None:
    writer = Writer()
    for label in "bca":
        writer.append(("text",), label)
    labels = writer.finish()[1]
    assert list(labels) == ["b", "c", "a"]
    assert labels[1] == "c"
    assert len(labels) == 3


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows([f" film, {number}\n", f"{number % 3}"] for number in range(400))
    return path


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_table_on_disk_is_the_same_data_as_one_in_memory(
    table: Path, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    def load() -> Dataset:
        return datasets.load(str(table), task=task)

    small = load()
    monkeypatch.setattr(stored_rows, "LARGE", 1000)
    large = load()
    assert isinstance(small.train.rows, tuple)
    assert isinstance(large.train.rows, StoredRows)
    assert large.fingerprint == small.fingerprint
    for part in ("train", "validation", "test"):
        in_memory, on_disk = getattr(small, part), getattr(large, part)
        assert tuple(on_disk.rows) == in_memory.rows
        assert list(on_disk.labels) == list(in_memory.labels)


def test_a_large_parquet_table_goes_to_disk_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    records = [{"text": f"film {n}", "label": n % 2, "other": "x"} for n in range(90)]
    parquet.write_table(pyarrow.Table.from_pylist(records), tmp_path / "t.parquet")
    monkeypatch.setattr(stored_rows, "LARGE", 1000)
    data = datasets.load(str(tmp_path / "t.parquet"))
    assert isinstance(data.train.rows, StoredRows)
    assert data.labels == ("0", "1")

"""Tables of Arrow and Parquet: the same rows as a .csv, and little memory for large ones."""

from __future__ import annotations

import csv
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from bmc import data as datasets
from bmc.data import records
from bmc.errors import DataError

arrow = pytest.importorskip("pyarrow")
WORDS = "one film that is good and another one that is not so good "


def table_of(rows: int) -> Any:
    """Return rows of a text of about 700 characters and a label."""
    texts = [f"{number} {WORDS * 12}" for number in range(rows)]
    return arrow.table({"text": texts, "label": ["a", "b", "b"] * (rows // 3)})


def write(table: Any, path: Path, rows: int, compression: str | None = None) -> Path:
    """Write a file of batches or row groups of so many rows; NAME.stream.arrow as a stream."""
    from pyarrow import ipc, parquet

    if path.suffix == ".parquet":
        plain: dict[str, Any] = {"compression": "none", "use_dictionary": False}
        parquet.write_table(table, path, row_group_size=rows, **plain)
        return path
    new = ipc.new_stream if ".stream" in path.name else ipc.new_file
    options = ipc.IpcWriteOptions(compression=compression)
    with new(str(path), table.schema, options=options) as writer:
        writer.write_table(table, rows)
    return path


def test_arrow_files_of_the_same_rows_are_the_same_data(tmp_path: Path) -> None:
    table = table_of(60)
    paths = [
        write(table, tmp_path / "t.arrow", 7),
        write(table, tmp_path / "t.stream.arrow", 7),
        write(table, tmp_path / "t.feather", 60, "lz4"),
        tmp_path / "t.csv",
    ]
    with paths[-1].open("w", newline="") as file:
        writer = csv.DictWriter(file, table.column_names)
        writer.writeheader()
        writer.writerows(table.to_pylist())
    assert len({datasets.load(str(path)).fingerprint for path in paths}) == 1


def test_a_damaged_arrow_file_is_refused_with_the_last_row_that_was_read(tmp_path: Path) -> None:
    path = write(table_of(60), tmp_path / "t.stream.arrow", 20)
    path.write_bytes(path.read_bytes()[:-9000])
    with pytest.raises(DataError, match=r"not readable as Arrow after row 40: .*write it again"):
        datasets.load(str(path))
    path.write_bytes(path.read_bytes().replace(b"good", b"go\xffd"))
    with pytest.raises(DataError, match=r"after row 0: .*Invalid UTF8"):
        datasets.load(str(path))


def test_a_file_with_a_missing_column_names_those_it_has(tmp_path: Path) -> None:
    path = write(table_of(6), tmp_path / "t.arrow", 6)
    with pytest.raises(DataError, match="has no column 'body'; it has text, label"):
        datasets.load(str(path), text_columns=("body",))


@pytest.mark.parametrize("name", ["t.arrow", "t.stream.arrow", "t.parquet"])
def test_rows_of_20_mb_are_read_in_less_than_5_mb(name: str, tmp_path: Path) -> None:
    path = write(table_of(30_000), tmp_path / name, 1000)
    before, most, count = arrow.total_allocated_bytes(), 0, 0
    tracemalloc.start()
    found, _ = records(path, ("text", "label"))
    for count, _ in found:
        if count % 1000 == 0:
            most = max(most, arrow.total_allocated_bytes() - before)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 30_000
    assert most + peak < 5e6

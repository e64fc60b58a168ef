"""Rows of a .parquet file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bmc.data._columns import places_of
from bmc.data._pyarrow import reading
from bmc.data._values import Values
from bmc.data_files import check_unpacked

_BATCH = 256  # rows: with a text of 1 MB in each row, a batch takes a quarter of a GB


def records(
    path: Path, wanted_columns: Sequence[str], values: Values
) -> Iterator[tuple[int, Sequence[Any]]]:
    """Yield the number of each row, and its values of the requested columns.

    Raises:
        DataError: the file is damaged, a column is missing, or it unpacks to more than its size
            explains.
        MissingError: pyarrow is not installed.
    """
    number = unpacked = 0
    with _opened(path, lambda: number) as file:
        available = file.schema_arrow.names
        chosen = [
            available[index] for index in places_of(wanted_columns, available, values, str(path))
        ]
        for batch in _batches(file, chosen):
            columns = [batch.column(name).to_pylist() for name in chosen]
            unpacked += sum(
                len(value)
                for column in columns
                for value in column
                if isinstance(value, str | bytes)
            )
            check_unpacked(path, unpacked, "save honest texts as .csv or .jsonl")
            for row in zip(*columns, strict=True):
                number += 1
                yield number, row


def names(path: Path) -> list[str]:
    """Return the names of the columns, in order.

    Raises:
        DataError: the file is damaged.
        MissingError: pyarrow is not installed.
    """
    with _opened(path, lambda: 0) as file:
        return [str(name) for name in file.schema_arrow.names]


def _batches(file: Any, columns: Sequence[str]) -> Iterator[Any]:
    """Yield rows by row group: read as a whole, a file's bytes stay in memory until the end."""
    for group in range(file.num_row_groups):
        yield from file.iter_batches(batch_size=_BATCH, row_groups=[group], columns=columns)


@contextmanager
def _opened(path: Path, rows_read: Callable[[], int]) -> Iterator[Any]:
    """Open a file; errors of pyarrow in the block say after which row.

    Args:
        path: the file.
        rows_read: function that returns the number of rows that were read.

    Raises:
        DataError: the file is damaged.
        MissingError: pyarrow is not installed.
    """
    with reading(path, "parquet", rows_read, "write it again"):
        from pyarrow import parquet  # noqa: PLC0415  only this kind of file needs it

        with parquet.ParquetFile(path) as file:
            yield file

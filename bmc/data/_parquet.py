"""Rows of a .parquet file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bmc import plugins
from bmc.data._columns import places_of
from bmc.data._values import Values
from bmc.data_files import check_file, check_unpacked, unreadable
from bmc.errors import DataError

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
    try:
        from pyarrow import ArrowException, parquet  # noqa: PLC0415  only this kind of file needs it
    except ModuleNotFoundError as error:
        raise plugins.missing(error, f"reading {path.name}") from error
    check_file(path)
    number = unpacked = 0
    try:
        with parquet.ParquetFile(path) as file:
            available = file.schema_arrow.names
            names = [
                available[index]
                for index in places_of(wanted_columns, available, values, str(path))
            ]
            for batch in file.iter_batches(batch_size=_BATCH, columns=names):
                columns = [batch.column(name).to_pylist() for name in names]
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
    except (ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
        if isinstance(error, OSError) and error.errno:  # Arrow's own have no number
            raise unreadable(path, error) from error
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"{path} is not readable as parquet after row {number}: {reason}; write it again"
        ) from error

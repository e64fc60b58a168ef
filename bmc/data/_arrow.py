"""Rows of an .arrow file: Arrow's file format (Feather 2), or the stream that `datasets` writes."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bmc.data._columns import places_of
from bmc.data._pyarrow import reading
from bmc.data._values import Values
from bmc.data_files import check_unpacked

_ROWS = 256  # that are turned into Python's values at once
_MAGIC = b"ARROW1"  # of the file format


def records(
    path: Path, wanted_columns: Sequence[str], values: Values
) -> Iterator[tuple[int, Sequence[Any]]]:
    """Yield the number of each row, and its values of the requested columns.

    The file is memory-mapped, and the pages of a record batch are dropped when its rows were read.

    Raises:
        DataError: the file is damaged, a column is missing, or it unpacks to more than its size
            explains.
        MissingError: pyarrow is not installed.
    """
    number = unpacked = 0
    with _opened(path, lambda: number) as (schema, batches):
        chosen = places_of(wanted_columns, schema.names, values, str(path))
        for batch in batches:
            batch.validate(full=True)  # offsets of a damaged file may point anywhere
            unpacked += batch.nbytes
            check_unpacked(path, unpacked, "save honest texts as .csv or .jsonl")
            for start in range(0, batch.num_rows, _ROWS):
                part = batch.slice(start, _ROWS)
                columns = [part.column(place).to_pylist() for place in chosen]
                for row in zip(*columns, strict=True):
                    number += 1
                    yield number, row


def names(path: Path) -> list[str]:
    """Return the names of the columns, in order.

    Raises:
        DataError: the file is damaged.
        MissingError: pyarrow is not installed.
    """
    with _opened(path, lambda: 0) as (schema, _):
        return [str(name) for name in schema.names]


@contextmanager
def _opened(path: Path, rows_read: Callable[[], int]) -> Iterator[tuple[Any, Iterator[Any]]]:
    """Open a file; return its schema and its record batches.

    Args:
        path: the file.
        rows_read: function that returns the number of rows that were read.

    Raises:
        DataError: the file is damaged.
        MissingError: pyarrow is not installed.
    """
    with reading(path, "Arrow", rows_read, "write it again, or save it as .parquet"):
        from pyarrow import ipc, py_buffer  # noqa: PLC0415  only this kind of file needs it

        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)  # freed with its batches
        is_stream = mapped[: len(_MAGIC)] != _MAGIC
        with (ipc.open_stream if is_stream else ipc.open_file)(py_buffer(mapped)) as reader:
            yield reader.schema, _batches(reader, is_stream, mapped)


def _batches(reader: Any, is_stream: bool, mapped: mmap.mmap) -> Iterator[Any]:
    """Yield record batches; before the next is read, the pages of the last leave the memory."""
    numbers = iter(reader) if is_stream else map(reader.get_batch, range(reader.num_record_batches))
    for batch in numbers:
        yield batch
        if hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)

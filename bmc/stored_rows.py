"""Store the rows of a large table in a file; only the offset of each row stays in memory."""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

LARGE = 64 * 2**20
"""Size of a table in bytes from which its rows are stored on disk."""

_SEPARATOR = "\0"  # no text holds a NUL: readers refuse it


class Writer:
    """Write rows one by one into a temporary file; the file is removed when no code refers to it.

    Python's tempfile chooses the folder; the variable TMPDIR sets another.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(buffering=2**20)  # noqa: SIM115  the rows keep it
        self._ends = array("q", [0])

    def append(self, row: tuple[str, ...], label: str) -> None:
        """Write a row of texts and its label; texts and label hold no NUL."""
        record = _SEPARATOR.join((*row, label)).encode()
        self._file.write(record)
        self._ends.append(self._ends[-1] + len(record))

    def close(self) -> None:
        """Remove the file."""
        self._file.close()

    def finish(self) -> tuple[StoredRows, StoredLabels]:
        """Return the written rows and labels, which read from the file."""
        self._file.flush()
        records = _Records(self._file.fileno(), np.frombuffer(self._ends, np.int64), self._file)
        return StoredRows(records), StoredLabels(records)


class _Records:
    """The records in a file: record i has the bytes bounds[i] to bounds[i + 1].

    Args:
        descriptor: descriptor of the open file.
        bounds: int64 (records + 1), byte offsets.
        owner: the temporary file, which is kept open as long as these records exist.
    """

    def __init__(self, descriptor: int, bounds: NDArray[np.int64], owner: object) -> None:
        # No buffer: reads at random offsets would refill it for each row.
        self._file = open(descriptor, "rb", buffering=0, closefd=False)  # noqa: SIM115
        self._owner = owner
        self.bounds = bounds

    def __getitem__(self, number: int) -> list[str]:
        start, end = int(self.bounds[number]), int(self.bounds[number + 1])
        self._file.seek(start)
        return self._file.read(end - start).decode().split(_SEPARATOR)


class StoredRows(Sequence[tuple[str, ...]]):
    """Rows of texts on disk, which are read one by one.

    Args:
        records: the records in the file.
        indices: the records that are rows of this sequence; all records when None.
    """

    def __init__(self, records: _Records, indices: NDArray[np.int32] | None = None) -> None:
        self._records = records
        count = len(records.bounds) - 1
        self._indices = np.arange(count, dtype=np.int32) if indices is None else indices

    def __len__(self) -> int:
        return len(self._indices)

    @overload
    def __getitem__(self, index: int) -> tuple[str, ...]: ...
    @overload
    def __getitem__(self, index: slice) -> StoredRows: ...
    def __getitem__(self, index: int | slice) -> tuple[str, ...] | StoredRows:
        if isinstance(index, slice):
            return StoredRows(self._records, self._indices[index])
        return tuple(self._records[self._indices[index]][:-1])

    def take(self, indices: NDArray[np.int64]) -> StoredRows:
        """Return the rows at these indices, which stay on disk."""
        return StoredRows(self._records, self._indices[indices])

    def sizes(self) -> NDArray[np.int64]:
        """Return the size of each row in bytes."""
        bounds = self._records.bounds
        return bounds[self._indices + 1] - bounds[self._indices]


class StoredLabels(Sequence[str]):
    """The labels of rows on disk; reading them in order is fastest."""

    def __init__(self, records: _Records) -> None:
        self._records = records

    def __len__(self) -> int:
        return len(self._records.bounds) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        if isinstance(index, slice):
            return tuple(self[number] for number in range(*index.indices(len(self))))
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self._records[index % len(self)][-1]

    def __iter__(self) -> Iterator[str]:
        return (self._records[index][-1] for index in range(len(self)))

"""Rows of a large table in a file on disk: only where each one begins stays in memory."""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

LARGE = 64 * 2**20
"""Bytes of a table from which on its rows go to disk."""

_BETWEEN = "\0"  # readers refuse it, so no text holds one


class Writer:
    """Takes rows one by one into a temporary file, which is gone when the rows are.

    The file lies where Python's tempfile puts it: TMPDIR says where.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(buffering=2**20)  # noqa: SIM115  the rows keep it
        self._ends = array("q", [0])

    def append(self, row: tuple[str, ...], label: str) -> None:
        """Write a row of texts and its label; none of them may hold a NUL."""
        record = _BETWEEN.join((*row, label)).encode()
        self._file.write(record)
        self._ends.append(self._ends[-1] + len(record))

    def close(self) -> None:
        """Remove what was written."""
        self._file.close()

    def finish(self) -> tuple[StoredRows, StoredLabels]:
        """Return what was written, ready to be read."""
        self._file.flush()
        records = _Records(self._file.fileno(), np.frombuffer(self._ends, np.int64), self._file)
        return StoredRows(records), StoredLabels(records)


class _Records:
    """The file: record i lies at bounds[i]..bounds[i + 1]."""

    def __init__(self, descriptor: int, bounds: NDArray[np.int64], owner: object) -> None:
        # Without a buffer: a random read would fill it anew for each row.
        self._file = open(descriptor, "rb", buffering=0, closefd=False)  # noqa: SIM115
        self._owner = owner  # the temporary file vanishes with its last reference
        self.bounds = bounds

    def __getitem__(self, number: int) -> list[str]:
        start, end = int(self.bounds[number]), int(self.bounds[number + 1])
        self._file.seek(start)
        return self._file.read(end - start).decode().split(_BETWEEN)


class StoredRows(Sequence[tuple[str, ...]]):
    """Rows of texts on disk, read one by one; a part of them is a list of their places."""

    def __init__(self, records: _Records, places: NDArray[np.int32] | None = None) -> None:
        self._records = records
        count = len(records.bounds) - 1
        self._places = np.arange(count, dtype=np.int32) if places is None else places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, place: int) -> tuple[str, ...]: ...
    @overload
    def __getitem__(self, place: slice) -> StoredRows: ...
    def __getitem__(self, place: int | slice) -> tuple[str, ...] | StoredRows:
        if isinstance(place, slice):
            return StoredRows(self._records, self._places[place])
        return tuple(self._records[self._places[place]][:-1])

    def take(self, places: NDArray[np.int64]) -> StoredRows:
        """Return the rows at these places, still on disk."""
        return StoredRows(self._records, self._places[places])

    def sizes(self) -> NDArray[np.int64]:
        """Return how many bytes each row has."""
        bounds = self._records.bounds
        return bounds[self._places + 1] - bounds[self._places]


class StoredLabels(Sequence[str]):
    """The labels of such rows, to be read in order."""

    def __init__(self, records: _Records) -> None:
        self._records = records

    def __len__(self) -> int:
        return len(self._records.bounds) - 1

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[str, ...]: ...
    def __getitem__(self, place: int | slice) -> str | tuple[str, ...]:
        if isinstance(place, slice):
            return tuple(self[one] for one in range(*place.indices(len(self))))
        if not -len(self) <= place < len(self):
            raise IndexError(place)
        return self._records[place % len(self)][-1]

    def __iter__(self) -> Iterator[str]:
        return (self._records[place][-1] for place in range(len(self)))

"""Samples that an iterable yields: stored once in a temporary file, read again one at a time."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc.errors import DataError, UsageError
from bmc.onnx_models.reading import OnnxFile
from bmc.onnx_models.samples import Arrays, Samples, fingerprint, samples_of, split_labels

MAX_BYTES = 16 << 30
"""Bytes of the temporary file; an iterable may have no end."""


@dataclass(frozen=True)
class _Stored:
    """Where an array lies in the file."""

    start: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class StoredCalls:
    """Calls of a model in a temporary file, which is deleted with this object."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  closed with the object
        weakref.finalize(self, self._file.close)
        self._end = 0
        self._calls: list[dict[str, _Stored]] = []

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[Arrays]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Arrays:
        return {name: self._read(stored) for name, stored in self._calls[index].items()}

    def append(self, call: Arrays) -> None:
        """Store a call.

        Raises:
            UsageError: the file would take more than 16 GiB.
        """
        stored = {}
        for name, array in call.items():
            if self._end + array.nbytes > MAX_BYTES:
                raise UsageError(
                    f"samples: the first {len(self)} take {MAX_BYTES >> 30} GiB: pass fewer, for "
                    "example itertools.islice(samples, 512)"
                )
            self._file.seek(self._end)
            self._file.write(np.ascontiguousarray(array).tobytes())
            stored[name] = _Stored(self._end, array.shape, array.dtype)
            self._end += array.nbytes
        self._calls.append(stored)

    def _read(self, stored: _Stored) -> NDArray[Any]:
        count = int(np.prod(stored.shape, dtype=np.int64))
        self._file.seek(stored.start)
        # A bytearray makes the array writable, as torch.from_numpy wants it.
        data = bytearray(self._file.read(count * stored.dtype.itemsize))
        return np.frombuffer(data, stored.dtype).reshape(stored.shape)


def samples_from(
    file: OnnxFile, items: Iterable[Arrays], reference: str, labels: str | None = None
) -> Samples:
    """Store the samples of an iterable; one of them is in memory at a time.

    Args:
        file: the model.
        items: arrays by input name, of one sample or of several; the batch axis of one sample may
            be left out.
        reference: where the samples come from, for messages.
        labels: name of the array of labels in each item; None where there are no labels.

    Raises:
        UsageError: an item is no mapping, or has no such array of labels.
        DataError: an item does not fit the model's inputs, or there is none.
    """
    calls = StoredCalls()
    values: list[NDArray[Any]] = []
    for index, item in enumerate(items):
        where = f"{reference}[{index}]"
        if not isinstance(item, Mapping):
            raise UsageError(
                f"{where} is a {type(item).__name__}; yield a dictionary of arrays by input name: "
                f"{', '.join(info.name for info in file.inputs)}"
            )
        arrays, truth = dict(item), None
        if labels is not None:
            inputs, truth = split_labels(file, arrays, labels, where)
            arrays = dict(inputs)
        samples = samples_of(file, _with_batch_axis(file, arrays), where)
        if truth is not None:
            truths = np.atleast_1d(truth)
            values += samples.labeled(truths).labels if len(truths) else (truths,)
        for call in samples.calls:
            calls.append(call)
    if not len(calls):
        raise DataError(f"{reference} holds no samples: an iterator yields them only once")
    return Samples(calls, reference, fingerprint(calls), tuple(values))


def _with_batch_axis(file: OnnxFile, arrays: Arrays) -> Arrays:
    """Add the first axis of inputs where every array has one axis less than its input."""
    ranks = {info.name: len(info.shape) for info in file.inputs if info.shape is not None}
    values = {name: np.asarray(array) for name, array in arrays.items()}
    if all(values[name].ndim == rank - 1 for name, rank in ranks.items() if name in values):
        return {name: array[None] if name in ranks else array for name, array in values.items()}
    return values

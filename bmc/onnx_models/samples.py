"""Samples of an ONNX file's inputs: arrays by input name, split into calls of the model."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bmc.arrays import MAX_BYTES, parse_arrays
from bmc.errors import DataError, UnknownError, UsageError
from bmc.inputs.tensors import converted
from bmc.onnx_models.reading import Declared, OnnxFile
from bmc.untrusted import read_bytes

Arrays = Mapping[str, NDArray[Any]]


class Calls(Protocol):
    """Input tensors of each call of a model, in memory or in a file."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Arrays]: ...

    def __getitem__(self, index: int, /) -> Arrays: ...


_SHOWN = 5


@dataclass(frozen=True)
class Samples:
    """Sample inputs: one mapping of input tensors, by name, for each call of the model.

    Args:
        calls: the calls; each tensor has the rank that the model takes.
        reference: the file that the samples were read from, or "generated".
        fingerprint: sha256 of the input arrays.
        labels: labels of each call; none where the samples have no labels.
    """

    calls: Calls
    reference: str
    fingerprint: str
    labels: tuple[NDArray[Any], ...] = ()

    def __len__(self) -> int:
        return len(self.calls)

    def labeled(self, labels: NDArray[Any] | Sequence[Any]) -> Samples:
        """Return the samples with labels, along the first axis of `labels`.

        Args:
            labels: an array, or a sequence of arrays of different shapes, such as boxes: one for
                each call.

        Raises:
            DataError: the number of labels is not a multiple of the number of calls.
        """
        try:
            array = np.asarray(labels)
        except ValueError:  # of different shapes
            if len(labels) != len(self):
                raise DataError(_number_of_labels(labels, len(self), self.reference)) from None
            return replace(self, labels=tuple(np.asarray(each)[None] for each in labels))
        return replace(self, labels=_labels_by_call(array, len(self), self.reference))


def read_samples(file: OnnxFile, path: Path, labels: str | None = None) -> Samples:
    """Read the samples of an .npz file with an array for each input.

    Args:
        file: the model.
        path: an .npz file of plain arrays, named as the model's inputs.
        labels: name of the array of labels; None where there are no labels.

    Raises:
        UnknownError: there is no such file.
        UsageError: it is no .npz file, or has no such array of labels.
        DataError: the arrays do not fit the model's inputs.
        ArtifactError: the file is damaged, or holds more than plain arrays.
    """
    if path.suffix.lower() != ".npz":
        raise UsageError(
            f"--samples is {str(path)!r}; it must be an .npz file with an array for each input: "
            f"{_listed(file.inputs)}; or a table of texts or numbers (.csv), or imagefolder:DIR"
        )
    if not path.is_file():
        raise UnknownError(f"--samples: there is no file {str(path)!r}")
    arrays = parse_arrays(read_bytes(path, "samples", MAX_BYTES, links=True), path)
    if labels is None:
        return samples_of(file, arrays, str(path))
    inputs, values = split_labels(file, arrays, labels, str(path))
    return samples_of(file, inputs, str(path)).labeled(values)


def split_labels(
    file: OnnxFile, arrays: Arrays, name: str, reference: str
) -> tuple[Arrays, NDArray[Any]]:
    """Return the arrays of the inputs, and that of the labels.

    Args:
        file: the model.
        arrays: arrays by name.
        name: name of the labels' array.
        reference: where the arrays come from, for messages.

    Raises:
        UsageError: there is no such array, or it is an input.
    """
    names = {info.name for info in file.inputs}
    if name not in arrays or name in names:
        others = ", ".join(sorted(set(arrays) - names))[:200]
        raise UsageError(
            f"--labels {name!r}: {reference} has no such array besides the inputs; it has "
            f"{others or 'no other array'}"
        )
    return {key: values for key, values in arrays.items() if key != name}, np.asarray(arrays[name])


def samples_of(file: OnnxFile, arrays: Arrays, reference: str) -> Samples:
    """Split arrays into calls of the model.

    An input's array holds a call's tensor at each index of an axis in front of the input's own; or
    rows along the input's first axis; or a tensor that is the same in every call.

    Args:
        file: the model.
        arrays: an array for each input, by name.
        reference: where the arrays come from, for messages.

    Raises:
        DataError: an input has no array, or an array does not fit its input or the others.
    """
    names = [info.name for info in file.inputs]
    if sorted(arrays) != sorted(names):
        raise DataError(
            f"{reference} has the arrays {', '.join(sorted(arrays))[:200] or '(none)'}; "
            f"{file.path} takes {_listed(file.inputs)}"
        )
    parts = {info.name: _parts(info, arrays[info.name], reference) for info in file.inputs}
    _keep_whole(file, arrays, parts)
    counts = {name: len(entries) for name, entries in parts.items() if len(entries) != 1}
    if len(set(counts.values())) > 1:
        numbers = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise DataError(f"{reference}: the inputs have different numbers of samples: {numbers}")
    number = next(iter(counts.values()), 1)
    if not number:
        raise DataError(f"{reference} holds no samples")
    calls = tuple(
        {name: part[0 if len(part) == 1 else index] for name, part in parts.items()}
        for index in range(number)
    )
    return Samples(calls, reference, fingerprint(calls))


def tensors_of(file: OnnxFile, row: Any) -> dict[str, NDArray[Any]]:
    """Return the input tensors of a call, in the types that the model takes.

    Args:
        file: the model.
        row: an array, or what numpy makes one of, for each input, by name.

    Raises:
        DataError: it is no mapping of the inputs' names, or values do not fit a type.
    """
    takes = f"{file.path} takes {_listed(file.inputs)}"
    if not isinstance(row, Mapping):
        raise DataError(f"a row is a {type(row).__name__}, not arrays by input name; {takes}")
    dtypes = {info.name: info.dtype for info in file.inputs}
    if sorted(row) != sorted(dtypes):
        raise DataError(f"a row has the arrays {', '.join(map(str, row))[:200]}; {takes}")
    return {name: converted(row[name], name, dtype, "the row") for name, dtype in dtypes.items()}


def _labels_by_call(labels: NDArray[Any], calls: int, reference: str) -> tuple[NDArray[Any], ...]:
    """Split labels into those of each call; a call has as many rows as its fixed batch axis.

    Raises:
        DataError: the number of labels is not a multiple of the number of calls.
    """
    count = len(labels) if labels.ndim else 0
    if not count or count % calls:
        raise DataError(_number_of_labels(labels if count else (), calls, reference))
    rows = count // calls
    return tuple(labels[start : start + rows] for start in range(0, count, rows))


def _number_of_labels(labels: Sequence[Any] | NDArray[Any], calls: int, reference: str) -> str:
    return f"{reference}: {len(labels)} labels for {calls} samples; give one for each row"


def fingerprint(calls: Iterable[Arrays]) -> str:
    """Return the sha256 of the names, dtypes, shapes and values of samples."""
    digest = hashlib.sha256()
    for call in calls:
        for name, array in sorted(call.items()):
            digest.update(f"{name} {array.dtype.name} {array.shape} ".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _parts(info: Declared, values: NDArray[Any], reference: str) -> list[NDArray[Any]]:
    """Return the tensor of each call; a single tensor is the same in every call."""
    array = converted(values, info.name, info.dtype, reference)
    if array.ndim and len(array) and not array.size:
        raise DataError(
            f"{reference}: {info.name} has shape {array.shape}, and so no values: a bundle takes "
            "tensors with values, such as those of a later step"
        )
    bad = ~np.isfinite(array) if array.dtype.kind == "f" else np.zeros(array.shape, bool)
    if bad.any():
        index = np.argwhere(bad)[0].tolist()
        raise DataError(f"{reference}: {info.name} is NaN or infinite at {index}")
    shape = info.shape if info.shape is not None else ("rows", *array.shape[1:])
    parts = _split(array, shape)
    if parts is None or not all(_fits(part, shape) for part in parts[:1]):
        sizes_text = ", ".join(str(size) for size in shape)
        raise DataError(
            f"{reference}: {info.name} has shape {array.shape}; the model takes ({sizes_text}): "
            "stack the samples along its first axis, or along an additional leading axis"
        )
    return parts


def _keep_whole(file: OnnxFile, arrays: Arrays, parts: dict[str, list[NDArray[Any]]]) -> None:
    """Take a vector whole, in place, where its length is not the other inputs' number of rows.

    The only axis of an input may count rows, or be a signal of any length.
    """
    vectors = {
        info.name
        for info in file.inputs
        if info.shape is not None and len(info.shape) == 1 == np.ndim(arrays[info.name])
    }
    counts = {len(part) for name, part in parts.items() if name not in vectors}
    for info in file.inputs:
        if info.name in vectors and len(parts[info.name]) not in counts - {1}:
            whole = converted(arrays[info.name], info.name, info.dtype, "samples")
            if not whole.size:
                raise DataError(f"samples: {info.name} has shape {whole.shape}, and so no values")
            parts[info.name] = [whole]


def _split(array: NDArray[Any], shape: Sequence[int | str]) -> list[NDArray[Any]] | None:
    if array.ndim == len(shape) + 1:
        return list(array)
    if array.ndim != len(shape):
        return None
    if not shape:
        return [array]
    first = shape[0]
    if isinstance(first, str):
        return [array[index : index + 1] for index in range(len(array))]
    if first < 1 or len(array) % first:
        return None
    return [array[start : start + first] for start in range(0, len(array), first)]


def _fits(part: NDArray[Any], shape: Sequence[int | str]) -> bool:
    sizes = zip(part.shape, shape, strict=True)
    return all(isinstance(size, str) or size == actual for actual, size in sizes)


def _listed(inputs: Sequence[Declared]) -> str:
    return ", ".join(
        f"{info.name} {info.dtype} ({', '.join(map(str, info.shape or ('any',)))})"
        for info in inputs[:_SHOWN]
    )

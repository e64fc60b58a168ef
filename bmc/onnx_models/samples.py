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
from bmc.onnx_models.reading import Declared, OnnxFile, constant_of
from bmc.untrusted import read_bytes

Arrays = Mapping[str, NDArray[Any]]


class Calls(Protocol):
    """Input tensors of each call of a model, in memory or in a file."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Arrays]: ...

    def __getitem__(self, index: int, /) -> Arrays: ...


GENERATED = "generated"
_CALLS = 16  # of generated samples
_LENGTH = 32  # of a dynamic axis of generated samples
_PIXELS = 224
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

    def labeled(self, labels: NDArray[Any]) -> Samples:
        """Return the samples with labels, along the first axis of `labels`.

        Raises:
            DataError: the number of labels is not a multiple of the number of calls.
        """
        return replace(self, labels=_labels_by_call(labels, len(self), self.reference))


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


def _labels_by_call(labels: NDArray[Any], calls: int, reference: str) -> tuple[NDArray[Any], ...]:
    """Split labels into those of each call; a call has as many rows as its fixed batch axis.

    Raises:
        DataError: the number of labels is not a multiple of the number of calls.
    """
    count = len(labels) if labels.ndim else 0
    if not count or count % calls:
        raise DataError(f"{reference}: {count} labels for {calls} samples; give one for each row")
    rows = count // calls
    return tuple(labels[start : start + rows] for start in range(0, count, rows))


def fingerprint(calls: Iterable[Arrays]) -> str:
    """Return the sha256 of the names, dtypes, shapes and values of samples."""
    digest = hashlib.sha256()
    for call in calls:
        for name, array in sorted(call.items()):
            digest.update(f"{name} {array.dtype.name} {array.shape} ".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def generate(file: OnnxFile, count: int = _CALLS) -> Samples:
    """Generate samples: floats from a normal distribution, integers below the table they index.

    Dynamic axes have 32 entries, those of images 224, and a first axis 1. Masks are all ones.

    Args:
        file: the model.
        count: number of calls.
    """
    generator = np.random.default_rng(0)
    tables = dict(_indexed(file))
    calls = tuple(
        {info.name: _generated(info, tables.get(info.name), generator) for info in file.inputs}
        for _ in range(count)
    )
    return Samples(calls, GENERATED, fingerprint(calls))


def _parts(info: Declared, values: NDArray[Any], reference: str) -> list[NDArray[Any]]:
    """Return the tensor of each call; a single tensor is the same in every call."""
    array = converted(values, info.name, info.dtype, reference)
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
        if info.shape is not None and len(info.shape) == 1 == arrays[info.name].ndim
    }
    counts = {len(part) for name, part in parts.items() if name not in vectors}
    for info in file.inputs:
        if info.name in vectors and len(parts[info.name]) not in counts - {1}:
            whole = converted(arrays[info.name], info.name, info.dtype, "samples")
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


def _indexed(file: OnnxFile) -> Iterator[tuple[str, int]]:
    """Yield inputs that index a constant table, with the number of its rows."""
    for value in file.graph.inputs:
        for node, index in value.uses():
            if node.op_type == "Gather" and index == 1:
                table = constant_of(node.inputs[0])
                if table is not None and table.shape and isinstance(table.shape[0], int):
                    yield str(value.name), table.shape[0]


def _generated(info: Declared, table: int | None, generator: np.random.Generator) -> NDArray[Any]:
    dtype, name = np.dtype(info.dtype), info.name.lower()
    if info.shape is None:
        raise UsageError(
            f"input {info.name!r} declares no shape, so none is generated: pass --samples ROWS.npz"
        )
    shape = tuple(_size(info.shape, index) for index in range(len(info.shape)))
    if dtype.kind == "f":
        return np.asarray(generator.standard_normal(shape), dtype)
    if dtype.kind == "b" or "mask" in name:
        return np.ones(shape, dtype)
    if table is None and "type" in name:
        return np.zeros(shape, dtype)
    return np.asarray(generator.integers(0, table or 2, shape), dtype)


def _size(shape: Sequence[int | str], index: int) -> int:
    size = shape[index]
    if isinstance(size, int):
        return size
    if index == 0:
        return 1
    return _PIXELS if len(shape) == 4 else _LENGTH


def _listed(inputs: Sequence[Declared]) -> str:
    return ", ".join(
        f"{info.name} {info.dtype} ({', '.join(map(str, info.shape or ('any',)))})"
        for info in inputs[:_SHOWN]
    )

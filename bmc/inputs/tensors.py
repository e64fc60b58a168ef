"""The encoder of ONNX files of other tools: a row is the model's input tensors, by name.

A row has the shapes that the model takes, with its batch axis where there is one. Nothing is
preprocessed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc.arrays import DTYPES
from bmc.errors import ArtifactError, DataError, SettingError
from bmc.inputs import Arrays, Many, Row, TensorInfo, whole_number

BATCH = "batch"
"""Name of the first axis of every tensor of a model whose rows are independent of each other."""
_MAX_INPUTS = 16
_MAX_AXES = 8
_MAX_SIZE = 2**24
_MAX_VALUE = 2**63
_SEED = 0


@dataclass(frozen=True)
class TensorInput:
    """One input of a model.

    Args:
        name: name of the tensor.
        dtype: name of its numpy dtype.
        shape: size of each axis; a name for a dynamic axis.
        low: smallest value in the samples.
        high: largest value in the samples; random inputs are drawn from this range.

    Raises:
        SettingError: a value is outside its range.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    low: float
    high: float

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise SettingError(f"{self.name} is {self.dtype:.40}; possible: {', '.join(DTYPES)}")
        sizes = [size for size in self.shape if isinstance(size, int)]
        if len(self.shape) > _MAX_AXES or not all(0 < size <= _MAX_SIZE for size in sizes):
            raise SettingError(f"{self.name} has the invalid shape {self.shape}")
        if not -_MAX_VALUE <= self.low <= self.high <= 2 * _MAX_VALUE:
            raise SettingError(f"{self.name} has the invalid range {self.low}..{self.high}")


@dataclass(frozen=True)
class AxisSize:
    """Sizes of a dynamic axis.

    Args:
        typical: size in the first sample.
        largest: largest size in the samples.

    Raises:
        SettingError: a size is outside its range.
    """

    typical: int
    largest: int

    def __post_init__(self) -> None:
        if not 1 <= self.typical <= self.largest <= _MAX_SIZE:
            raise SettingError(f"an axis has the invalid sizes {self.typical}, {self.largest}")


class TensorsEncoder:
    """Check the tensors of a row, and pass them on.

    Args:
        inputs: the inputs of the model.
        axes: sizes of each dynamic axis except the batch, by the axis' name.

    Raises:
        SettingError: there are too many inputs, two have the same name, or an axis has no size.
    """

    kind = "tensors"

    def __init__(self, inputs: Sequence[TensorInput], axes: Mapping[str, AxisSize]) -> None:
        self.inputs = tuple(inputs)
        self.axes = dict(axes)
        if not 1 <= len(self.inputs) <= _MAX_INPUTS:
            raise SettingError(f"{len(self.inputs)} inputs; 1 to {_MAX_INPUTS} are possible")
        if len({info.name for info in self.inputs}) < len(self.inputs):
            raise SettingError("two inputs have the same name")
        names = {size for info in self.inputs for size in info.shape if isinstance(size, str)}
        if missing := names - self.axes.keys() - {BATCH}:
            raise SettingError(f"the axes {', '.join(sorted(missing))} have no sizes")

    @property
    def has_batch(self) -> bool:
        """Whether the first axis of every input counts rows."""
        return all(info.shape[:1] == (BATCH,) for info in self.inputs)

    def encode(self, rows: Many) -> list[Arrays]:
        """Check rows, and convert their arrays to the dtypes of the inputs.

        Args:
            rows: each a mapping of arrays by the inputs' names, a tuple of arrays in the order of
                the inputs, or the array of the only input.

        Raises:
            DataError: a row lacks an input, or an array has another shape or type than the model
                takes; the message counts rows from 1.
        """
        return [self._row(row, number) for number, row in enumerate(rows, start=1)]

    def batch(self, encoded: Many, indices: Sequence[int]) -> Arrays:
        """Return the tensors of a row; several rows are put together along the batch axis.

        Raises:
            DataError: there are several rows, and the model takes one at a time, or their shapes
                differ.
        """
        rows: list[Arrays] = [encoded[index] for index in indices]
        if len(rows) == 1:
            return rows[0]
        if not self.has_batch:
            raise DataError(f"{len(rows)} rows, and the model has no batch axis: pass one row")
        try:
            return {
                info.name: np.concatenate([row[info.name] for row in rows]) for info in self.inputs
            }
        except ValueError as error:
            raise DataError(f"rows of different shapes cannot be batched: {error}") from error

    def lengths(self, encoded: Many) -> NDArray[np.int64]:
        """Return 1 for each row."""
        return np.ones(len(encoded), np.int64)

    def tensors(self) -> tuple[TensorInfo, ...]:
        """Return the name, dtype and shape of each input."""
        return tuple(TensorInfo(info.name, info.dtype, info.shape) for info in self.inputs)

    def longest(self) -> dict[str, int]:
        """Return the largest size, in the samples, of each dynamic axis except the batch."""
        return {name: size.largest for name, size in self.axes.items()}

    def probes(self, max_rows: int) -> list[Arrays]:
        """Return random inputs of the first sample's shape, for one row and for several."""
        generator = np.random.default_rng(_SEED)
        counts = sorted({1, min(3, max_rows)}) if self.has_batch else [1]
        return [
            {info.name: _random(info, self._shape(info, rows), generator) for info in self.inputs}
            for rows in counts
        ]

    def sized(self, golden: Arrays, rows: int, length: int) -> Arrays:
        """Repeat the first golden row; `length` is not used.

        Raises:
            SettingError: the model computes one call at a time, and `rows` is larger than 1.
        """
        if not self.has_batch:
            if rows > 1:
                raise SettingError(f"batch is {rows}, and the model has no batch axis: use batch 1")
            return golden
        return {name: np.repeat(array[:1], rows, axis=0) for name, array in golden.items()}

    def example(self) -> Row:
        """Return a row that is filled with the smallest value of each input."""
        return {
            info.name: np.full(self._shape(info, 1), info.low, info.dtype) for info in self.inputs
        }

    def save(self, folder: Path) -> None:
        """Write no file: the settings are enough."""

    def to_json(self) -> dict[str, Any]:
        """Return the settings as a JSON object."""
        return {
            "kind": self.kind,
            "inputs": [{**vars(info), "shape": list(info.shape)} for info in self.inputs],
            "axes": {name: vars(size) for name, size in self.axes.items()},
        }

    def _shape(self, info: TensorInput, rows: int) -> tuple[int, ...]:
        return tuple(
            size if isinstance(size, int) else rows if size == BATCH else self.axes[size].typical
            for size in info.shape
        )

    def _row(self, row: Row, number: int) -> Arrays:
        names = [info.name for info in self.inputs]
        arrays = row if isinstance(row, tuple) else (row,)
        if isinstance(row, Mapping):
            if sorted(map(str, row)) != sorted(names):
                raise DataError(
                    f"row {number} has the arrays {_listed(row)}; the model takes {_listed(names)}"
                )
            by_name = {str(name): values for name, values in row.items()}
            arrays = tuple(by_name[name] for name in names)
        if len(arrays) != len(names):
            raise DataError(
                f"row {number} has {len(arrays)} arrays; the model takes {_listed(names)}"
            )
        return {
            info.name: checked(array, info, f"row {number}")
            for info, array in zip(self.inputs, arrays, strict=True)
        }


def checked(values: Any, info: TensorInput | TensorInfo, where: str) -> NDArray[Any]:
    """Convert values to an array of an input's dtype and shape.

    Args:
        values: anything that numpy makes an array of numbers of.
        info: the input.
        where: name of the row, for messages.

    Raises:
        DataError: the array has another shape, or its numbers do not fit the dtype.
    """
    array = converted(values, info.name, info.dtype, where)
    fits = array.ndim == len(info.shape) and all(
        size == expected
        for size, expected in zip(array.shape, info.shape, strict=True)
        if isinstance(expected, int)
    )
    if not fits or not array.size:
        expected = ", ".join(str(size) for size in info.shape)
        raise DataError(
            f"{where}: {info.name} has shape {array.shape}; the model takes ({expected})"
        )
    return array


def converted(values: Any, name: str, dtype: str, where: str) -> NDArray[Any]:
    """Convert values to an array of a dtype; integers become floats, floats never integers.

    Raises:
        DataError: the values are no numbers, or numbers that the dtype does not hold.
    """
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{where}: {name} is not an array ({error})") from error
    wanted = np.dtype(dtype)
    kinds = {"f": "buif", "b": "b"}.get(wanted.kind, "bui")
    if array.dtype.kind not in kinds:
        raise DataError(f"{where}: {name} is {array.dtype}; the model takes {dtype}")
    with np.errstate(over="ignore", invalid="ignore"):
        cast: NDArray[Any] = array.astype(wanted)
    lost = np.isfinite(array) & ~np.isfinite(cast) if wanted.kind == "f" else cast != array
    if lost.any():
        raise DataError(f"{where}: {name} holds values outside the range of {dtype}")
    return cast


def _random(
    info: TensorInput, shape: tuple[int, ...], generator: np.random.Generator
) -> NDArray[Any]:
    dtype = np.dtype(info.dtype)
    if dtype.kind == "f":
        return generator.uniform(info.low, info.high, shape).astype(dtype)
    return generator.integers(int(info.low), int(info.high), shape, endpoint=True).astype(dtype)


def _listed(names: Any) -> str:
    listed = ", ".join(str(name) for name in names)[:200]
    return listed.encode("utf-8", "backslashreplace").decode()  # JSON may have lone surrogates


def load(settings: Mapping[str, Any], folder: Path) -> TensorsEncoder:
    """Create the encoder of a bundle.

    Raises:
        ArtifactError: the settings are malformed.
    """
    inputs, axes = settings.get("inputs"), settings.get("axes")
    if not isinstance(inputs, list) or not isinstance(axes, dict):
        raise ArtifactError("preprocessing needs a list of inputs and an object of axes")
    try:
        return TensorsEncoder(
            [_read_input(entry) for entry in inputs],
            {str(name): _read_axis(entry) for name, entry in axes.items()},
        )
    except SettingError as error:
        raise ArtifactError(f"preprocessing: {error}") from error


def _read_axis(entry: Any) -> AxisSize:
    if not isinstance(entry, dict):
        raise ArtifactError(f"preprocessing: the sizes of an axis are {entry!r:.60}")
    return AxisSize(whole_number(entry, "typical"), whole_number(entry, "largest"))


def _read_input(entry: Any) -> TensorInput:
    if not isinstance(entry, dict):
        raise ArtifactError(f"preprocessing: an input is {entry!r:.60}")
    name, dtype, shape = (entry.get(key) for key in ("name", "dtype", "shape"))
    low, high = entry.get("low"), entry.get("high")
    if type(name) is not str or type(dtype) is not str or type(shape) is not list:
        raise ArtifactError(f"preprocessing: an input is {entry!r:.60}")
    if not all(type(size) in (int, str) for size in shape):
        raise ArtifactError(f"preprocessing: {name!r:.60} has the shape {shape!r:.60}")
    numbers = [value for value in (low, high) if isinstance(value, int | float)]
    if len(numbers) < 2 or not all(math.isfinite(value) for value in numbers):
        raise ArtifactError(f"preprocessing: {name!r:.60} has no range of values")
    return TensorInput(name, dtype, tuple(shape), *map(float, numbers))

"""The encoder of arrays: a row is one or several tensors of fixed shapes, for any network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc.errors import ArtifactError, DataError, SettingError
from bmc.inputs import Arrays, Many, Row, TensorInfo

DTYPES = ("float32", "int64")
_MAX_INPUTS = 16
_MAX_AXES = 7
_MAX_ROW_VALUES = 2**26
_MAX_VALUE = 2**62


@dataclass(frozen=True)
class ArrayInput:
    """One input of a network.

    Args:
        name: name of the tensor.
        dtype: "float32" or "int64".
        shape: shape of a row, without the batch.
        low: smallest value in the training rows.
        high: largest value in the training rows; random inputs, such as indices of an embedding,
            are drawn from this range.

    Raises:
        SettingError: a value is outside its range.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    low: float
    high: float

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise SettingError(f"{self.name} is {self.dtype}; it must be {' or '.join(DTYPES)}")
        if len(self.shape) > _MAX_AXES or math.prod(self.shape) > _MAX_ROW_VALUES:
            raise SettingError(f"a row of {self.name} has shape {self.shape}, which is too large")
        if any(size < 1 for size in self.shape):
            raise SettingError(f"a row of {self.name} has shape {self.shape}, which is empty")
        if not -_MAX_VALUE <= self.low <= self.high <= _MAX_VALUE:
            raise SettingError(f"{self.name} has the invalid range {self.low}..{self.high}")


class ArrayEncoder:
    """Stack rows into tensors; a row is an array, or a tuple of arrays for several inputs.

    Args:
        inputs: the inputs of the network, in the order of the arrays in a row.

    Raises:
        SettingError: there are too many inputs, or two have the same name.
    """

    kind = "array"

    def __init__(self, inputs: Sequence[ArrayInput]) -> None:
        self.inputs = tuple(inputs)
        if not 1 <= len(self.inputs) <= _MAX_INPUTS:
            raise SettingError(f"{len(self.inputs)} inputs; 1 to {_MAX_INPUTS} are possible")
        if len({info.name for info in self.inputs}) < len(self.inputs):
            raise SettingError("two inputs have the same name")

    def encode(self, rows: Many) -> list[tuple[NDArray[Any], ...]]:
        """Convert every row to a tuple of arrays with the dtypes of the inputs.

        Raises:
            DataError: a row has another number of arrays, another shape, or values that are not
                finite; the message counts rows from 1.
        """
        return [self._row(row, number) for number, row in enumerate(rows, start=1)]

    def batch(self, encoded: Many, indices: Sequence[int]) -> Arrays:
        """Stack the rows at these indices into a tensor (rows, ...) for each input."""
        return {
            info.name: np.stack([encoded[index][number] for index in indices])
            for number, info in enumerate(self.inputs)
        }

    def lengths(self, encoded: Many) -> NDArray[np.int64]:
        """Return 1 for each row: all rows have the same size."""
        return np.ones(len(encoded), np.int64)

    def tensors(self) -> tuple[TensorInfo, ...]:
        """Return the name, dtype and shape of each tensor that `batch` returns."""
        return tuple(
            TensorInfo(info.name, info.dtype, ("batch", *info.shape)) for info in self.inputs
        )

    def longest(self) -> dict[str, int]:
        """Return {}: only the batch is dynamic."""
        return {}

    def probes(self, max_rows: int) -> list[Arrays]:
        """Return random inputs of one row and of several, within the range of the training rows."""
        generator = np.random.default_rng(0)
        return [
            {info.name: _random_input(info, rows, generator) for info in self.inputs}
            for rows in sorted({1, min(3, max_rows), min(5, max_rows)})
        ]

    def sized(self, golden: Arrays, rows: int, length: int) -> Arrays:
        """Repeat the first golden row."""
        return {name: np.repeat(array[:1], rows, axis=0) for name, array in golden.items()}

    def example(self) -> Row:
        """Return a row that is filled with the smallest value of each input."""
        arrays = tuple(np.full(info.shape, info.low, info.dtype) for info in self.inputs)
        return arrays if len(arrays) > 1 else arrays[0]

    def save(self, folder: Path) -> None:
        """Write no file: the settings are enough."""

    def to_json(self) -> dict[str, Any]:
        """Return the settings as a JSON object."""
        inputs = [{**asdict(info), "shape": list(info.shape)} for info in self.inputs]
        return {"kind": self.kind, "inputs": inputs}

    def _row(self, row: Row, number: int) -> tuple[NDArray[Any], ...]:
        arrays = row if isinstance(row, tuple) else (row,)
        if len(arrays) != len(self.inputs):
            names = ", ".join(info.name for info in self.inputs)
            raise DataError(f"row {number} has {len(arrays)} arrays; the network takes {names}")
        return tuple(
            _checked(array, info, number) for array, info in zip(arrays, self.inputs, strict=True)
        )


def _checked(values: Any, info: ArrayInput, number: int) -> NDArray[Any]:
    """Convert values to an array of an input's dtype.

    Raises:
        DataError: the array has another shape, or a value is masked or not a finite number.
    """
    if np.ma.is_masked(values):
        raise DataError(f"row {number}: {info.name} has masked values; fill them first")
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"row {number}: {info.name} is not an array ({error})") from error
    kinds = "bui" if info.dtype == "int64" else "buif"
    if array.dtype.kind not in kinds:
        raise DataError(f"row {number}: {info.name} is {array.dtype}; it must be {info.dtype}")
    if array.shape != info.shape:
        raise DataError(
            f"row {number}: {info.name} has shape {array.shape}; the network takes {info.shape}"
        )
    with np.errstate(over="ignore"):
        cast: NDArray[Any] = array.astype(info.dtype)
    if not np.isfinite(cast).all():
        raise DataError(f"row {number}: {info.name} holds numbers that are not finite in float32")
    if info.dtype == "int64" and (cast != array).any():
        raise DataError(f"row {number}: {info.name} holds numbers outside the range of int64")
    return cast


def _random_input(info: ArrayInput, rows: int, generator: np.random.Generator) -> NDArray[Any]:
    shape = (rows, *info.shape)
    if info.dtype == "int64":
        return generator.integers(int(info.low), int(info.high) + 1, shape, np.int64)
    return generator.uniform(info.low, info.high, shape).astype(np.float32)


def load(settings: Mapping[str, Any], folder: Path) -> ArrayEncoder:
    """Create the encoder of a model directory or bundle.

    Raises:
        ArtifactError: the settings are malformed.
    """
    entries = settings.get("inputs")
    if not isinstance(entries, list) or len(entries) > _MAX_INPUTS:
        raise ArtifactError(f"preprocessing needs a list of inputs; it is {entries!r:.60}")
    try:
        return ArrayEncoder([_input(entry) for entry in entries])
    except SettingError as error:
        raise ArtifactError(f"preprocessing: {error}") from error


def _input(entry: Any) -> ArrayInput:
    types = {"name": str, "dtype": str, "shape": list}
    has_types = isinstance(entry, dict) and all(
        type(entry.get(key)) is kind for key, kind in types.items()
    )
    if not has_types or not all(type(size) is int for size in entry["shape"]):
        raise ArtifactError(f"preprocessing: an input is {entry!r:.60}")
    low, high = entry.get("low"), entry.get("high")
    if type(low) not in (int, float) or type(high) not in (int, float):
        raise ArtifactError(f"preprocessing: {entry['name']:.60} lies in {low!r:.20}..{high!r:.20}")
    return ArrayInput(entry["name"], entry["dtype"], tuple(entry["shape"]), low, high)

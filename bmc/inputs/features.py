"""The encoder of tables of numbers: named columns become one standardized tensor.

Missing values take the median of the training rows. Each column is then shifted and scaled to mean
0 and standard deviation 1 in the training rows; a column that is constant there becomes 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc import console
from bmc.errors import ArtifactError, DataError, SettingError
from bmc.inputs import Arrays, Many, Row, TensorInfo, numbers

MAX_COLUMNS = 2**14
LARGEST = 1e30
"""Largest magnitude of a value in training rows, whose squares float64 can sum."""
_LISTED = 6
_WITHOUT_VALUE = ("NAType", "NaTType")  # pandas' own words for a missing value
_FORMS = "a dictionary by column, or a tuple or an array in the order of the columns"


@dataclass(frozen=True)
class FeatureSettings:
    """The columns of a model, and how each is standardized: (value - mean) / scale.

    Args:
        columns: names of the columns, in the order of the tensor.
        mean: value to subtract from each column.
        scale: value by which each column is then divided; 0 for a column that was constant in the
            training rows, which becomes 0.
        median: value that stands in for a missing one.

    Raises:
        SettingError: there is no column or a name twice, or a value is outside its range.
    """

    columns: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    median: tuple[float, ...]

    def __post_init__(self) -> None:
        count = len(self.columns)
        if not 1 <= count <= MAX_COLUMNS:
            raise SettingError(f"{count} feature columns; a model takes 1 to {MAX_COLUMNS}")
        if len(set(self.columns)) < count:
            raise SettingError("two feature columns have the same name")
        if not len(self.mean) == len(self.scale) == len(self.median) == count:
            raise SettingError(f"mean, scale and median need a number for each of {count} columns")
        if not all(value >= 0 for value in self.scale):
            raise SettingError("the scale of a column is negative")


class FeatureEncoder:
    """Turn rows of named numbers into one standardized tensor.

    Args:
        settings: the columns, and how each is standardized.
    """

    kind = "features"

    def __init__(self, settings: FeatureSettings) -> None:
        self.settings = settings
        self._indices = {name: index for index, name in enumerate(settings.columns)}

    def encode(self, rows: Many) -> NDArray[np.float32]:
        """Return the standardized rows, float32 (rows, columns).

        A row is a mapping by column (further keys are ignored), or a tuple or an array in the order
        of the columns. None and NaN are missing values.

        Raises:
            DataError: a row lacks a column or has another number of them, or a value is no number
                or infinite; the message counts rows from 1.
        """
        settings = self.settings
        values = self.values_of(rows)
        values = np.where(np.isnan(values), np.array(settings.median), values)
        scale = np.array(settings.scale)
        with np.errstate(over="ignore"):
            shifted = (values - np.array(settings.mean)) / np.where(scale > 0, scale, 1.0)
            standardized = np.where(scale > 0, shifted, 0.0).astype(np.float32)
        self._check(
            ~np.isfinite(standardized), values, "standardized, it overflows float32; check its unit"
        )
        return standardized

    def values_of(self, rows: Many) -> NDArray[np.float64]:
        """Return the rows as they are, float64 (rows, columns), NaN where a value is missing.

        Raises:
            DataError: a row does not fit; see `encode`.
        """
        values = np.empty((len(rows), len(self.settings.columns)))
        if isinstance(rows, np.ndarray) and rows.shape == values.shape and _holds_numbers(rows):
            values[:] = np.ma.filled(rows.astype(np.float64), np.nan)  # a masked value is missing
        else:
            for number, row in enumerate(rows, start=1):
                values[number - 1] = self._values(row, number)
        self._check(np.isinf(values), values, "give a finite number, or None where it is missing")
        return values

    def batch(self, encoded: Many, indices: Sequence[int]) -> Arrays:
        """Return the rows at these indices as `features`: float32 (rows, columns)."""
        return {"features": np.asarray(encoded)[np.asarray(indices, np.int64)]}

    def lengths(self, encoded: Many) -> NDArray[np.int64]:
        """Return 1 for each row: all rows have the same size."""
        return np.ones(len(encoded), np.int64)

    def tensors(self) -> tuple[TensorInfo, ...]:
        """Return the name, dtype and shape of the tensor that `batch` returns."""
        return (TensorInfo("features", "float32", ("batch", len(self.settings.columns))),)

    def longest(self) -> dict[str, int]:
        """Return {}: only the batch is dynamic."""
        return {}

    def probes(self, max_rows: int) -> list[Arrays]:
        """Return random inputs of one row and of several."""
        generator = np.random.default_rng(0)
        columns = len(self.settings.columns)
        return [
            {"features": generator.normal(size=(rows, columns)).astype(np.float32)}
            for rows in sorted({1, min(3, max_rows), min(5, max_rows)})
        ]

    def sized(self, golden: Arrays, rows: int, length: int) -> Arrays:
        """Repeat the first golden row."""
        return {"features": np.repeat(golden["features"][:1], rows, axis=0)}

    def example(self) -> Row:
        """Return the row of the medians, by column."""
        return dict(zip(self.settings.columns, self.settings.median, strict=True))

    def save(self, folder: Path) -> None:
        """Write no file: the settings are enough."""

    def to_json(self) -> dict[str, Any]:
        """Return the settings as a JSON object."""
        settings = {name: list(values) for name, values in asdict(self.settings).items()}
        return {"kind": self.kind, **settings}

    def _values(self, row: Row, number: int) -> list[float]:
        """Return the numbers of a row in the order of the columns, NaN for a missing one."""
        columns = self.settings.columns
        if hasattr(row, "keys") and hasattr(row, "__getitem__"):
            keys = {str(key): key for key in list(row.keys())}
            for name in columns:
                if name not in keys:
                    raise DataError(
                        f"row {number} has no column {name!r:.60}; the model takes "
                        f"{listed(columns)}. None stands for a missing value"
                    )
            cells = [row[keys[name]] for name in columns]
        elif isinstance(row, tuple | list | np.ndarray) and _is_flat(row):
            cells = list(row)
            if len(cells) != len(columns):
                raise DataError(
                    f"row {number} has {len(cells)} values; the model takes {len(columns)}: "
                    f"{listed(columns)}"
                )
        else:
            raise DataError(
                f"row {number} is {_shown(row)}; a row of numbers is {_FORMS}, and a list holds "
                "several rows"
            )
        values = []
        for cell, name in zip(cells, columns, strict=True):
            value = number_of(cell)
            if value is None:
                raise DataError(
                    f"row {number}, column {name!r:.60} holds {cell!r:.40} "
                    f"({type(cell).__name__}); the model takes numbers, and None for a missing one"
                )
            values.append(value)
        return values

    def _check(self, bad: NDArray[np.bool_], values: NDArray[np.float64], way_out: str) -> None:
        """Refuse a value, by its row and column.

        Raises:
            DataError: a value is bad.
        """
        if bad.any():
            row, column = (int(index) for index in np.argwhere(bad)[0])
            name = self.settings.columns[column]
            raise DataError(
                f"row {row + 1}, column {name!r:.60} has {values[row, column]:g}; {way_out}"
            )


def encoder_for(rows: Many, columns: Sequence[str]) -> FeatureEncoder:
    """Create an encoder that standardizes each column of the training rows.

    Args:
        rows: training rows, arrays (columns), NaN where a value is missing.
        columns: names of the columns.

    Raises:
        DataError: a column has no value in the training rows, or one that is too large.
    """
    values = np.asarray(rows, np.float64)
    medians = []
    for name, column in zip(columns, values.T, strict=True):
        present = column[~np.isnan(column)]
        if not len(present):
            raise DataError(
                f"column {name!r:.60} has no value in the training rows; leave it out of --features"
            )
        if not np.abs(present).max() <= LARGEST:
            raise DataError(
                f"column {name!r:.60} has {present[np.abs(present).argmax()]:g}; values up to "
                f"{LARGEST:g} can be standardized: scale the column"
            )
        medians.append(float(np.median(present)))
    filled = np.where(np.isnan(values), np.array(medians), values)
    is_constant = filled.min(axis=0) == filled.max(axis=0)
    if is_constant.any():
        names = [name for name, flag in zip(columns, is_constant, strict=True) if flag]
        console.note(f"columns that are constant in the training rows are ignored: {listed(names)}")
    scale = np.where(is_constant, 0.0, filled.std(axis=0))
    mean = tuple(filled.mean(axis=0).tolist())
    settings = FeatureSettings(tuple(columns), mean, tuple(scale.tolist()), tuple(medians))
    return FeatureEncoder(settings)


def number_of(value: Any) -> float | None:
    """Return a cell as a number: NaN for a missing value, None for what is no number."""
    if value is None or type(value).__name__ in _WITHOUT_VALUE:
        return math.nan
    if isinstance(value, np.datetime64 | np.timedelta64):  # nanoseconds would become a float
        return math.nan if np.isnat(value) else None
    if isinstance(value, str | bytes):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
    except OverflowError:  # a whole number beyond float64
        return math.inf


def is_frame(rows: Any) -> bool:
    """Tell whether rows are a data frame, of pandas or polars."""
    return hasattr(rows, "to_dict") and hasattr(rows, "columns")


def rows_of_frame(frame: Any) -> list[dict[str, Any]]:
    """Return the rows of a data frame as dictionaries by column."""
    rows: list[dict[str, Any]]
    rows = frame.to_dicts() if hasattr(frame, "to_dicts") else frame.to_dict("records")
    return rows


def listed(names: Sequence[str]) -> str:
    """Return the first names of columns, and how many more there are."""
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(f"{name:.40}" for name in names[:_LISTED]) + more


def _is_flat(row: Row) -> bool:
    """Tell whether a row holds cells; one with lists of different lengths has a bad cell."""
    try:
        return np.ndim(row) == 1
    except ValueError:
        return True


def _shown(row: Row) -> str:
    if hasattr(row, "shape"):
        return f"an array of shape {tuple(row.shape)}"
    return f"{ascii(row)[:40]} ({type(row).__name__})"


def _holds_numbers(rows: NDArray[Any]) -> bool:
    return rows.dtype.kind in "buif"


def load(settings: Mapping[str, Any], folder: Path) -> FeatureEncoder:
    """Create the encoder of a model directory or bundle.

    Raises:
        ArtifactError: the settings are malformed.
    """
    columns = settings.get("columns")
    if not isinstance(columns, list) or not all(type(name) is str for name in columns):
        raise ArtifactError(f"preprocessing.columns must be a list of names; it is {columns!r:.60}")
    mean, scale, median = (numbers(settings, key) for key in ("mean", "scale", "median"))
    try:
        return FeatureEncoder(FeatureSettings(tuple(columns), mean, scale, median))
    except SettingError as error:
        raise ArtifactError(f"preprocessing: {error}") from error

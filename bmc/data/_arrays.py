"""A user's own arrays: an .npz file with `series` or `images`, and `labels`.

series   floats (rows, steps, channels), (rows, steps) for one channel, or (all steps, channels)
lengths  steps of each series: of the flat form, or how much of a padded one is real
images   uint8 (rows, height, width) or (rows, height, width, 1, 3 or 4)
labels   classes (whole numbers or text), or numbers in a regression
test_series, test_lengths, test_images, test_labels    the official test part, where there is one
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bmc.errors import DataError
from bmc.inputs.series import check_series

if TYPE_CHECKING:
    from bmc.data import Table

Arrays = Mapping[str, NDArray[Any]]
_KNOWN = ("series", "lengths", "images", "labels")


def read(path: Path, columns: Sequence[str], label_column: str) -> Table:
    """Read the arrays of an .npz file; pickled objects are never loaded.

    Args:
        path: the file.
        columns: not used.
        label_column: not used.

    Raises:
        DataError: the file is none, an array is missing or of another shape or type, or a series
            holds NaN; the message names the row and the step.
    """
    arrays = _arrays(path)
    test = None
    if any(name.startswith("test_") for name in arrays):
        held = {name.removeprefix("test_"): arrays[name] for name in arrays if name[:5] == "test_"}
        test = _part(path, held, "test_", None)
    own = {name: array for name, array in arrays.items() if name[:5] != "test_"}
    table = _part(path, own, "", test)
    if test and test.kind != table.kind:
        raise DataError(f"{path}: train holds {table.kind} rows, the test part {test.kind} rows")
    return table


def _arrays(path: Path) -> Arrays:
    try:
        with np.load(path, allow_pickle=False) as opened:
            arrays = {name: opened[name] for name in opened.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, AttributeError) as error:
        raise DataError(f"{path} is not readable as npz: {error}") from error
    except (MemoryError, TypeError) as error:
        raise DataError(f"{path} does not fit into memory: {error}") from error
    strange = [name for name in arrays if name.removeprefix("test_") not in _KNOWN]
    if strange:
        raise DataError(
            f"{path} has an array {strange[0]!r}; bmc reads {', '.join(_KNOWN)}, and test_..."
        )
    return arrays


def _part(path: Path, arrays: Arrays, prefix: str, official_test: Table | None) -> Table:
    from bmc.data import Table  # noqa: PLC0415  this file is a part of that package

    there = {"series", "images"} & set(arrays)
    if len(there) != 1 or "labels" not in arrays:
        found = ", ".join(f"{prefix}{name}" for name in arrays) or "nothing"
        raise DataError(
            f"{path} has {found}; it needs {prefix}labels and one of {prefix}series and "
            f"{prefix}images"
        )
    (kind,) = there
    rows: Any
    if kind == "series":
        rows = _series(arrays["series"], arrays.get("lengths"), f"{path}: {prefix}series")
    else:
        rows = _images(arrays["images"], f"{path}: {prefix}images")
    labels, numbers = _labels(arrays["labels"], f"{path}: {prefix}labels")
    if len(labels) != len(rows):
        raise DataError(f"{path}: {len(rows)} rows of {prefix}{kind}, {len(labels)} {prefix}labels")
    return Table(rows, labels, official_test, "series" if kind == "series" else "image", numbers)


def _series(
    values: NDArray[Any], lengths: NDArray[Any] | None, name: str
) -> list[NDArray[np.float32]]:
    if values.dtype.kind not in "fiub":
        raise DataError(f"{name} is {values.dtype}; it must hold numbers")
    flat = values.ndim == 2 and lengths is not None
    if values.ndim == 2 and not flat:
        values = values[:, :, None]
    if values.ndim != (2 if flat else 3):
        raise DataError(
            f"{name} has shape {values.shape}; it must be (rows, steps, channels), or "
            "(all steps, channels) with lengths"
        )
    if lengths is not None:
        lengths = _lengths(lengths, values, flat, name)
    with np.errstate(over="ignore"):  # what float32 cannot hold is found as infinite below
        values = values.astype(np.float32)
    if lengths is None:
        rows = list(values)
    elif flat:
        rows = np.split(values, np.cumsum(lengths)[:-1])
    else:
        rows = [row[:length] for row, length in zip(values, lengths, strict=True)]
    for number, row in enumerate(rows, start=1):
        check_series(row, f"{name}: row {number}")
    return rows


def _lengths(
    lengths: NDArray[Any], values: NDArray[Any], flat: bool, name: str
) -> NDArray[np.int64]:
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu" or not len(lengths):
        raise DataError(f"{name}: lengths must be whole numbers (rows)")
    if flat and int(lengths.sum()) != len(values):
        raise DataError(f"{name} has {len(values)} steps; lengths add up to {lengths.sum()}")
    if not flat and len(lengths) != len(values):
        raise DataError(f"{name} has {len(values)} rows, and there are {len(lengths)} lengths")
    most = len(values) if flat else values.shape[1]
    if lengths.min() < 1 or lengths.max() > most:
        wrong = int(np.flatnonzero((lengths < 1) | (lengths > most))[0])
        raise DataError(f"{name}: row {wrong + 1} has length {lengths[wrong]}; 1..{most} it can be")
    return lengths.astype(np.int64)


def _images(values: NDArray[Any], name: str) -> NDArray[np.uint8]:
    if values.dtype != np.uint8:
        raise DataError(f"{name} is {values.dtype}; it must be uint8, 0 (black) to 255")
    if values.ndim == 3:
        values = values[..., None]
    if values.ndim != 4 or values.shape[3] not in (1, 3, 4) or 0 in values.shape[1:]:
        raise DataError(
            f"{name} has shape {values.shape}; it must be (rows, height, width), or "
            "(rows, height, width, 1, 3 or 4 channels)"
        )
    return np.ascontiguousarray(values[..., :3])


def _labels(values: NDArray[Any], name: str) -> tuple[list[str], bool]:
    """Return labels as text, and whether they are floating-point numbers with fractions."""
    if values.ndim != 1 or values.dtype.kind not in "iufbU":
        raise DataError(
            f"{name} is {values.dtype} of shape {values.shape}; it must hold a number or text a row"
        )
    if values.dtype.kind != "f":
        return [str(label).strip() for label in values.tolist()], False
    broken = np.flatnonzero(~np.isfinite(values))
    if len(broken):
        raise DataError(f"{name}: row {broken[0] + 1} has {values[broken[0]]}; fill or remove it")
    if (values == np.round(values)).all():
        return [str(int(label)) for label in values], False
    return [repr(label) for label in values.tolist()], True

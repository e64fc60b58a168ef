"""A user's own arrays: an .npz file with `series` or `images`, and `labels`.

series   floats (rows, steps, channels), (rows, steps) for one channel, or (all steps, channels)
lengths  steps of each series: of the flat form, or the steps before the padding
images   uint8 (rows, height, width) or (rows, height, width, 1, 3 or 4)
labels   classes (whole numbers or text), numbers in a regression, or 0 and 1 (rows, labels)
test_series, test_lengths, test_images, test_labels    the official test part, if there is one
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc.data._dataset import Table
from bmc.data._npz import Arrays, read_arrays
from bmc.data._values import Values
from bmc.errors import DataError
from bmc.inputs import Many
from bmc.inputs.series import check_series

_KNOWN = ("series", "lengths", "images", "labels")
_CHANNELS = (1, 3, 4)


def read(path: Path, columns: Sequence[str], label_column: str, several: bool = False) -> Table:
    """Read the arrays of an .npz file; pickled objects are never loaded.

    Args:
        path: the file.
        columns: not used.
        label_column: not used.
        several: whether a row has several labels: labels are then 0 or 1 (rows, labels).

    Raises:
        DataError: the file is none, an array is missing or of another shape or type, or a series
            holds NaN; the message names the row and the step.
    """
    arrays = read_arrays(path, [*_KNOWN, *(f"test_{name}" for name in _KNOWN)])
    test = None
    if any(name.startswith("test_") for name in arrays):
        held = {name.removeprefix("test_"): arrays[name] for name in arrays if name[:5] == "test_"}
        test = _part(path, held, "test_", None, several)
    main_arrays = {name: array for name, array in arrays.items() if name[:5] != "test_"}
    table = _part(path, main_arrays, "", test, several)
    if test and test.kind != table.kind:
        raise DataError(f"{path}: train holds {table.kind} rows, the test part {test.kind} rows")
    if test and test.classes != table.classes:
        raise DataError(
            f"{path}: labels has {len(table.classes)} columns, test_labels {len(test.classes)}; "
            "each needs a column of 0 or 1 for every label, in one order"
        )
    if test and table.kind == "series" and len(table.rows) and len(test.rows):
        channels = [part.rows[0].shape[1] for part in (table, test)]
        if channels[0] != channels[1]:
            raise DataError(
                f"{path}: series has {channels[0]} channels, test_series {channels[1]}; "
                "both need the same"
            )
    return table


def unlabeled_rows(path: Path) -> tuple[Many, str]:
    """Read the rows of an .npz file; labels and the official test part are not read.

    Returns:
        the rows, and their kind: "series" or "image".

    Raises:
        DataError: the file is none, has neither series nor images, or an array is malformed.
    """
    arrays = read_arrays(path, [*_KNOWN, *(f"test_{name}" for name in _KNOWN)])
    values = Values(str(path))
    if "series" in arrays:
        name = f"{path}: series"
        return series_rows(arrays["series"], name, values, arrays.get("lengths")), "series"
    if "images" in arrays:
        return image_rows(arrays["images"], f"{path}: images", values), "image"
    raise DataError(f"{path} has {', '.join(arrays) or 'nothing'}; it needs series or images")


def _part(
    path: Path, arrays: Arrays, prefix: str, official_test: Table | None, several: bool
) -> Table:

    row_arrays = {"series", "images"} & set(arrays)
    if len(row_arrays) != 1 or "labels" not in arrays:
        array_names = ", ".join(f"{prefix}{name}" for name in arrays) or "nothing"
        raise DataError(
            f"{path} has {array_names}; it needs {prefix}labels and one of {prefix}series and "
            f"{prefix}images"
        )
    (kind,) = row_arrays
    if kind == "images" and "lengths" in arrays:
        raise DataError(f"{path} has {prefix}lengths, which images have not; leave it out")
    values = Values(str(path))
    rows: Any
    if kind == "series":
        name = f"{path}: {prefix}series"
        rows = series_rows(arrays["series"], name, values, arrays.get("lengths"))
    else:
        rows = image_rows(arrays["images"], f"{path}: {prefix}images", values)
    read_labels = label_sets_of if several else labels_of
    labels = read_labels(arrays["labels"], f"{prefix}labels", values)
    if len(labels) != len(rows):
        raise DataError(f"{path}: {len(rows)} rows of {prefix}{kind}, {len(labels)} {prefix}labels")
    return Table(
        rows,
        labels,
        official_test,
        "series" if kind == "series" else "image",
        values.numbers,
        values.notes,
        several=several,
        classes=tuple(map(str, range(arrays["labels"].shape[1]))) if several else (),
    )


def series_rows(
    array: NDArray[Any], name: str, values: Values, lengths: NDArray[Any] | None = None
) -> list[NDArray[np.float32]]:
    """Return an array as series, each float32 (steps, channels).

    Args:
        array: numbers (rows, steps, channels) or (rows, steps), or (all steps, channels) with
            lengths.
        name: what messages call the array.
        values: object that keeps the notes.
        lengths: steps of each series; None where all have the same.

    Raises:
        DataError: the array has another shape or type, or holds NaN.
    """
    if array.dtype.kind not in "fiub":
        raise DataError(f"{name} is {array.dtype}; it must hold numbers")
    flat = array.ndim == 2 and lengths is not None
    if array.ndim == 2 and not flat:
        array = array[:, :, None]
    if array.ndim != (2 if flat else 3) or 0 in array.shape[1:]:
        raise DataError(
            f"{name} has shape {array.shape}; it must be (rows, steps, channels), or "
            "(all steps, channels) with lengths"
        )
    if lengths is not None:
        lengths = _lengths(lengths, array, flat, name)
    with np.errstate(over="ignore"):  # what float32 cannot hold is found as infinite below
        array = array.astype(np.float32)
    if lengths is None:
        rows = list(array)
    elif flat:
        rows = np.split(array, np.cumsum(lengths)[:-1])
    else:
        rows = [row[:length] for row, length in zip(array, lengths, strict=True)]
    for number, row in enumerate(rows, start=1):
        check_series(row, f"{name}: row {number}")
    if rows:
        steps = sorted({len(row) for row in (rows[0], min(rows, key=len), max(rows, key=len))})
        span = f"{steps[0]} to {steps[-1]}" if len(steps) > 1 else str(steps[0])
        values.note(f"a series is {span} steps x {array.shape[-1]} channels")
    return rows


def _lengths(
    lengths: NDArray[Any], values: NDArray[Any], flat: bool, name: str
) -> NDArray[np.int64]:
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu" or not len(lengths):
        raise DataError(f"{name}: lengths must be whole numbers (rows)")
    if not flat and len(lengths) != len(values):
        raise DataError(f"{name} has {len(values)} rows, and there are {len(lengths)} lengths")
    most = len(values) if flat else values.shape[1]
    if lengths.min() < 1 or lengths.max() > most:
        wrong = int(np.flatnonzero((lengths < 1) | (lengths > most))[0])
        raise DataError(f"{name}: row {wrong + 1} has length {lengths[wrong]}; 1..{most} it can be")
    total = sum(lengths.tolist())  # Python's numbers do not wrap around
    if flat and total != len(values):
        padded = len(lengths) == len(values) and lengths.max() <= values.shape[1]
        way_out = f" (of one channel: give {name}[:, :, None])" if padded else ""
        raise DataError(f"{name} has {len(values)} steps; lengths add up to {total}{way_out}")
    return lengths.astype(np.int64)


def image_rows(array: NDArray[Any], name: str, values: Values) -> NDArray[np.uint8]:
    """Return an array as images, uint8 (rows, height, width, channels).

    Args:
        array: uint8 (rows, height, width) or (rows, height, width, channels).
        name: what messages call the array.
        values: object that keeps the notes.

    Raises:
        DataError: the array has another shape or type.
    """
    if array.dtype != np.uint8:
        way_out = (
            "of 0..1, (images * 255).round().astype('uint8')"
            if array.dtype.kind == "f"
            else "images.astype('uint8') where all lie in 0..255"
        )
        raise DataError(f"{name} is {array.dtype}; it must be uint8, 0 (black) to 255: {way_out}")
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or array.shape[3] not in _CHANNELS or 0 in array.shape[1:]:
        first = array.ndim == 4 and array.shape[1] in _CHANNELS
        raise DataError(
            f"{name} has shape {array.shape}; it must be (rows, height, width), or "
            "(rows, height, width, 1, 3 or 4 channels)"
            + (": move the channels to the end with images.transpose(0, 2, 3, 1)" if first else "")
        )
    _check_layout(array.shape[1:], name)
    if array.shape[3] == 4:
        values.note("the fourth channel of the images, transparency, is dropped")
    height, width, channels = array.shape[1:]
    values.note(f"an image is {height} x {width}, {'gray' if channels == 1 else 'color'}")
    return np.ascontiguousarray(array[..., :3])


def _check_layout(shape: tuple[int, ...], name: str) -> None:
    """Refuse a shape that reads as well with the channels first: (3, 4, 4) is 4 x 4 in color."""
    height, width, channels = shape
    as_first = abs(width - channels)  # how far from square the image is if channels come first
    if height in _CHANNELS and channels > 1 and as_first <= abs(height - width):
        raise DataError(
            f"{name} has images of shape {shape}, which may be (height, width, channels) or "
            "(channels, height, width); save them as files, a folder a class (imagefolder:DIR)"
        )


def labels_of(array: NDArray[Any], name: str, values: Values) -> list[str]:
    """Return labels as text; floating-point numbers without fractions are whole numbers."""
    if array.ndim != 1 or array.dtype.kind not in "iufbUS":
        raise DataError(
            f"{values.source}: {name} is {array.dtype} of shape {array.shape}; "
            f"it must hold a number or text a row{_way_out(array)}"
        )
    if array.dtype.kind == "f":
        array = array.astype(np.float64) if array.dtype.itemsize > 8 else array
        broken = np.flatnonzero(~np.isfinite(array))
        if len(broken):
            raise DataError(
                f"{values.source}: {name}: row {broken[0] + 1} has {array[broken[0]]}; "
                "fill or remove it"
            )
        if (array == np.round(array)).all():
            return [str(int(label)) for label in array]
    return [
        values.label(label, name, number) for number, label in enumerate(array.tolist(), start=1)
    ]


def label_sets_of(array: NDArray[Any], name: str, values: Values) -> list[str]:
    """Return the labels of each row, whose names are the numbers of the columns.

    Raises:
        DataError: the array is not 0 and 1 (rows, labels).
    """
    is_right = array.ndim == 2 and array.dtype.kind in "iufb" and np.isin(array, (0, 1)).all()
    if not is_right:
        raise DataError(
            f"{values.source}: {name} is {array.dtype} of shape {array.shape}; several labels a "
            "row are 0 or 1 (rows, labels)"
        )
    columns = [str(number) for number in range(array.shape[1])]
    return [
        values.flagged([int(flag) for flag in row], columns, number)
        for number, row in enumerate(array, start=1)
    ]


def _way_out(labels: NDArray[Any]) -> str:
    if labels.ndim == 2 and labels.shape[1] == 1:
        return ": labels.ravel()"
    if labels.ndim == 2:
        return (
            ": of a one-hot code it is labels.argmax(1); several labels a row (multi-label) are a "
            "task of their own: --task multilabel"
        )
    return ""

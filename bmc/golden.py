"""Golden rows: a few inputs of a bundle, and the outputs that they had at the export.

golden.npz    input tensors, outputs, and the raw rows that are arrays or tuples of arrays
golden.json   the raw rows that are texts or seeds, and the predicted label of each row
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc.arrays import MAX_ARRAYS
from bmc.errors import ArtifactError
from bmc.files import write_json
from bmc.inputs import Row, TensorInfo

ARRAYS = "golden.npz"
ROWS = "golden.json"
_MAX_ROWS = 64
_MAX_ARRAYS = 16  # arrays in one raw row; bmc/inputs/array.py allows as many
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class GoldenRows:
    """Raw rows, in the form in which an application passes rows to a bundle.

    Args:
        rows: rows; each is a tuple of texts, an array, a tuple of arrays, or a seed.
        labels: predicted label of each row; empty where the task has no labels.
    """

    rows: list[Row]
    labels: list[str]


def portable(row: Row, kind: str = "image", samples: int | None = None) -> Row:
    """Return a raw row in the form in which a bundle stores it: pixels or samples of a file.

    Args:
        row: the row.
        kind: kind of the rows, which says what a file holds: "image" or "audio".
        samples: samples that a model reads of a clip of sound; the rest is not stored. None for
            all.

    Raises:
        DataError: the row is a file of another kind.
    """
    if kind == "audio":
        is_file = isinstance(row, str | Path | bytes)
        clip = importlib.import_module("bmc.inputs.audio").read_clip(row) if is_file else row
        stored = np.asarray(clip)[:samples]
        is_float = stored.dtype.kind == "f"  # of any width; programs on devices read two
        return np.asarray(stored, np.float32 if is_float else None, order="C")
    if isinstance(row, str):
        return (row,)
    if isinstance(row, Path | bytes):
        # The pixels are stored, not the file: image decoders of devices differ, and a bundle that
        # holds pixels needs no decoder for an untrusted file. The same holds for samples.
        return importlib.import_module("bmc.inputs.image").read_image(row)
    if isinstance(row, int | np.integer):
        return int(row)
    if isinstance(row, tuple | list) and all(isinstance(text, str) for text in row):
        return tuple(row)
    if isinstance(row, tuple):
        return tuple(np.asarray(array, order="C") for array in row)
    return np.asarray(row, order="C")


def most_rows(inputs: int, outputs: int, arrays: int) -> int:
    """Return how many raw rows fit into golden.npz.

    Args:
        inputs: number of input tensors.
        outputs: number of outputs.
        arrays: arrays of a raw row.
    """
    return (MAX_ARRAYS - inputs - outputs) // max(arrays, 1)


def write_golden(
    path: Path,
    inputs: Mapping[str, NDArray[Any]],
    outputs: Mapping[str, NDArray[Any]],
    golden: GoldenRows | None = None,
) -> None:
    """Write golden.npz and, if there are raw rows, golden.json in the same folder.

    Args:
        path: path of golden.npz.
        inputs: input tensors, by name.
        outputs: outputs of these inputs, by name.
        golden: the raw rows of these inputs; None where there are none.
    """
    arrays: Arrays = {f"input.{name}": array for name, array in inputs.items()}
    arrays |= {f"output.{name}": array for name, array in outputs.items()}
    if golden is not None:
        for number, row in enumerate(golden.rows):
            arrays |= _arrays_of(number, row)
        plain_rows = [None if _arrays_of(0, row) else row for row in golden.rows]
        write_json(path.with_name(ROWS), {"rows": plain_rows, "labels": golden.labels})
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # its stub takes a bool too


def _arrays_of(number: int, row: Row) -> Arrays:
    """Return the arrays of a raw row by their names in golden.npz; {} for texts and seeds."""
    if isinstance(row, np.ndarray):
        return {f"row.{number}": row}
    if isinstance(row, tuple) and isinstance(row[0], np.ndarray):
        return {f"row.{number}.{index}": array for index, array in enumerate(row)}
    return {}


def tensors_of(arrays: Arrays, kind: str, tensors: Sequence[TensorInfo], path: Path) -> Arrays:
    """Return the golden inputs or outputs, by name, with dtypes and shapes checked.

    Args:
        arrays: content of golden.npz.
        kind: "input" or "output".
        tensors: the inputs or outputs in the manifest.
        path: path of the bundle, for messages.

    Raises:
        ArtifactError: a tensor is missing, or has another dtype or shape than in the manifest.
    """
    golden_tensors = {}
    for info in tensors:
        array = arrays.get(f"{kind}.{info.name}")
        if array is None:
            raise ArtifactError(f"bundle {path}: {ARRAYS} has no tensor {info.name!r:.60}")
        if not _fits(array, info, may_be_empty=kind == "output"):
            raise ArtifactError(
                f"bundle {path}: in {ARRAYS} {info.name!r:.60} is {array.dtype.name} of shape "
                f"{array.shape}, the manifest says {info.dtype} of {info.shape}; export it again"
            )
        golden_tensors[info.name] = array
    return golden_tensors


def rows_of(content: Mapping[str, Any], arrays: Arrays, path: Path) -> GoldenRows:
    """Return the raw golden rows.

    Args:
        content: content of golden.json.
        arrays: content of golden.npz.
        path: path of the bundle, for messages.

    Raises:
        ArtifactError: a row is missing or malformed.
    """
    rows, labels = content.get("rows"), content.get("labels")
    if not isinstance(rows, list) or not isinstance(labels, list) or not rows:
        raise ArtifactError(f"bundle {path}: {ROWS} holds no rows; export it again")
    if len(rows) > _MAX_ROWS or len(labels) not in (0, len(rows)):
        raise ArtifactError(f"bundle {path}: {ROWS} has {len(rows)} rows, {len(labels)} labels")
    if not all(isinstance(label, str) for label in labels):
        raise ArtifactError(f"bundle {path}: {ROWS} has labels that are not texts")
    return GoldenRows([_row(number, row, arrays, path) for number, row in enumerate(rows)], labels)


def _row(number: int, row: Any, arrays: Arrays, path: Path) -> Row:
    if row is None and f"row.{number}" in arrays:
        return arrays[f"row.{number}"]
    if row is None and f"row.{number}.0" in arrays:
        names = (f"row.{number}.{index}" for index in range(_MAX_ARRAYS))
        return tuple(arrays[name] for name in names if name in arrays)
    if type(row) is int and row >= 0:
        return row
    if isinstance(row, list) and row and all(isinstance(text, str) for text in row):
        return tuple(row)
    raise ArtifactError(
        f"bundle {path}: row {number} of {ROWS} is {row!r:.60}, neither texts, arrays nor a seed"
    )


def _fits(array: NDArray[Any], info: TensorInfo, may_be_empty: bool) -> bool:
    """Tell whether an array is a tensor of the manifest; an output may hold no detections."""
    if array.dtype.name != info.dtype or array.ndim != len(info.shape):
        return False
    counts_rows = info.shape[:1] == ("batch",)
    if counts_rows and not 1 <= len(array) <= _MAX_ROWS:
        return False
    free = {size for size in info.shape if isinstance(size, str)} - {"batch"}
    if not array.size and not (may_be_empty and free):
        return False
    return all(
        size == expected
        for size, expected in zip(array.shape, info.shape, strict=True)
        if isinstance(expected, int)
    )

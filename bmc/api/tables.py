"""Data in memory, of whatever kind a caller has, as rows of arrays with labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc.data import Table
from bmc.errors import DataError
from bmc.inputs.array import ArrayEncoder, ArrayInput

LABELS = ("label", "labels", "y", "target")
"""Names under which a dictionary's or a table's labels are looked for."""


@dataclass(frozen=True)
class Columns:
    """Rows as columns.

    Args:
        inputs: of each input an array (rows, ...), by name.
        labels: of each row.
    """

    inputs: dict[str, NDArray[Any]]
    labels: Sequence[Any]


def columns_of(data: Any, names: Sequence[str], label: str | None) -> Columns:
    """Read data of any kind.

    Args:
        data: `(inputs, labels)`, where inputs is an array (rows, ...), a tuple of them, or a
            dictionary of them by name; a torch `Dataset` or `DataLoader` whose items are
            `(input, ..., label)` or dictionaries; or a table with a column for each input and one
            for the labels: a dictionary, a `datasets.Dataset`, or a data frame.
        names: of the network's inputs, in order.
        label: name of the labels in dictionaries and tables; found by itself when None.

    Raises:
        DataError: the data is of another kind, is empty, or lacks an input or the labels.
    """
    if isinstance(data, tuple) and len(data) == 2:
        return _whole(_pair(data[0], data[1], names), names)
    named = _named_columns(data)
    if named is not None:
        key = _label_key(named, names, label)
        inputs = {name: _stacked([named[name]], name, whole=True) for name in names}
        return _whole(Columns(inputs, _plain(named[key])), names)
    if hasattr(data, "batch_sampler"):
        return _joined([_batch(batch, names, label) for batch in data], names)
    if hasattr(data, "__getitem__") and hasattr(data, "__len__"):
        items = [_item(data[place], names, label) for place in range(len(data))]
        return _joined(items, names)
    if isinstance(data, Iterable) and not isinstance(data, str | bytes):
        return _joined([_item(item, names, label) for item in data], names)
    raise DataError(
        f"data is {type(data).__name__}; give (inputs, labels), a torch Dataset or DataLoader, a "
        "datasets.Dataset, a data frame or a dictionary of columns"
    )


def encoder_of(columns: Columns) -> ArrayEncoder:
    """Return what turns such rows into tensors: float32, or int64 for whole numbers."""
    return ArrayEncoder([_input(name, array) for name, array in columns.inputs.items()])


def table_of(columns: Columns, classes: Sequence[str] | None, task: str) -> Table:
    """Return the rows and their labels as a table.

    Args:
        columns: of the data.
        classes: names of the classes, in the order of the network's outputs; when None, whole
            numbers are their own names, and names are sorted.
        task: "classification" or "regression".

    Raises:
        DataError: a label is no class.
    """
    arrays = list(columns.inputs.values())
    rows: Any = arrays[0] if len(arrays) == 1 else list(zip(*arrays, strict=True))
    if task == "regression":
        return Table(rows, [repr(float(label)) for label in columns.labels], kind="array")
    if classes is None:
        return Table(rows, [_name(label) for label in columns.labels], kind="array")
    names = [_class_of(label, classes) for label in columns.labels]
    return Table(rows, names, kind="array", classes=tuple(classes))


def _pair(inputs: Any, labels: Any, names: Sequence[str]) -> Columns:
    if isinstance(inputs, Mapping):
        missing = [name for name in names if name not in inputs]
        if missing:
            raise DataError(f"the inputs lack {', '.join(missing)}; there are: {', '.join(inputs)}")
        every = [inputs[name] for name in names]
    else:
        every = list(inputs) if isinstance(inputs, tuple) and len(names) > 1 else [inputs]
    if len(every) != len(names):
        raise DataError(f"{len(every)} inputs; the network takes {', '.join(names)}")
    arrays = [_stacked([array], name, whole=True) for array, name in zip(every, names, strict=True)]
    return Columns(dict(zip(names, arrays, strict=True)), _plain(labels))


def _named_columns(data: Any) -> Mapping[str, Any] | None:
    """Return a table's columns by name; None where the data is no table."""
    names = getattr(data, "column_names", None) or getattr(data, "columns", None)
    if names is not None and not callable(names):
        return {str(name): data[name] for name in names}
    return data if isinstance(data, Mapping) else None


def _label_key(named: Iterable[str], names: Sequence[str], label: str | None) -> str:
    present = list(named)
    for name in names:
        if name not in present:
            raise DataError(f"no input {name!r} in the data; there are: {', '.join(present)}")
    for key in (label,) if label else LABELS:
        if key in present:
            return str(key)
    raise DataError(
        f"no labels in the data, which has {', '.join(present)}: name them with label_column"
    )


def _batch(batch: Any, names: Sequence[str], label: str | None) -> Columns:
    """Return a batch of a DataLoader as columns."""
    if isinstance(batch, Mapping):
        key = _label_key(batch, names, label)
        inputs = {name: _stacked([batch[name]], name, whole=True) for name in names}
        return Columns(inputs, _plain(batch[key]))
    if not isinstance(batch, Sequence) or len(batch) != len(names) + 1:
        raise DataError(
            f"a batch is {_shown(batch)}; it must hold {', '.join(names)} and the labels"
        )
    return _pair(tuple(batch[:-1]) if len(names) > 1 else batch[0], batch[-1], names)


def _item(item: Any, names: Sequence[str], label: str | None) -> Columns:
    """Return one row of a Dataset as columns."""
    if isinstance(item, Mapping):
        key = _label_key(item, names, label)
        values, answer = [item[name] for name in names], item[key]
    elif isinstance(item, Sequence) and len(item) == len(names) + 1:
        values, answer = list(item[:-1]), item[-1]
    else:
        raise DataError(f"a row is {_shown(item)}; it must hold {', '.join(names)} and the label")
    inputs = {
        name: _stacked([value], name, whole=False)
        for name, value in zip(names, values, strict=True)
    }
    return Columns(inputs, [answer.item() if hasattr(answer, "item") else answer])


def _joined(parts: Sequence[Columns], names: Sequence[str]) -> Columns:
    if not parts:
        raise DataError("the data has no rows")
    try:
        inputs = {name: np.concatenate([part.inputs[name] for part in parts]) for name in names}
    except ValueError as error:
        raise DataError(f"rows have different shapes ({error}); the network takes one") from error
    return _whole(Columns(inputs, [label for part in parts for label in part.labels]), names)


def _whole(columns: Columns, names: Sequence[str]) -> Columns:
    """Check that there are rows, and as many labels.

    Raises:
        DataError: there are not.
    """
    counts = {name: len(columns.inputs[name]) for name in names} | {"labels": len(columns.labels)}
    if len(set(counts.values())) > 1:
        shown = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise DataError(f"inputs and labels have different numbers of rows: {shown}")
    if not len(columns.labels):
        raise DataError("the data has no rows")
    return columns


def _stacked(values: Sequence[Any], name: str, whole: bool) -> NDArray[Any]:
    """Return an array of numbers: a column as it is, or one row of it."""
    (value,) = values
    if hasattr(value, "detach"):  # a tensor, on whatever device
        value = value.detach().cpu().numpy()
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} is no array of numbers ({error})") from error
    if array.dtype == object and len(array):
        try:
            array = np.stack([np.asarray(row) for row in array])
        except ValueError as error:
            raise DataError(f"rows of {name} have different shapes ({error})") from error
    if array.dtype.kind not in "buif":
        raise DataError(f"{name} is {array.dtype}; a network takes numbers")
    return array if whole else array[None]


def _input(name: str, array: NDArray[Any]) -> ArrayInput:
    dtype = "float32" if array.dtype.kind == "f" else "int64"
    low, high = (float(found) for found in (array.min(), array.max()))
    return ArrayInput(name, dtype, tuple(array.shape[1:]), low, high)


def _plain(labels: Any) -> list[Any]:
    """Return labels as Python's own values."""
    if hasattr(labels, "detach"):
        labels = labels.detach().cpu().numpy()
    flat = np.asarray(labels)
    if flat.ndim == 2 and flat.shape[1] == 1:
        flat = flat[:, 0]
    if flat.ndim != 1:
        raise DataError(f"labels have shape {flat.shape}; there must be one for each row")
    values: list[Any] = flat.tolist()
    return values


def _name(label: Any) -> str:
    is_whole = isinstance(label, bool | float) and label == int(label)
    return str(int(label)) if is_whole else str(label)


def _class_of(label: Any, classes: Sequence[str]) -> str:
    if isinstance(label, str):
        return label
    number = int(label)
    if not 0 <= number < len(classes):
        raise DataError(f"a row has the label {label}; there are {len(classes)} classes, from 0")
    return classes[number]


def _shown(value: Any) -> str:
    count = f" of {len(value)}" if isinstance(value, Sequence) else ""
    return f"{type(value).__name__}{count}"

"""Data in memory, of whatever kind a caller has, as rows of arrays with labels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc import console
from bmc.api.columns import read_columns, stacked
from bmc.contracts import tasks
from bmc.data import Table
from bmc.errors import DataError, UsageError
from bmc.inputs.array import ArrayEncoder, ArrayInput
from bmc.label_names import as_number, joined

LABELS = ("label", "labels", "y", "target")
"""Names under which a dictionary's or a table's labels are looked for."""


@dataclass(frozen=True)
class Columns:
    """Rows as columns.

    Args:
        inputs: array (rows, ...) of each input, by name of the input.
        labels: label of each row.
        classes: names of the classes, if the data has names; labels are then indices of `classes`.
        features: names of the numbers in a row of the only input, if a row has one axis.
    """

    inputs: dict[str, NDArray[Any]]
    labels: Sequence[Any]
    classes: tuple[str, ...] = ()
    features: tuple[str, ...] = ()


def columns_of(
    data: Any, names: Sequence[str], label: str | None, columns: Sequence[str] | None = None
) -> Columns:
    """Read data of any kind.

    Args:
        data: `(inputs, labels)`, where inputs is an array (rows, ...), a tuple of them, or a
            dictionary of them by name; a torch `Dataset` or `DataLoader` whose items are
            `(input, ..., label)` or dictionaries; or a table with a column for each input and one
            for the labels: a dictionary, a `datasets.Dataset`, a data frame, or a file.
        names: names of the network's inputs, in order.
        label: name of the labels in dictionaries and tables; found by itself when None.
        columns: columns of a table that together are the network's only input. When None, and the
            table has no column of the input's name, all columns but the labels'; for a file, the
            columns `names`.

    Raises:
        DataError: the data is of another kind, is empty, or lacks an input or the labels.
    """
    if columns and len(names) > 1:
        raise UsageError(f"columns make up one input, and the network takes {', '.join(names)}")
    if isinstance(data, tuple) and len(data) == 2:
        return _whole(_pair(data[0], data[1], names), names)
    columns_by_name = _named_columns(data, columns or names, label)
    if columns_by_name is not None:
        return _from_table(columns_by_name, names, label, columns, _classes_of(data, label))
    if type(getattr(data, "sampler", None)).__name__.endswith("RandomSampler"):
        console.note(
            "the DataLoader shuffles its rows, so the next call takes them for other data: pass "
            "one with shuffle=False; bmc shuffles training rows itself"
        )
    if getattr(data, "batch_sampler", None) is not None:
        if getattr(data, "drop_last", False):
            console.note("the DataLoader drops its last rows where they fill no batch")
        return _joined([_batch(batch, names, label) for batch in data], names)
    if hasattr(data, "batch_sampler"):  # a DataLoader of single rows
        return _joined([_item(item, names, label) for item in data], names)
    if hasattr(data, "__getitem__") and hasattr(data, "__len__"):
        items = [_item(data[index], names, label) for index in range(len(data))]
        return _joined(items, names)
    if isinstance(data, Iterable) and not isinstance(data, str | bytes):
        return _joined([_item(item, names, label) for item in data], names)
    raise DataError(
        f"data is {type(data).__name__}; give (inputs, labels), a torch Dataset or DataLoader, a "
        "datasets.Dataset, a data frame, a dictionary of columns or a table's file"
    )


def _from_table(
    columns_by_name: Mapping[str, Any],
    names: Sequence[str],
    label: str | None,
    columns: Sequence[str] | None,
    classes: tuple[str, ...],
) -> Columns:
    """Return a table's inputs and labels; several columns of numbers can be one input."""
    if columns is None and len(names) == 1 and names[0] not in columns_by_name:
        key = _label_key(columns_by_name, (), label)
        columns = [name for name in columns_by_name if name != key]
    if columns:
        columns_by_name = {**columns_by_name, names[0]: stacked(columns_by_name, columns)}
    key = _label_key(columns_by_name, names, label)
    inputs = {name: _stacked([columns_by_name[name]], name, whole=True) for name in names}
    read = Columns(inputs, _plain(columns_by_name[key]), classes, tuple(columns or ()))
    return _whole(read, names)


def encoder_of(columns: Columns) -> ArrayEncoder:
    """Return what turns such rows into tensors: float32, or int64 for whole numbers."""
    return ArrayEncoder([_input(name, array) for name, array in columns.inputs.items()])


def table_of(columns: Columns, classes: Sequence[str] | None, task: str) -> Table:
    """Return the rows and their labels as a table.

    Args:
        columns: the inputs and labels.
        classes: names of the classes, in the order of the network's outputs; when None, numbers
            are their own names, in the order of their values, and names are sorted.
        task: name of the task, such as "classification".

    Raises:
        DataError: a label is missing, is no number in a regression, is not one of the classes, or
            is a list where a row has one label; or lists of 0 and 1 have different lengths.
    """
    several = tasks.label_reading(task).several
    if several != any(isinstance(label, list | tuple) for label in columns.labels):
        raise _wrong_labels(columns.labels, several)
    arrays = list(columns.inputs.values())
    rows: Any = arrays[0] if len(arrays) == 1 else list(zip(*arrays, strict=True))
    features = _feature_names(columns)
    if tasks.task(task).is_numeric:
        labels = [repr(_number(label)) for label in columns.labels]
        return Table(rows, labels, kind="array", features=features)
    classes = classes or columns.classes or None
    if several:
        given = tuple(classes or _numbered(columns.labels))
        texts = [_label_set(label, given) for label in columns.labels]
        return Table(rows, texts, kind="array", classes=given, features=features, several=True)
    if classes is None:
        labels = [_name(label) for label in columns.labels]
        by_value = _by_value(labels)
        return Table(rows, labels, kind="array", classes=by_value, features=features)
    names = [_class_of(label, classes) for label in columns.labels]
    return Table(rows, names, kind="array", classes=tuple(classes), features=features)


def _feature_names(columns: Columns) -> tuple[str, ...]:
    """Return names of the numbers in a row: the table's, or x0, x1, ... of an input x.

    Returns:
        () where a row is several arrays, or has no or several axes, or whole numbers.
    """
    ((name, array), *others) = columns.inputs.items()
    if others or array.ndim != 2 or array.dtype.kind != "f":
        return ()
    if len(columns.features) == array.shape[1]:
        return columns.features
    return tuple(f"{name}{index}" for index in range(array.shape[1]))


def _pair(inputs: Any, labels: Any, names: Sequence[str]) -> Columns:
    if isinstance(inputs, Mapping):
        missing = [name for name in names if name not in inputs]
        if missing:
            raise _no_input(missing[0], list(inputs))
        every = [inputs[name] for name in names]
    else:
        every = list(inputs) if isinstance(inputs, tuple | list) and len(names) > 1 else [inputs]
    if len(every) != len(names):
        raise DataError(f"{len(every)} inputs; the network takes {', '.join(names)}")
    arrays = [_stacked([array], name, whole=True) for array, name in zip(every, names, strict=True)]
    return Columns(dict(zip(names, arrays, strict=True)), _plain(labels))


def _named_columns(
    data: Any, columns: Sequence[str], label: str | None
) -> Mapping[str, Any] | None:
    """Return a table's columns by name; None if the data is not a table.

    Raises:
        DataError: it is several tables, or a file that lacks a column.
    """
    if isinstance(data, str | Path):
        return read_columns(Path(data), columns, label or LABELS[0])
    if isinstance(data, Mapping) and any(hasattr(part, "column_names") for part in data.values()):
        raise DataError(
            f"data holds several tables, {', '.join(data)}: give one, such as "
            f"data[{next(iter(data))!r}]; bmc splits it by itself"
        )
    if not (hasattr(data, "__len__") and hasattr(data, "__getitem__")):
        return None
    names = getattr(data, "column_names", None) or getattr(data, "columns", None)
    if names is not None and not callable(names):
        return {str(name): data[name] for name in names}
    return data if isinstance(data, Mapping) else None


def _label_key(column_names: Iterable[str], names: Sequence[str], label: str | None) -> str:
    present = list(column_names)
    for name in names:
        if name not in present:
            raise _no_input(name, present)
    for key in (label,) if label else LABELS:
        if key in present:
            return str(key)
    raise DataError(
        f"no labels in the data, which has {', '.join(present)}: name them with label_column"
    )


def _no_input(name: str, present: Sequence[str]) -> DataError:
    return DataError(
        f"no input {name!r} in the data; there are: {', '.join(present)}. Name those that the "
        "network takes, in the order of forward's arguments, with inputs=[...]"
    )


def _classes_of(data: Any, label: str | None) -> tuple[str, ...]:
    """Return the class names of a `datasets.Dataset`; () if its label column has no names."""
    features = getattr(data, "features", None)
    if not isinstance(features, Mapping):
        return ()
    key = label or next((name for name in LABELS if name in features), "")
    return tuple(getattr(features.get(key), "names", None) or ())


def _batch(batch: Any, names: Sequence[str], label: str | None) -> Columns:
    """Return a batch of a DataLoader as columns."""
    if isinstance(batch, Mapping):
        key = _label_key(batch, names, label)
        inputs = {name: _stacked([batch[name]], name, whole=True) for name in names}
        return Columns(inputs, _plain(batch[key]))
    batch = _flat(batch, names)
    if not isinstance(batch, Sequence) or len(batch) != len(names) + 1:
        raise DataError(
            f"a batch is {_shown(batch)}; it must hold {', '.join(names)} and the labels"
        )
    return _pair(tuple(batch[:-1]) if len(names) > 1 else batch[0], batch[-1], names)


def _item(item: Any, names: Sequence[str], label: str | None) -> Columns:
    """Return one row of a Dataset as columns."""
    item = _flat(item, names)
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
    return Columns(inputs, [answer.tolist() if hasattr(answer, "tolist") else answer])


def _flat(item: Any, names: Sequence[str]) -> Any:
    """Return `((input, ...), label)` as `(input, ..., label)`; return other items unchanged."""
    nested = isinstance(item, Sequence) and len(item) == 2 and len(names) > 1
    if nested and isinstance(item[0], tuple | list):
        return [*item[0], item[1]]
    if nested and isinstance(item[0], Mapping):
        missing = [name for name in names if name not in item[0]]
        if missing:
            raise _no_input(missing[0], list(item[0]))
        return [*(item[0][name] for name in names), item[1]]
    return item


def _joined(parts: Sequence[Columns], names: Sequence[str]) -> Columns:
    if not parts:
        raise DataError("the data has no rows")
    try:
        inputs = {name: np.concatenate([part.inputs[name] for part in parts]) for name in names}
    except ValueError as error:
        raise DataError(f"rows have different shapes ({error}); the network takes one") from error
    return _whole(Columns(inputs, [label for part in parts for label in part.labels]), names)


def _whole(columns: Columns, names: Sequence[str]) -> Columns:
    """Check that there are rows, and that each row has a label.

    Raises:
        DataError: there are not.
    """
    counts = {name: len(columns.inputs[name]) for name in names} | {"labels": len(columns.labels)}
    if len(set(counts.values())) > 1:
        class_counts = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise DataError(f"inputs and labels have different numbers of rows: {class_counts}")
    if not len(columns.labels):
        raise DataError("the data has no rows")
    return columns


def _stacked(values: Sequence[Any], name: str, whole: bool) -> NDArray[Any]:
    """Return a column, or one row of it, as an array of numbers."""
    (value,) = values
    value = _in_memory(value, name)
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} is no array of numbers ({error})") from error
    if array.dtype == object and len(array) == 0:
        raise DataError("the data has no rows")
    if array.dtype == object:
        array = _of_numbers(array, name)
    if array.dtype.kind not in "buif":
        raise DataError(f"{name} is {array.dtype}; a network takes numbers")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise DataError(f"{name} holds NaN or infinite numbers; leave those rows out, or fill them")
    return array if whole else array[None]


def _of_numbers(array: NDArray[Any], name: str) -> NDArray[Any]:
    """Return an array of objects as an array of numbers.

    Raises:
        DataError: its rows have different shapes, or hold something else.
    """
    try:
        rows = np.stack([np.asarray(row) for row in array])
        return rows.astype(np.float32) if rows.dtype == object else rows
    except ValueError as error:
        raise DataError(
            f"rows of {name} have different shapes, or hold no numbers ({error})"
        ) from error
    except TypeError as error:
        raise DataError(f"{name} is no array of numbers ({error})") from error


def _in_memory(value: Any, name: str) -> Any:
    """Return a tensor of any device as an array; return other values unchanged.

    Raises:
        DataError: it is on the meta device, which holds no numbers.
    """
    if not hasattr(value, "detach"):
        return value
    if value.device.type == "meta":
        raise DataError(f"{name} is on the meta device, where tensors hold no numbers")
    return value.detach().cpu().numpy()


def _input(name: str, array: NDArray[Any]) -> ArrayInput:
    dtype = "float32" if array.dtype.kind == "f" else "int64"
    low, high = (float(bound) for bound in (array.min(), array.max()))
    return ArrayInput(name, dtype, tuple(array.shape[1:]), low, high)


def _plain(labels: Any) -> list[Any]:
    """Return labels as Python's own values."""
    if isinstance(labels, list | tuple) and any(isinstance(one, list | tuple) for one in labels):
        return [list(one) if isinstance(one, list | tuple) else one for one in labels]
    flat = np.asarray(_in_memory(labels, "the labels"))
    if flat.ndim == 2 and flat.shape[1] == 1:
        flat = flat[:, 0]
    if flat.ndim == 2 and flat.dtype.kind in "biuf" and np.isin(flat, (0, 1)).all():
        sets: list[Any] = flat.astype(np.int64).tolist()
        return sets  # several labels a row; `table_of` refuses them for other tasks
    if flat.ndim != 1:
        raise DataError(_shape_of_labels(flat.shape))
    if flat.dtype.kind == "f" and not np.isfinite(flat).all():
        raise DataError("a label is NaN or infinite; leave those rows out")
    values: list[Any] = flat.tolist()
    return values


def _shape_of_labels(shape: tuple[int, ...]) -> str:
    return (
        f"labels have shape {shape}; there must be one for each row (of one-hot rows, that is "
        "labels.argmax(axis=1)), or with task='multilabel' 0 or 1 for each row and label"
    )


def _wrong_labels(labels: Sequence[Any], several: bool) -> DataError:
    if several:
        return DataError(
            "each row has one label; task='multilabel' takes 0 or 1 for each row and label, or "
            "lists of names"
        )
    width = max(len(label) for label in labels if isinstance(label, list | tuple))
    return DataError(_shape_of_labels((len(labels), width)))


def _numbered(rows: Sequence[Any]) -> tuple[str, ...]:
    """Return the numbers of labels, as their names, where rows are 0 or 1 for each label.

    Returns:
        () where rows are lists of names.

    Raises:
        DataError: rows of numbers have different lengths.
    """
    lists = [list(row) if isinstance(row, list | tuple) else [row] for row in rows]
    if all(isinstance(label, str) for row in lists for label in row):
        return ()
    for row in lists:
        if len(row) != len(lists[0]):
            raise DataError(
                f"rows have {len(lists[0])} and {len(row)} labels of 0 or 1; each row takes 0 or 1 "
                "for every label, or a list of the names of its labels"
            )
    return tuple(map(str, range(len(lists[0]))))


def _label_set(labels: Any, names: Sequence[str]) -> str:
    """Return the labels of a row, a list of names or 0 or 1 for each label, as one text."""
    found = list(labels) if isinstance(labels, list | tuple) else [labels]
    if all(isinstance(label, str) for label in found):
        return joined(found)
    if len(found) != len(names):
        raise DataError(f"a row has {len(found)} labels of 0 or 1; there are {len(names)} names")
    if not all(label in (0, 1) for label in found):
        raise DataError(f"a row has the labels {found!r:.60}; they are names, or 0 or 1 for each")
    return joined(name for name, is_set in zip(names, found, strict=True) if is_set)


def _name(label: Any) -> str:
    _check_label(label)
    is_whole = isinstance(label, bool | float) and label == int(label)
    return str(int(label)) if is_whole else str(label).strip()


def _number(label: Any) -> float:
    _check_label(label)
    number = as_number(str(label).strip())
    if number is None:
        raise DataError(f"a row has the label {label!r:.40}; a regression learns numbers")
    return number


def _check_label(label: Any) -> None:
    """Refuse a label that is missing.

    Raises:
        DataError: the label is None, NaN, infinite, or an empty text.
    """
    is_number = isinstance(label, float)
    is_missing = not math.isfinite(label) if is_number else label is None or not str(label).strip()
    if is_missing:
        raise DataError(f"a row has the label {label!r}, which is none; fill or remove the row")


def _by_value(labels: Sequence[str]) -> tuple[str, ...]:
    """Return the names of classes that are negative or fractional numbers, by value; else ().

    Other names have their usual order.
    """
    names = {*labels}
    numbers = {name: as_number(name) for name in names}
    if None in numbers.values() or all(name.isdecimal() for name in names):
        return ()
    return tuple(sorted(names, key=lambda name: (numbers[name], name)))


def _class_of(label: Any, classes: Sequence[str]) -> str:
    _check_label(label)
    if isinstance(label, str):
        return label.strip()
    number = int(label)
    if number != label or not 0 <= number < len(classes):
        raise DataError(f"a row has the label {label}; there are {len(classes)} classes, from 0")
    return classes[number]


def _shown(value: Any) -> str:
    count = f" of {len(value)}" if isinstance(value, Sequence) else ""
    return f"{type(value).__name__}{count}"

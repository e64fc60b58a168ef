"""Turn the labels of folders and tables into the class indices, or the numbers, of an ONNX file."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc.errors import DataError
from bmc.label_names import as_number, natural
from bmc.onnx_models.companions import CONFIG, json_beside
from bmc.onnx_models.logits import classes_of, logits_of, single_values_of
from bmc.onnx_models.reading import OnnxFile

_INDEX = re.compile(r"[-+]?[0-9]{1,9}")
_LISTED = 5
_DIGITS = 10


@dataclass(frozen=True)
class RowLabels:
    """Labels of rows as they are scored.

    Args:
        values: class indices (int64) or numbers (float64), one for each row; None where the labels
            do not fit the model's outputs.
        note: how names became indices, or why labels do not fit; "" for numbers.
    """

    values: NDArray[Any] | None
    note: str


def row_labels(
    file: OnnxFile, labels: Sequence[str], names: Sequence[str], where: str, are_named: bool
) -> RowLabels:
    """Return the labels of rows as they are scored.

    Labels that id2label of the config.json beside the file names are its classes; upper and lower
    case are alike. Other whole numbers are class indices, or values where the model has one value a
    row; other numbers are values. Other names are class indices in alphabetical order, where there
    are as many as the model has classes, and id2label names none of them.

    Args:
        file: the model.
        labels: label of each row.
        names: all labels of the folder or table, of which some may be in no row.
        where: where they come from, for notes.
        are_named: whether the caller named the labels. Others must fit an output.

    Raises:
        DataError: labels that the caller named are below 0, and not -1 for rows without a label.
    """
    configured = _index_by_name(json_beside(file.path, CONFIG))
    index_of = _configured_classes(configured, names)
    are_whole = all(_INDEX.fullmatch(label) for label in labels)
    is_complete = len(set(index_of.values())) == len(names)
    if is_complete and (not are_whole or classes_of(file.graph) is not None):
        return _by_config(file, [index_of[label] for label in labels], where)
    if are_whole:
        return _whole_numbers(file, [int(label) for label in labels], where, are_named)
    numbers = [number for label in labels if (number := as_number(label)) is not None]
    if len(numbers) < len(labels):
        return _named_classes(file, labels, sorted(names, key=natural), where, set(index_of))
    if not are_named and not single_values_of(file.graph):
        return RowLabels(None, _unfit(where, "no output has one value a row"))
    return RowLabels(np.array(numbers, np.float64), "")


def _whole_numbers(
    file: OnnxFile, numbers: Sequence[int], where: str, are_named: bool
) -> RowLabels:
    """Return class indices; values where the model has one value a row and they are no classes."""
    classes, largest = classes_of(file.graph), max(numbers)
    is_unlabeled = {*numbers} - {-1} == {number for number in numbers if number >= 0}
    if not (is_unlabeled and len({*numbers} - {-1}) > 1) and min(numbers) < 0 and classes:
        reason = f"there is a label {min(numbers)}, and classes are numbered from 0"
        if are_named:
            raise DataError(f"the labels of {where}: {reason}; -1 stands for no label")
        return RowLabels(None, _unfit(where, reason))
    if not logits_of(file.graph) and single_values_of(file.graph) and largest > 1:
        return RowLabels(np.array(numbers, np.float64), "")
    if not are_named and (classes is None or largest >= classes):
        reason = "no output holds logits" if classes is None else f"the model has {classes} classes"
        return RowLabels(None, _unfit(where, reason))
    return RowLabels(np.array(numbers, np.int64), "")


def _unfit(where: str, reason: str) -> str:
    """Say why labels that the caller did not name are not used."""
    return f"the labels of {where} fit no output: {reason}"


def _configured_classes(configured: Mapping[str, int], names: Sequence[str]) -> Mapping[str, int]:
    """Return the class indices of names, of those that id2label knows."""
    folded = {name.casefold(): index for name, index in configured.items()}
    indices = {name: configured.get(name, folded.get(name.casefold())) for name in names}
    return {name: index for name, index in indices.items() if index is not None}


def _by_config(file: OnnxFile, indices: Sequence[int], where: str) -> RowLabels:
    """Return class indices of id2label; none where it names more classes than the model has."""
    classes, largest = classes_of(file.graph), max(indices)
    if classes is not None and largest >= classes:
        reason = f"{CONFIG} has a class {largest}, and the model has {classes} classes"
        return RowLabels(None, _unfit(where, reason))
    return RowLabels(np.array(indices, np.int64), f"{where}: classes are those of {CONFIG}")


def _named_classes(
    file: OnnxFile,
    labels: Sequence[str],
    names: Sequence[str],
    where: str,
    configured: Collection[str],
) -> RowLabels:
    """Return the class indices of names.

    Args:
        file: the model.
        labels: label of each row.
        names: all labels, in order.
        where: where they come from, for notes.
        configured: those that id2label names, which are not all, or share a class.
    """
    classes = classes_of(file.graph)
    if classes != len(names):
        count = "an unknown number" if classes is None else classes
        return RowLabels(
            None,
            f"{where} has {len(names)} classes ({_listed(names)}), and the model has {count}: name "
            "them by the indices of the model's classes, or write their names into id2label of a "
            f"{CONFIG} beside {file.path.name}",
        )
    if configured:
        unknown = [name for name in names if name not in configured] or names
        return RowLabels(
            None,
            f"{where}: id2label of {CONFIG} beside {file.path.name} has some of the classes, and "
            f"none of its own for {_listed(unknown)}: name them as it does",
        )
    index_of = {name: index for index, name in enumerate(names)}
    return RowLabels(
        np.array([index_of[label] for label in labels], np.int64),
        f"{where}: classes are numbered in alphabetical order: "
        f"{_listed([f'{index} {name}' for name, index in index_of.items()])}",
    )


def _index_by_name(config: Mapping[str, Any]) -> Mapping[str, int]:
    """Return the index of each class by its name, from id2label."""
    names = config.get("id2label")
    if not isinstance(names, dict):
        return {}
    return {
        name: int(index)
        for index, name in names.items()
        if isinstance(name, str) and index.isdecimal() and len(index) < _DIGITS
    }


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(f"{name:.40}" for name in names[:_LISTED]) + more

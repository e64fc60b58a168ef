"""Read the texts or the numbers of a table as samples of an ONNX file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc import console
from bmc import data as datasets
from bmc.data_files import check_file
from bmc.errors import DataError, UsageError
from bmc.inputs.features import listed
from bmc.onnx_models.preprocessing import OF_NUMBERS, OF_TEXTS, Preprocessing
from bmc.onnx_models.reading import OnnxFile
from bmc.onnx_models.texts import TextInputs, text_inputs

_WHAT = "table of samples"
_LABEL = "label"
_TEXT = "text"


@dataclass(frozen=True)
class TextRows:
    """Texts of a table.

    Args:
        rows: texts of each row: one, or two of a pair.
        labels: label of each row; none where there is no column of labels.
        inputs: how they become the inputs of the model.
    """

    rows: list[tuple[str, ...]]
    labels: list[str]
    inputs: TextInputs


@dataclass(frozen=True)
class NumberRows:
    """Numbers of a table.

    Args:
        rows: the numbers, float64 (rows, columns).
        labels: label of each row; none where there is no column of labels.
        rows_a_call: number of rows that a call of the model takes.
    """

    rows: NDArray[np.float64]
    labels: list[str]
    rows_a_call: int


def texts_of(file: OnnxFile, path: Path, labels: str | None, typed: Preprocessing) -> TextRows:
    """Read the texts of a table.

    Args:
        file: the ONNX file.
        path: the table.
        labels: name of the column of labels; a column `label` when None, if there is one.
        typed: settings of the caller.

    Raises:
        UnknownError: there is no such file.
        UsageError: the model takes no texts, has no tokenizer, or other settings are typed.
        DataError: a column is missing, or a text is empty.
    """
    typed.refuse_except(OF_TEXTS, f"the model takes integers, so {path} holds texts")
    check_file(path, _WHAT)
    columns = datasets.column_names(path)
    label = _label_column(columns, labels, typed.text)
    texts = typed.text or _text_columns(columns, label, path)
    inputs = text_inputs(file, len(texts), typed.max_length)
    advice = "Name yours with --preprocess text=COLUMN and --labels COLUMN"
    records, values = datasets.records(path, (*texts, *label), advice)
    rows: list[tuple[str, ...]] = []
    row_labels: list[str] = []
    for number, cells in records:
        rows.append(tuple(values.text(*pair, number) for pair in zip(cells, texts, strict=False)))
        row_labels += [values.label(cells[-1], name, number) for name in label]
    _check_rows(rows, path, values)
    return TextRows(rows, row_labels, inputs)


def numbers_of(file: OnnxFile, path: Path, labels: str | None, typed: Preprocessing) -> NumberRows:
    """Read the numbers of a table.

    Args:
        file: the ONNX file, of one input of floats.
        path: the table.
        labels: name of the column of labels; a column `label` when None, if there is one.
        typed: settings of the caller.

    Raises:
        UnknownError: there is no such file.
        UsageError: the model takes no rows of numbers, or other settings are typed.
        DataError: a column is missing, there are more or fewer than the model takes, or a value is
            missing or not a finite number.
    """
    typed.refuse_except(OF_NUMBERS, f"the model takes floats, so {path} holds numbers")
    count, rows_a_call = _columns_and_rows(file)
    check_file(path, _WHAT)
    available = datasets.column_names(path)
    label = _label_column(available, labels, typed.features)
    columns = typed.features or tuple(name for name in available if name not in label)
    if not columns or (count is not None and len(columns) != count):
        raise DataError(
            f"input {file.inputs[0].name!r} takes {count or 'one or more'} numbers a row, and "
            f"{path} has {len(columns)} columns for it ({listed(columns)}): name those that it "
            "takes, in its order, --preprocess features=a,b,c, and the labels with --labels COLUMN"
        )
    advice = "Name yours with --preprocess features=a,b,c and --labels COLUMN"
    records, values = datasets.records(path, (*columns, *label), advice)
    rows: list[list[float]] = []
    row_labels: list[str] = []
    for number, cells in records:
        where = f"{path}: {values.unit} {number}"
        rows.append([_number(*pair, where) for pair in zip(cells, columns, strict=False)])
        row_labels += [values.label(cells[-1], name, number) for name in label]
    _check_rows(rows, path, values)
    return NumberRows(np.array(rows, np.float64), row_labels, rows_a_call)


def _label_column(
    columns: Sequence[str], labels: str | None, inputs: Sequence[str]
) -> tuple[str, ...]:
    """Return the name of the column of labels; () where there is none.

    Args:
        columns: the columns of the table.
        labels: the column that the caller named.
        inputs: columns that the caller named as inputs.
    """
    if labels is not None:
        return (labels,)
    return (_LABEL,) if _LABEL in columns and _LABEL not in inputs else ()


def _text_columns(columns: Sequence[str], label: Sequence[str], path: Path) -> tuple[str, ...]:
    """Return the column of texts: `text`, or the only one besides the labels."""
    others = [name for name in columns if name not in label]
    if _TEXT in others:
        return (_TEXT,)
    if len(others) == 1:
        return (others[0],)
    raise DataError(
        f"{path} has the columns {listed(columns)}: name that of the texts, --preprocess "
        "text=COLUMN (two for pairs, text=A,B), and the labels with --labels COLUMN"
    )


def _columns_and_rows(file: OnnxFile) -> tuple[int | None, int]:
    """Return the number of columns that a model takes, None for any, and of rows of a call.

    Raises:
        UsageError: its input is not rows of numbers.
    """
    info = file.inputs[0]
    shape = info.shape or ()
    if len(shape) == 1 and isinstance(shape[0], int):
        return shape[0], 1
    if len(shape) != 2:
        sizes = ", ".join(map(str, info.shape or ("any",)))
        raise UsageError(
            f"{file.path}: input {info.name!r} is {info.dtype} ({sizes}), and the rows of a table "
            "are (rows, columns): save its arrays as an .npz file"
        )
    rows, columns = shape
    return columns if isinstance(columns, int) else None, rows if isinstance(rows, int) else 1


def _number(cell: Any, column: str, where: str) -> float:
    number = datasets.number_in(cell)
    if number is None:
        raise DataError(
            f"{where}, column {column!r:.60}, holds {cell!r:.40}, which is not a number"
        )
    if not math.isfinite(number):
        raise DataError(
            f"{where}, column {column!r:.60}, has no finite number ({cell!r:.40}); fill it as the "
            "model expects, or remove the row"
        )
    return number


def _check_rows(rows: Sequence[Any], path: Path, values: datasets.Values) -> None:
    """Print the notes of a table; refuse one without rows."""
    for note in values.notes:
        console.note(note)
    if not rows:
        raise DataError(f"{path} has no rows")

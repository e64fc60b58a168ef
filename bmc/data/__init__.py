"""Data: examples with labels, split so that nothing ever leaks into the test part.

Cleaning has three places. Readers strip values. Rows are compared without case and white space that
does not matter (`_split`). HTML line breaks become spaces where text becomes tokens
(`bmc.inputs.text`), in training and on a device alike.
"""

from __future__ import annotations

import hashlib
import importlib
import math
from array import array
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc import plugins
from bmc.data import _split
from bmc.data._nearest import nearest
from bmc.data._split import Fold as Fold
from bmc.data._stored import StoredRows
from bmc.errors import DataError, SettingError, UnknownError, unknown
from bmc.inputs import Many
from bmc.inputs.image import shape_of

TASKS = ("classification", "regression")
_HINT = (
    "bmc datasets lists all; a .csv, .jsonl, .parquet or .npz file, imagefolder:DIR and hf:NAME "
    "work too"
)
_WITH_SENTENCES = ("imdb",)
_FRACTIONS = 10  # more different ones are measurements, not the names of classes
_FILES = {".csv": "_tables", ".jsonl": "_tables", ".parquet": "_tables", ".npz": "_arrays"}
_PREFIXES = {"imagefolder": "_imagefolder", "hf": "_hub"}


@dataclass(frozen=True)
class Examples:
    """Rows of one split.

    Args:
        rows: raw rows: tuples of texts, images (an array of bytes, or files), or series.
        labels: class index of each row, -1 where it has none; a number in a regression.
    """

    rows: Many
    labels: Sequence[int] | Sequence[float]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Table:
    """Rows as they came, before splitting.

    Args:
        rows: raw rows, all of one kind.
        labels: class name of each row; a number as text in a regression.
        official_test: rows that the data's authors set aside, kept as the test split.
            numbers: labels came as floating-point numbers, so fractions are no class names.
    """

    rows: Many
    labels: Sequence[str]
    official_test: Table | None = None
    kind: str = "text"
    numbers: bool = False


@dataclass(frozen=True)
class Dataset:
    """A table that was checked and split; `fingerprint` is the sha256 of its content.

    Args:
        name: as reports show it.
        kind: of its rows.
        task: "classification" or "regression".
        columns: text columns of a row; empty for other kinds.
        labels: class names in the order of their indices; empty in a regression.
        train: rows to learn from.
        validation: rows to choose by.
        test: rows held out.
        fingerprint: sha256 of all rows and labels as they came.
    """

    name: str
    kind: str
    task: str
    columns: tuple[str, ...]
    labels: tuple[str, ...]
    train: Examples
    validation: Examples
    test: Examples
    fingerprint: str


def load(
    reference: str,
    text_columns: Sequence[str] = ("text",),
    label_column: str = "label",
    task: str = "classification",
    fold: Fold | None = None,
) -> Dataset:
    """Load a data set by name, or a user's own, and split it.

    Args:
        reference: a built-in name, the path of a .csv, .jsonl, .parquet or .npz file,
            imagefolder:DIR, or hf:NAME.
        text_columns: a table's columns to read; two of them make sentence pairs.
        label_column: a table's column with the class or number.
        task: "classification", or "regression": labels are numbers.
        fold: hold out this part instead of the usual test split.

    Raises:
        UnknownError: no such data set or file.
        DataError: columns are missing, a row is broken, there is only one class.
    """
    if task not in TASKS:
        raise unknown("task", task, TASKS)
    prefix, _, rest = reference.partition(":")
    ending = Path(reference).suffix.lower()
    columns = tuple(text_columns)
    if prefix in _PREFIXES and rest:
        module = _reader(_PREFIXES[prefix])
        table, name = module.read(rest, columns, label_column), Path(rest.rstrip("/")).name
    elif ending in _FILES:
        if not 1 <= len(columns) <= 2:
            raise DataError(f"{len(columns)} text columns; bmc reads one, or two for pairs")
        if not Path(reference).is_file():
            raise UnknownError(f"no data file {reference!r}")
        module = _reader(_FILES[ending])
        table, name = module.read(Path(reference), columns, label_column), Path(reference).stem
    else:
        if reference not in plugins.names("bmc.data") and Path(reference).suffix:
            raise UnknownError(f"no data file {reference!r} of a kind bmc reads ({_HINT})")
        module = plugins.load("bmc.data", reference, "data set", _HINT)
        table, name, columns = module.table(), reference, ("text",)
    return split(table, name, columns if table.kind == "text" else (), task, fold)


def split(
    table: Table,
    name: str,
    columns: tuple[str, ...] = (),
    task: str = "classification",
    fold: Fold | None = None,
) -> Dataset:
    """Cut a table into train, validation and test by a hash of each row's content.

    An official test part is kept whole, and rows that stand in it too are dropped from the rest.
    Equal rows have equal hashes, so duplicates never cross; every class is cut alike.

    Raises:
        DataError: a text is empty, a label is missing, there is only one class, or a part would
            be empty.
    """
    official = table.official_test if fold is None else None
    _check(table, name)
    classes, codes, held = _labels(table, name, task)
    keys = _split.keys_of(table.rows)
    strata = codes if task == "classification" else np.zeros(len(codes), np.int32)
    parts = _split.parts_of(keys, strata, official is None, fold)
    if table.official_test:
        parts[np.isin(keys, _split.keys_of(table.official_test.rows))] = -1
    del keys
    cut = {
        part: _take(table.rows, codes, np.flatnonzero(parts == number))
        for number, part in enumerate(("train", "validation", "test"))
    }
    if official:
        cut["test"] = _take(official.rows, held, np.arange(len(held)))
    for part, examples in cut.items():
        if not len(examples):
            raise DataError(
                f"data {name!r}: {len(table.rows)} rows leave the {part} part empty; add more rows"
            )
    _check_classes(cut, classes, name)
    return Dataset(
        name, table.kind, task, columns, classes, **cut, fingerprint=_fingerprint(table, task, fold)
    )


def check_same(data: Dataset, fingerprint: object, model: str) -> None:
    """Check that data is what a model was trained on, so that its test rows were held out then.

    Raises:
        DataError: the fingerprints differ.
    """
    if data.fingerprint != fingerprint:
        raise DataError(
            f"{data.name!r} is not the data that {model} was trained on "
            f"(fingerprint {data.fingerprint[:12]}, recorded {str(fingerprint)[:12]}): its "
            "held-out rows may have been trained on; name the right one with --data"
        )


def histogram(examples: Examples, labels: Sequence[str]) -> dict[str, int]:
    """Count the rows of each class."""
    counts = Counter(examples.labels)
    return {label: counts[number] for number, label in enumerate(labels)}


def lengths(examples: Examples, kind: str) -> NDArray[np.int32]:
    """Return how long each row is: words of a text, steps of a series; nothing for images."""
    if kind == "text":
        words = (sum(len(text.split()) for text in row) for row in examples.rows)
        return np.fromiter(words, np.int32, len(examples))
    steps = [len(row) for row in examples.rows] if kind == "series" else []
    return np.array(steps, np.int32)


def image_shape(data: Dataset) -> tuple[int, int, int]:
    """Return (height, width, channels) that a model for these images takes by default.

    The most common size of the training images (of equally common ones the largest), and colour
    where any of them has colour; an encoder resizes and recolours the others.

    Raises:
        DataError: the data holds no images, or one that cannot be read.
    """
    if data.kind != "image":
        raise DataError(f"{data.name!r} holds {data.kind}, no images")
    rows = data.train.rows
    if isinstance(rows, np.ndarray):
        _, height, width, channels = rows.shape
        return height, width, channels
    shapes = Counter(shape_of(row) for row in rows)
    sizes: Counter[tuple[int, int]] = Counter()
    for (height, width, _), count in shapes.items():
        sizes[height, width] += count
    height, width = max(sizes, key=lambda size: (sizes[size], size))
    return height, width, max(channels for _, _, channels in shapes)


def transfer_texts(reference: str, limit: int, avoid: Dataset) -> tuple[str, ...]:
    """Load unlabelled texts for distillation: those most like the task's own, likest first.

    No text of the held-out splits is among them.

    Args:
        reference: a data set with `sentences`, a .txt file (one text a line), or "none".
        limit: how many texts at most; a smaller limit gives the first of a larger one's.
        avoid: the data whose validation and test texts must not be among them.

    Raises:
        UnknownError: no such data set or file.
        DataError: the file is no text.
        SettingError: the limit is below 0.
    """
    if limit < 0:
        raise SettingError(f"{limit} transfer texts; it must be 0 or more")
    if reference == "none" or limit == 0:
        return ()
    if Path(reference).suffix == ".txt":
        if not Path(reference).is_file():
            raise UnknownError(f"no file {reference!r} with transfer texts, one a line")
        try:
            lines = Path(reference).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{reference} is not readable as text in UTF-8: {error}") from error
        texts: Sequence[str] = [line.strip() for line in lines if line.strip()]
    else:
        if reference not in _WITH_SENTENCES:
            raise unknown("transfer set", reference, [*_WITH_SENTENCES, "none"], "or a .txt file")
        texts = plugins.load("bmc.data", reference, "data set").sentences()
    if avoid.kind != "text":
        raise DataError(f"{avoid.name!r} holds no text: use --transfer none")
    held_out = {_split.normal(row) for part in (avoid.validation, avoid.test) for row in part.rows}
    kept = [text for text in texts if _split.normal((text,)) not in held_out]
    return tuple(nearest(kept, (text for row in avoid.train.rows for text in row), limit))


def _reader(name: str) -> ModuleType:
    """Import the file that reads one kind of a user's own data; it is no data set by itself."""
    try:
        return importlib.import_module(f"bmc.data.{name}")
    except ModuleNotFoundError as error:
        raise plugins.missing(error, "this kind of data") from error


def _check(table: Table, name: str) -> None:
    if not len(table.rows):
        raise DataError(f"data {name!r} has no rows")
    for part in (table, table.official_test):
        if not part or part.kind != "text":
            continue
        for number, row in enumerate(part.rows, start=1):
            if any(not text.strip() for text in row):
                raise DataError(f"data {name!r}: row {number} has an empty text; remove or fill it")


def _check_classes(parts: Mapping[str, Examples], classes: tuple[str, ...], name: str) -> None:
    """Check that each class can be learned; a regression has none."""
    seen = set(parts["train"].labels)
    for number, label in enumerate(classes):
        if number in seen:
            continue
        if number in set(parts["validation"].labels):
            raise DataError(
                f"data {name!r}: no row of class {label!r} falls into train; add more rows"
            )
        raise DataError(
            f"data {name!r}: the test part has rows of class {label!r}, but the training rows "
            "have none; add some, or remove those"
        )


def _labels(
    table: Table, name: str, task: str
) -> tuple[tuple[str, ...], NDArray[Any], NDArray[Any]]:
    """Return the classes, and the labels of the table and of its official test part as numbers."""
    held = table.official_test.labels if table.official_test else ()
    if task == "regression":
        values = _as_numbers(table.labels, name)
        if len(values) == 1 or np.ptp(values) == 0:
            raise DataError(
                f"data {name!r} has only the label {values[0]:g}; a regression needs different ones"
            )
        return (), values, _as_numbers(held, f"{name} (test part)")
    found: dict[str, int] = {}
    codes, others = (
        np.fromiter((found.setdefault(label, len(found)) for label in labels), np.int32)
        for labels in (table.labels, held)
    )
    if not np.ptp(codes):
        raise DataError(
            f"data {name!r} has only the class {table.labels[0]!r} ({len(codes)} rows); "
            "a classifier needs at least two classes"
        )
    _check_names(found, name, table.numbers)
    classes = sorted(found, key=_natural)
    order = np.empty(len(classes), np.int32)
    order[[found[label] for label in classes]] = np.arange(len(classes))
    return tuple(classes), order[codes], order[others]


def _check_names(names: Collection[str], data: str, numbers: bool) -> None:
    """Refuse fractions as class names: few of them may be names in a table, such as 4.5 stars."""
    fraction = next((name for name in names if not _is_whole(name)), None)
    if fraction is None or not all(_is_number(name) for name in names):
        return
    if numbers or len(names) > _FRACTIONS:
        raise DataError(
            f"data {data!r}: labels such as {fraction} are numbers, not classes ({len(names)} "
            "different ones): --task regression learns numbers; classes need whole numbers or names"
        )


def _is_number(label: str) -> bool:
    try:
        return math.isfinite(float(label))
    except ValueError:
        return False


def _is_whole(label: str) -> bool:
    return not _is_number(label) or float(label).is_integer()


def _as_numbers(labels: Sequence[str], name: str) -> NDArray[np.float64]:
    found = np.empty(len(labels))
    for number, label in enumerate(labels):
        try:
            found[number] = float(label)
        except ValueError:
            found[number] = np.nan
        if not np.isfinite(found[number]):
            raise DataError(
                f"data {name!r}: row {number + 1} has the label {label!r:.40}; "
                "a regression needs a finite number"
            )
    return found


def _natural(label: str) -> tuple[int, int, str]:
    """Sort whole numbers by value, before names."""
    return (0, int(label), "") if label.isdecimal() else (1, 0, label)


def _take(rows: Many, labels: NDArray[Any], places: NDArray[np.int64]) -> Examples:
    if isinstance(rows, StoredRows):
        kind = "d" if labels.dtype == np.float64 else "i"
        return Examples(rows.take(places), array(kind, labels[places].tobytes()))
    found = tuple(labels[places].tolist())
    if isinstance(rows, np.ndarray):
        return Examples(rows[places], found)
    return Examples(tuple(rows[place] for place in places), found)


def _fingerprint(table: Table, task: str, fold: Fold | None) -> str:
    digest = hashlib.sha256()
    for part in (table, table.official_test):
        for row, label in zip(part.rows, part.labels, strict=True) if part else ():
            digest.update(_split.content_of(row) + b"\x1f" + label.encode() + b"\x1e")
    if task != "classification" or fold:
        digest.update(f"{task} {fold}".encode())
    return digest.hexdigest()

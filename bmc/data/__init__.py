"""Load data sets and split them so that no row of the test part is in another part.

Data is cleaned in three steps. Readers strip values, and refuse values that are not texts or labels
(`_values`). The split compares texts without case and repeated white space (`bmc.split`). The
tokenizer replaces HTML line breaks by spaces (`bmc.inputs.text`), in training and on devices alike.

A data set is a file that ends with `DATA_SET = DataSet(...)`. CONTRIBUTING.md says how to add one.
"""

from __future__ import annotations

import hashlib
import importlib
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc import plugins
from bmc.contracts.data_sets import DATA_SETS, HINT, data_set
from bmc.contracts.tasks import EMBEDDING, TOKENS, LabelReading, label_reading, labeled_tasks
from bmc.data import _texts
from bmc.data._clips import clips_in_memory as clips_in_memory
from bmc.data._columns import label_columns_of
from bmc.data._features import ALL_FEATURES as ALL_FEATURES
from bmc.data._features import column_names as column_names
from bmc.data._features import features_in_memory as features_in_memory
from bmc.data._features import number_in as number_in
from bmc.data._imagefolder import images_in as images_in
from bmc.data._labels import check_classes
from bmc.data._summary import Summary as Summary
from bmc.data._summary import summarize
from bmc.data._tables import FORMATS as FORMATS
from bmc.data._tables import records as records
from bmc.data._transfer import TransferRows as TransferRows
from bmc.data._transfer import fresh_rows as fresh_rows
from bmc.data._transfer import transfer_rows as transfer_rows
from bmc.data._values import Values as Values
from bmc.data._values import characters as characters
from bmc.data._vectors import Reference as Reference
from bmc.data._vectors import compared as compared
from bmc.data._vectors import labels_of as labels_of
from bmc.data._vectors import with_reference as with_reference
from bmc.data._where import locate as locate
from bmc.data._where import location_of
from bmc.data_files import check_file
from bmc.data_files import opened as opened
from bmc.errors import DataError, SettingError, UnknownError, unknown
from bmc.folds import Fold as Fold
from bmc.inputs import Many
from bmc.inputs.features import listed
from bmc.inputs.image import shape_of
from bmc.split import TRAIN, VALIDATION, parts_of, parts_of_groups
from bmc.split import content_of as content_of
from bmc.split import keys_of as keys_of
from bmc.stored_rows import StoredRows
from bmc.tag_sequences import TagSequences

_FILES = {**dict.fromkeys(FORMATS, "_tables"), ".npz": "_arrays"}
_UNPACK = {
    ".gz": "gunzip -k",
    ".bz2": "bunzip2 -k",
    ".xz": "unxz -k",
    ".zst": "unzstd",
    ".zip": "unzip",
}
_READ_SEVERAL = ("_tables", "_features", "_arrays", "_hub")  # readers of rows with several labels
_PREFIXES = {
    "imagefolder": "_imagefolder",
    "audiofolder": "_audiofolder",
    "hf": "_hub",
    "memory": "_memory",
}


Labels = Sequence[Any]
"""Class indices, numbers, or of several labels a row tuples with 0 or 1 for each label."""


@dataclass(frozen=True)
class Examples:
    """The rows of one part of a data set.

    Args:
        rows: raw rows: tuples of texts, images (a uint8 array, or files), clips of sound (an int16
            array, or files), series, or tuples of arrays.
        labels: class index of each row, -1 for a row without a label; a number in a regression; of
            several labels a row, a tuple with 0 or 1 for each; of words, `TagSequences`.
    """

    rows: Many
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Table:
    """The rows of a data set before the split.

    Args:
        rows: raw rows, all of one kind.
        labels: class name of each row; a number as text in a regression; of several labels a row,
            their names as `bmc.label_names.joined` writes them; of words, their tags with
            `bmc.label_names.SEPARATOR` between them.
        official_test: rows that the authors of the data set aside as the test part.
        kind: kind of the rows: "text", "words", "image", "audio", "series", "features" or "array".
        numbers: the labels were floating-point numbers, so that fractions are not class names.
        notes: sentences on decisions of the reader.
        classes: class names in the order of a network's outputs; sorted by name when empty.
        features: names of the numbers in a row, where rows are float64 (rows, numbers) with NaN
            for missing values, or arrays of one axis.
        several: whether a row has several labels.
        validation: True for the rows that the authors of the data set aside as the validation part,
            bool (rows); None where they set none aside.
        groups: name of each row's group, such as its speaker, where all rows of a group belong in
            one part; empty where rows are split one by one.
    """

    rows: Many
    labels: Sequence[str]
    official_test: Table | None = None
    kind: str = "text"
    numbers: bool = False
    notes: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    several: bool = False
    validation: NDArray[np.bool_] | None = None
    groups: Sequence[str] = ()


@dataclass(frozen=True)
class Dataset:
    """A data set that was checked and split.

    Args:
        name: name of the data set in reports.
        kind: kind of the rows.
        task: name of the task, such as "classification".
        columns: names of the text columns; empty for other kinds.
        labels: class names in the order of their indices; empty in a regression.
        train: the training part.
        validation: the validation part, by which models and settings are chosen.
        test: the held-out part.
        fingerprint: sha256 of all rows and labels before the split, and of a user's lists and
            groups, which decide it.
        summary: counts, and decisions of the reader.
        location: the reference with an absolute path; None for the name of a data set.
        features: names of the numbers in a row; empty where rows are none of named numbers.
        unlabeled: rows without labels, in no part, from which a student's network may take its
            vocabulary; empty where there is no student.
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
    summary: Summary
    location: str | None = None
    features: tuple[str, ...] = ()
    unlabeled: Many = ()

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of input that the rows can be: named numbers are arrays of one axis, too."""
        return ("features", "array") if self.features else (self.kind,)

    def described(self) -> str:
        """Return the counts and parts of the data set, in one line."""
        columns = f" from {' and '.join(map(repr, self.columns))}" if self.columns else ""
        if self.features:
            columns = f" {len(self.features)} ({listed(self.features)})"
        return (
            f"{self.name}: {self.kind}{columns}, {self.summary.counts()}; {len(self.train)} to "
            f"train on, {len(self.validation)} to choose by, {len(self.test)} held out"
        )


def load(
    reference: str,
    text_columns: Sequence[str] = ("text",),
    label_column: str = "label",
    task: str = "classification",
    fold: Fold | None = None,
    made_with: object = (),
    features: Sequence[str] = (),
) -> Dataset:
    """Load a data set by name, or the user's data, and split it.

    Args:
        reference: name of a data set, the path of a .csv, .tsv, .jsonl, .ndjson, .json, .parquet or
            .npz file, imagefolder:DIR, audiofolder:DIR, or hf:NAME.
        text_columns: names of a table's columns to read; two columns make sentence pairs.
        label_column: name of a table's column with the class or number; for several labels a row,
            of the column with all of them, or of a column for each, separated by commas.
        task: "classification", "multilabel" for several labels a row, "tokens" for a tag of each
            word, or "regression" for labels that are numbers.
        fold: fold of a cross-validation to hold out instead of the usual test part.
        made_with: plug-ins that were recorded with the reference.
        features: names of a table's columns of numbers to read instead of text; "all" for every
            such column but the label's. Of a data set by name, the columns to keep.

    Raises:
        UnknownError: there is no such data set or file.
        MissingError: the data set is a plug-in that is not installed.
        SettingError: a column is named twice.
        DataError: a file cannot be read, a column is missing, a row is malformed, or there is only
            one class.
    """
    if task not in labeled_tasks():
        raise unknown("task", task, labeled_tasks())
    columns = tuple(text_columns)
    is_file = Path(reference).suffix and reference.partition(":")[0] not in _PREFIXES
    if task == TOKENS and is_file:
        return _words(reference, columns, label_column, fold, features)
    several = label_reading(task).several
    _check_columns(columns, label_columns_of(label_column, several))
    unlabeled = None
    if label_reading(task).optional and not features:
        unlabeled = _texts.table_without_labels(reference, columns, label_column)
    users = None if unlabeled else _reader_of(reference)
    if unlabeled:
        table, name = unlabeled, Path(reference).stem
    elif users is not None:
        reader, argument, name = users
        if features:
            reader = _reader_of_features(reader, reference, columns)
        read = _reader(reader).read
        if several and reader in _READ_SEVERAL:
            read = partial(read, several=True)
        table = read(argument, features or columns, label_column)
    else:
        table, name, columns = _table_of(reference, made_with), reference, ("text",)
        table = _with_features(table, features, reference)
    data = split(table, name, columns if table.kind == "text" else (), task, fold)
    if task == EMBEDDING and len(columns) == 2:
        data = _texts.as_single_texts(data)
    return replace(data, location=location_of(reference))


def _words(
    reference: str,
    columns: tuple[str, ...],
    label_column: str,
    fold: Fold | None,
    features: Sequence[str],
) -> Dataset:
    """Load a file of words with tags, and split it; see `load`."""
    if features:
        raise SettingError("--features names columns of numbers; --task tokens reads words")
    path = Path(reference)
    check_file(path)
    table = _reader("_tokens").read(path, columns, label_column)
    data = split(table, path.stem, (), TOKENS, fold)
    return replace(data, location=location_of(reference))


def words_table(reference: str, label_column: str = "label") -> Table:
    """Return rows of words with tags, before the split.

    Args:
        reference: a file that `--task tokens` reads, or the name of a data set of such rows.
        label_column: name or number of the column of tags; "label" for the usual one.

    Raises:
        UnknownError: there is no such data set or file.
        DataError: the file is of another format, or a row is malformed.
    """
    path = Path(reference)
    if not path.suffix:
        return _table_of(reference, ())
    check_file(path)
    table: Table = _reader("_tokens").read(path, ("text",), label_column)
    return table


def words_in_memory(rows: Sequence[Any], tags: Sequence[Any], names: Sequence[str] = ()) -> Table:
    """Return rows of words with tags, before the split.

    Args:
        rows: words of each row.
        tags: tag of each word of each row: a name, or an index of `names`.
        names: names of the tags, in the order of a network's outputs; sorted by name when empty.

    Raises:
        DataError: a row is malformed.
    """
    table: Table = _reader("_tokens").in_memory(rows, tags, names)
    return table


def _check_columns(text_columns: tuple[str, ...], label_columns: Sequence[str]) -> None:
    if not 1 <= len(text_columns) <= 2:
        raise DataError(f"{len(text_columns)} text columns; bmc reads one, or two for pairs")
    texts = {column.strip() for column in text_columns}
    if both := [column for column in label_columns if column.strip() in texts]:
        raise SettingError(
            f"column {both[0]!r} is named as text and as label; a model would read its own "
            "answer: name another with --text-column or --label-column"
        )
    if len(texts) < len(text_columns):
        raise SettingError(f"--text-column names {text_columns[0]!r} twice; name two columns")


def _reader_of_features(reader: str, reference: str, columns: tuple[str, ...]) -> str:
    """Return the module that reads columns of numbers, in place of a reader of other rows.

    Raises:
        SettingError: columns of text are named, too.
        DataError: the data is no table.
    """
    if columns != ("text",):
        raise SettingError(
            "--text-column and --features are both given; a model reads texts or numbers: leave "
            "one out"
        )
    if reader == "_memory":  # rows of numbers that a caller passed; `features` are their columns
        return reader
    if reader != "_tables":
        raise DataError(
            f"--features names columns of a table ({', '.join(FORMATS)}), which {reference} is "
            "not; leave it out, or save the rows as a table"
        )
    return "_features"


def _with_features(table: Table, features: Sequence[str], name: str) -> Table:
    """Return a named data set with the columns of numbers that were asked for.

    Raises:
        DataError: it has none, or lacks one.
    """
    if not features:
        return table
    if table.kind != "features":
        raise DataError(
            f"--features names columns of a table, and {name!r} holds {table.kind}; leave it out"
        )
    chosen = _reader("_features").chosen(features, table.features, [], name)
    places = [table.features.index(column) for column in chosen]
    test = table.official_test and _with_features(table.official_test, features, name)
    rows = np.asarray(table.rows)[:, places]
    return replace(table, rows=rows, official_test=test, features=chosen)


def _table_of(name: str, made_with: object) -> Table:
    """Return the rows of a data set, by the data set's name.

    Raises:
        UnknownError: there is no such data set.
        MissingError: the data set needs a package that is not installed.
    """
    data_set_file = data_set(name, made_with)
    try:
        return data_set_file.table()
    except ModuleNotFoundError as error:
        raise DATA_SETS.needs(error, name) from error


def _reader_of(reference: str) -> tuple[str, Any, str] | None:
    """Return the reader of the user's data: a module of this folder, its argument, the data's name.

    Returns:
        None where the reference is the name of a data set.

    Raises:
        UnknownError: the reference looks like a file or a folder that bmc cannot read.
    """
    prefix, _, rest = reference.partition(":")
    if prefix in _PREFIXES and rest:
        return _PREFIXES[prefix], rest, Path(rest).name or Path(rest).resolve().name
    path = Path(reference)
    ending = path.suffix.lower()
    if ending in _FILES:
        check_file(path)
        return _FILES[ending], path, path.stem
    if ending == ".conll":
        raise UnknownError(f"{reference!r} holds words with tags: read it with --task tokens")
    names = DATA_SETS.names()
    if reference not in names and path.is_dir():
        raise UnknownError(
            f"{reference!r} is a folder; if it holds a folder of images for each class, it is "
            f"imagefolder:{reference}, and with sounds audiofolder:{reference}"
        )
    if reference not in names and ending in _UNPACK:
        raise UnknownError(
            f"{reference!r} is packed; unpack it first: {_UNPACK[ending]} {reference}"
        )
    if reference not in names and ending:
        raise UnknownError(f"no data file {reference!r} of a kind bmc reads ({HINT})")
    return None


def split(
    table: Table,
    name: str,
    columns: tuple[str, ...] = (),
    task: str = "classification",
    fold: Fold | None = None,
) -> Dataset:
    """Split a table into a training, a validation and a test part by the hash of each row.

    An official test part is kept whole, and its rows are removed from the other parts. Equal rows
    have equal hashes, so that duplicates are in the same part. Every class is split in the same
    shares. Rows of groups are split by the hash of the group.

    Args:
        table: the rows.
        name: name of the data set in reports and messages.
        columns: names of the text columns.
        task: name of a task with labels.
        fold: fold of a cross-validation to hold out; an official test part is then left out.

    Raises:
        DataError: a text is empty, a label is missing, there is only one class, or a part would
            be empty.
    """
    official = table.official_test if fold is None else None
    _check(table, name)
    if table.kind == "words" and task != TOKENS:
        raise DataError(f"data {name!r} holds words with a tag each, for --task tokens, not {task}")
    reading = label_reading(task)
    classes, codes, test_codes = reading.numbered(table, name)
    keys = keys_of(table.rows)
    if table.groups:
        parts = parts_of_groups(keys, table.groups, official is None, fold)
    else:
        parts = parts_of(keys, reading.strata(codes), official is None, fold)
    if table.validation is not None and fold is None:
        parts = _with_validation(parts, keys, table.validation)
    if table.official_test:
        parts[np.isin(keys, keys_of(table.official_test.rows))] = -1
    counted_codes = test_codes if official else test_codes[:0]
    notes = tuple(dict.fromkeys((*table.notes, *(official.notes if official else ()))))
    if table.kind == "features":
        notes += tuple(_reader("_features").notes_on_missing(table.rows, table.features))
    counts = reading.counts(codes, len(classes)) + reading.counts(counted_codes, len(classes))
    summary = summarize(
        *(keys, codes, len(counted_codes), dict(zip(classes, counts.tolist(), strict=True))),
        *(int((parts < 0).sum()), notes),
    )
    del keys
    cut = {
        part: _take(table.rows, codes, np.flatnonzero(parts == number), reading)
        for number, part in enumerate(("train", "validation", "test"))
    }
    if official:
        cut["test"] = _take(official.rows, test_codes, np.arange(len(test_codes)), reading)
    for part, rows in cut.items():
        if not len(rows):
            raise DataError(
                f"data {name!r}: {len(table.rows)} rows leave the {part} part empty; add more rows"
            )
    rows_of_class = {
        part: reading.counts(np.array(rows.labels), len(classes)) for part, rows in cut.items()
    }
    check_classes(rows_of_class, classes, name)
    fingerprint = _fingerprint(table, task, fold)
    examples = (cut["train"], cut["validation"], cut["test"])
    dataset = Dataset(name, table.kind, task, columns, classes, *examples, fingerprint, summary)
    return replace(dataset, features=table.features)


def _with_validation(
    parts: NDArray[np.int8], keys: NDArray[np.uint64], validation: NDArray[np.bool_]
) -> NDArray[np.int8]:
    """Return the part of each row where the validation part is the authors'.

    Rows that the usual split takes for validation go to the training part. A row that equals a
    validation row is in no part.
    """
    parts = np.where(parts == VALIDATION, np.int8(TRAIN), parts)
    parts[np.isin(keys, keys[validation])] = -1
    parts[validation] = VALIDATION
    return parts


def check_same(data: Dataset, fingerprint: object, model: str) -> None:
    """Check that a model was trained on this data, so that the test rows were held out.

    Args:
        data: the data set.
        fingerprint: the recorded fingerprint of the training data.
        model: name of the model, for the message.

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
    """Count the rows of each class, or with each label; of words, the words with each tag."""
    if isinstance(examples.labels, TagSequences):
        tags = Counter(examples.labels.tags.tolist())
        return {label: tags[number] for number, label in enumerate(labels)}
    codes = np.array(examples.labels)
    if codes.ndim == 2:
        return dict(zip(labels, codes.sum(axis=0).tolist(), strict=True))
    counts = Counter(examples.labels)
    return {label: counts[number] for number, label in enumerate(labels)}


def lengths(examples: Examples, kind: str) -> NDArray[np.int32]:
    """Return the length of each row: words of a text, steps of a series; empty for other kinds."""
    if kind == "words":
        return np.fromiter((len(row) for row in examples.rows), np.int32, len(examples))
    if kind == "text":
        words = (sum(len(text.split()) for text in row) for row in examples.rows)
        return np.fromiter(words, np.int32, len(examples))
    steps = [len(row) for row in examples.rows] if kind == "series" else []
    return np.array(steps, np.int32)


def image_shape(data: Dataset) -> tuple[int, int, int]:
    """Return the default (height, width, channels) of a model for these images.

    The size is the most common size of the training images, and the largest of equally common
    sizes. There are 3 channels if any training image has color. An encoder converts images of
    another size or number of channels.

    Raises:
        DataError: the data does not hold images, or an image cannot be read.
    """
    if data.kind != "image":
        raise DataError(f"{data.name!r} holds {data.kind}, not images")
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


def _reader(name: str) -> ModuleType:
    """Import the module of this folder that reads one kind of the user's data."""
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


def _take(
    rows: Many, labels: NDArray[Any], indices: NDArray[np.int64], reading: LabelReading
) -> Examples:
    if reading.of_rows:
        return Examples(_taken(rows, indices), reading.of_rows(labels[indices]))
    if labels.ndim == 2:
        return Examples(_taken(rows, indices), _sets(labels[indices]))
    if isinstance(rows, StoredRows):
        kind = "d" if labels.dtype == np.float64 else "i"
        return Examples(rows.take(indices), array(kind, labels[indices].tobytes()))
    return Examples(_taken(rows, indices), tuple(labels[indices].tolist()))


def _taken(rows: Many, indices: NDArray[np.int64]) -> Many:
    if isinstance(rows, StoredRows):
        return rows.take(indices)
    if isinstance(rows, np.ndarray):
        return rows[indices]
    return tuple(rows[index] for index in indices)


def _sets(codes: NDArray[Any]) -> tuple[tuple[int, ...], ...]:
    """Return the labels of each row, 0 or 1 (rows, labels), as tuples; equal rows share one."""
    distinct, places = np.unique(codes, axis=0, return_inverse=True)
    tuples = [tuple(row) for row in distinct.tolist()]
    return tuple(tuples[place] for place in places.ravel().tolist())


def _fingerprint(table: Table, task: str, fold: Fold | None) -> str:
    digest = hashlib.sha256()
    for part in (table, table.official_test):
        for row, label in zip(part.rows, part.labels, strict=True) if part else ():
            digest.update(content_of(row) + b"\x1f" + label.encode() + b"\x1e")
    digest.update("\x1f".join(table.groups).encode())
    is_files = len(table.rows) > 0 and isinstance(table.rows[0], Path)
    if table.validation is not None and is_files:  # lists of files change while the files stay
        digest.update(np.packbits(table.validation).tobytes())
    if task != "classification" or fold:
        digest.update(f"{task} {fold}".encode())
    return digest.hexdigest()

"""Find the reader of a data set or of the user's data, read, and split."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from bmc import plugins
from bmc.contracts.data_sets import DATA_SETS, HINT, data_set
from bmc.contracts.tasks import EMBEDDING, TOKENS, label_reading, labeled_tasks
from bmc.data import _texts
from bmc.data._columns import label_columns_of
from bmc.data._dataset import Dataset, Table
from bmc.data._parts import split
from bmc.data._tables import FORMATS
from bmc.data._where import location_of
from bmc.data_files import check_file
from bmc.errors import DataError, SettingError, UnknownError, unknown
from bmc.folds import Fold

_FILES = {**dict.fromkeys(FORMATS, "_tables"), ".npz": "_arrays"}
_UNPACK = {
    ".gz": "gunzip -k",
    ".bz2": "bunzip2 -k",
    ".xz": "unxz -k",
    ".zst": "unzstd",
    ".zip": "unzip",
}
_READ_SEVERAL = ("_tables", "_features", "_arrays", "_hub")  # readers of rows with several labels
_FILES_OF_NO_WORDS = ("hf:", "imagefolder:", "audiofolder:")
_PREFIXES = {
    "imagefolder": "_imagefolder",
    "audiofolder": "_audiofolder",
    "hf": "_hub",
    "memory": "_memory",
}


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
    if task == TOKENS and reference.startswith(_FILES_OF_NO_WORDS):
        raise DataError(
            f"--task tokens reads a file of words with tags, and {reference} is none: save its "
            "rows as .jsonl, each with tokens and tags (bmc.wrap takes a datasets.Dataset itself)"
        )
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
    text_columns = columns if table.kind == "text" else ()
    is_built_in = users is None and not unlabeled
    data = split(table, name, text_columns, task, fold, is_built_in)
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


def _reader(name: str) -> ModuleType:
    """Import the module of this folder that reads one kind of the user's data."""
    try:
        return importlib.import_module(f"bmc.data.{name}")
    except ModuleNotFoundError as error:
        raise plugins.missing(error, "this kind of data") from error

"""Data sets of the Hugging Face hub, hf:NAME[:CONFIGURATION][@REVISION], or in a local folder.

Needs the package `datasets`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from datasets import Image
from pandas.errors import ParserWarning

from bmc.data._columns import label_columns_of
from bmc.data._dataset import Table
from bmc.data._tables import classes_of, gathered, labels_of
from bmc.data._values import Values
from bmc.data_files import check_file, reading
from bmc.errors import AssetError, DataError
from bmc.inputs.image import check_image
from bmc.split import keys_of

_CHUNK = 1000
LabelsOf = Callable[[Sequence[Any], int], str]
_UNKNOWN = -1  # the hub's label of rows whose class is kept secret


def read(name: str, columns: Sequence[str], label_column: str, several: bool = False) -> Table:
    """Load the `train` part of a data set, and its labeled test part as the official test part.

    Where `validation` is labeled, too, models are chosen by it. If no row of `test` has a label, or
    all labels are -1, `validation` is the test part. Rows are texts if the text columns exist, else
    images if a column holds images.

    Raises:
        DataError: it has no train part, or a column is missing; the message lists those there are.
        AssetError: the hub cannot be reached, or has no such data set.
    """
    parts = {
        part: _plainly_named(rows, (*columns, label_column)) for part, rows in _loaded(name).items()
    }
    if "train" not in parts:
        raise DataError(f"hf:{name} has no part named train; it has {', '.join(parts)}")
    labeled = {}
    for part in ("test", "validation"):
        if part in parts and set(label_columns_of(label_column, several)) <= set(
            parts[part].features
        ):
            source = f"hf:{name} ({part})"
            table = _table(parts[part], source, columns, label_column, None, several)
            if len(table.rows) and not _is_hidden(table.labels):
                labeled[part] = table
    rows, test, chosen_by = parts["train"], None, 0
    if labeled:
        part, test = next(iter(labeled.items()))
        said = f"{part} is the part held out"
        if len(labeled) == len(("test", "validation")) and not _are_equal(**labeled):
            rows = datasets.concatenate_datasets([rows, parts["validation"]])
            chosen_by = len(labeled["validation"].rows)
            said += ", and validation the part to choose by"
        test = replace(test, notes=(*test.notes, said))
    whole = _table(rows, f"hf:{name}", columns, label_column, test, several)
    if not chosen_by:
        return whole
    return replace(whole, validation=np.arange(len(whole.rows)) >= len(whole.rows) - chosen_by)


def _are_equal(test: Table, validation: Table) -> bool:
    """Tell whether all validation rows are test rows as well, so that none is left to choose by."""
    return bool(np.isin(keys_of(validation.rows), keys_of(test.rows)).all())


def _is_hidden(labels: Sequence[str]) -> bool:
    """Tell whether all labels are -1, which benchmarks write in place of those that they keep."""
    with suppress(ValueError):
        return all(float(label) == _UNKNOWN for label in set(labels))
    return False


def _loaded(name: str) -> Any:
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    path, _, revision = name.partition("@")
    path, _, configuration = path.partition(":")
    where: dict[str, Any] = {"name": configuration or None, "revision": revision or None}
    try:
        builder = datasets.load_dataset_builder(path, **where)
        if hasattr(builder.config, "index_col") and builder.config.index_col is None:
            # Else pandas takes a first field too many for an index, and every column is shifted.
            where["index_col"] = False
        with warnings.catch_warnings():
            warnings.simplefilter("error", ParserWarning)  # fields too many would be cut off
            return datasets.load_dataset(path, **where)
    except Exception as error:  # `datasets` raises errors of the many packages that it calls
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        if Path(path).is_dir():
            raise DataError(
                f"hf:{name}: the folder is not readable as a Hugging Face data set ({reason}); "
                "name one of its files, such as a .csv, .jsonl or .parquet"
            ) from error
        raise AssetError(
            f"hf:{name} could not be had from the Hugging Face hub ({reason}); download it "
            "elsewhere and name its folder (hf:DIR), or a .csv, .jsonl, .parquet or .npz file"
        ) from error


def _plainly_named(part: Any, typed: Sequence[str]) -> Any:
    """Return a part whose columns' names have no white space at the ends, as in other tables.

    Args:
        part: rows of a data set.
        typed: names that the user typed, which stay as they are.
    """
    plain = [name.strip() for name in part.column_names]
    names = {
        name: name.strip()
        for name in part.column_names
        if name != name.strip() and name not in typed and plain.count(name.strip()) == 1
    }
    return part.rename_columns(names) if names else part


def _table(
    part: Any,
    name: str,
    columns: Sequence[str],
    label_column: str,
    official_test: Table | None,
    several: bool,
) -> Table:

    features = part.features
    images = [column for column, kind in features.items() if isinstance(kind, Image)]
    has_text = all(column in features for column in columns)
    columns_to_read = list(columns) if has_text else images[:1] or list(columns)
    label_columns = label_columns_of(label_column, several)
    missing = [column for column in (*columns_to_read, *label_columns) if column not in features]
    if missing:
        raise DataError(
            f"{name} has no column {missing[0]!r}; it has {', '.join(features)}. "
            "Name yours with --text-column and --label-column"
        )
    part = part.select_columns(list(dict.fromkeys([*columns_to_read, *label_columns])))
    values = Values(name)
    labels = labels_of(values, label_columns, several)
    if has_text:
        pairs = _texts(part, columns, label_columns, labels, values)
        table = gathered(pairs, part.data.nbytes or 0, values)
        classes = classes_of(label_columns, several)
        return replace(table, official_test=official_test, several=several, classes=classes)
    values.note(f"images were read from column {columns_to_read[0]!r}")
    part = part.cast_column(columns_to_read[0], Image(decode=False))
    records = list(_images(part, columns_to_read[0], label_columns, labels, values))
    rows, texts = [row for row, _ in records], [label for _, label in records]
    table = Table(rows, texts, official_test, "image", values.numbers, values.notes)
    return replace(table, several=several, classes=classes_of(label_columns, several))


def _texts(
    part: Any,
    columns: Sequence[str],
    label_columns: Sequence[str],
    labels: LabelsOf,
    values: Values,
) -> Iterator[tuple[tuple[str, ...], str]]:
    for number, record, label in _labeled(part, label_columns, labels, values):
        yield tuple(values.text(record[column], column, number) for column in columns), label


def _images(
    part: Any, column: str, label_columns: Sequence[str], labels: LabelsOf, values: Values
) -> Iterator[tuple[bytes, str]]:
    """Yield each image as its file's content, checked.

    Raises:
        DataError: a row has no image, or its image cannot be read; the message names the row.
    """
    for number, record, label in _labeled(part, label_columns, labels, values):
        image: dict[str, Any] = record[column] or {}
        content, path = image.get("bytes"), image.get("path")
        where = f"{values.source}: row {number}, column {column!r},"
        if not content:
            if not path:
                raise DataError(f"{where} holds no image; remove the row")
            check_file(Path(path), "image file")
            with reading(path):
                content = Path(path).read_bytes()
        try:
            check_image(content)
        except DataError as error:
            raise DataError(f"{where} {error}") from error
        yield content, label


def _labeled(
    part: Any, label_columns: Sequence[str], labels: LabelsOf, values: Values
) -> Iterator[tuple[int, dict[str, Any], str]]:
    """Yield the number, the record and the label or labels of each row that has a label."""
    kind = part.features[label_columns[0]] if len(label_columns) == 1 else None
    names = getattr(getattr(kind, "feature", kind), "names", None)  # of a class, or a list of them
    number = unknown = 0
    for chunk in part.iter(batch_size=_CHUNK):
        for row in zip(*chunk.values(), strict=True):
            number += 1
            record = dict(zip(chunk, row, strict=True))
            found = [record[column] for column in label_columns]
            if names and found[0] is not None:
                indices = found[0] if isinstance(found[0], list) else [found[0]]
                if indices and all(index == _UNKNOWN for index in indices):
                    unknown += 1
                    continue
                written = _names_of(indices, names, f"{values.source}: row {number}")
                found = [written if isinstance(found[0], list) else written[0]]
            yield number, record, labels(found, number)
    if unknown:
        values.note(f"{unknown} rows of {values.source} have no label (-1) and are left out")


def _names_of(indices: Sequence[Any], names: Sequence[str], where: str) -> list[str]:
    """Return the names of class indices.

    Raises:
        DataError: there is no such class.
    """
    for index in indices:
        if index is None or not 0 <= index < len(names):
            raise DataError(
                f"{where} has the label {'null' if index is None else index}; its {len(names)} "
                "classes are numbered from 0"
            )
    return [names[index] for index in indices]

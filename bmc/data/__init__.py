"""Data: examples with labels, split so that nothing ever leaks into the test part."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bmc import plugins
from bmc.data import _tables
from bmc.data._nearest import nearest
from bmc.errors import DataError, SettingError, UnknownError, unknown

_NO_PLUGIN_HINT = "bmc datasets lists all; a .csv, .jsonl or .parquet file works too"
_VALIDATION, _TEST = 0.1, 0.2
_WITH_SENTENCES = ("imdb",)


@dataclass(frozen=True)
class Examples:
    """Rows of one split.

    Args:
        texts: a row's text columns, one for sentences, two for sentence pairs.
        labels: class index of each row; -1 where a row has no label.
    """

    texts: tuple[tuple[str, ...], ...]
    labels: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Table:
    """Rows as they came, before splitting.

    Args:
        rows: text columns of each row.
        labels: class name of each row.
        official_test: rows that the data's authors set aside, kept as the test split.
    """

    rows: Sequence[tuple[str, ...]]
    labels: Sequence[str]
    official_test: Table | None = None


@dataclass(frozen=True)
class Dataset:
    """A table that was checked and split; `fingerprint` is the sha256 of its content."""

    name: str
    columns: tuple[str, ...]
    labels: tuple[str, ...]
    train: Examples
    validation: Examples
    test: Examples
    fingerprint: str


def load(
    reference: str, text_columns: Sequence[str] = ("text",), label_column: str = "label"
) -> Dataset:
    """Load a data set by name, or a user's file, and split it.

    Args:
        reference: a built-in name, or the path of a .csv, .jsonl or .parquet file.
        text_columns: the file's columns to read; two of them make sentence pairs.
        label_column: the file's column with the class.

    Raises:
        UnknownError: no such data set or file.
        DataError: columns are missing, a text is empty, there is only one class.
    """
    if _tables.is_table(reference):
        columns = tuple(text_columns)
        if not 1 <= len(columns) <= 2:
            raise DataError(f"{len(columns)} text columns; bmc reads one, or two for pairs")
        table, name = _tables.read(Path(reference), columns, label_column), Path(reference).stem
    else:
        if reference not in plugins.names("bmc.data") and Path(reference).suffix:
            raise UnknownError(
                f"no data file {reference!r} of a kind bmc reads ({_NO_PLUGIN_HINT})"
            )
        module = plugins.load("bmc.data", reference, "data set", _NO_PLUGIN_HINT)
        if not hasattr(module, "table"):
            text = [name for name in plugins.names("bmc.data") if name != reference]
            raise DataError(f"data set {reference!r} holds no text; text: {', '.join(text)}")
        table, name, columns = module.table(), reference, ("text",)
    return split(table, name, columns)


def split(table: Table, name: str, columns: tuple[str, ...]) -> Dataset:
    """Cut a table into train, validation and test by a hash of each row's text.

    An official test part is kept whole, and rows that stand in it too are dropped from the rest.
    Equal texts have equal hashes, so duplicates never cross.

    Raises:
        DataError: a text is empty, there is only one class, or a part would be empty.
    """
    _check(table, name)
    official = table.official_test
    classes = sorted({*table.labels, *(official.labels if official else ())})
    index = {label: number for number, label in enumerate(classes)}
    held_out = {_normal(row) for row in official.rows} if official else set()
    parts: dict[str, list[tuple[tuple[str, ...], int]]] = {
        "train": [],
        "validation": [],
        "test": [],
    }
    for row, label in zip(table.rows, table.labels, strict=True):
        if _normal(row) not in held_out:
            parts[_part(row, official is None)].append((row, index[label]))
    if official:
        parts["test"] = [
            (row, index[label]) for row, label in zip(official.rows, official.labels, strict=True)
        ]
    for part, rows in parts.items():
        if not rows:
            raise DataError(f"data {name!r}: {len(table.rows)} rows leave the {part} part empty")
    train, validation, test = (_examples(rows) for rows in parts.values())
    if len(set(train.labels)) < len(classes):
        gone = classes[min(set(range(len(classes))) - set(train.labels))]
        raise DataError(f"data {name!r}: no row of class {gone!r} falls into train; add more rows")
    print_ = _fingerprint(table)
    return Dataset(name, columns, tuple(classes), train, validation, test, print_)


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
    held_out = {_normal(row) for part in (avoid.validation, avoid.test) for row in part.texts}
    kept = [text for text in texts if _normal((text,)) not in held_out]
    return tuple(nearest(kept, (text for row in avoid.train.texts for text in row), limit))


def _check(table: Table, name: str) -> None:
    for part in (table, table.official_test):
        for number, row in enumerate(part.rows if part else (), start=1):
            if any(not text.strip() for text in row):
                raise DataError(f"data {name!r}: row {number} has an empty text; remove or fill it")
    classes = set(table.labels)
    if len(classes) < 2:
        only = f"only the class {next(iter(classes))!r}" if classes else "no rows"
        raise DataError(f"data {name!r} has {only}; a classifier needs at least two classes")


def _normal(row: tuple[str, ...]) -> str:
    return "\x1f".join(" ".join(text.lower().split()) for text in row)


def _part(row: tuple[str, ...], with_test: bool) -> str:
    digest = hashlib.sha256(_normal(row).encode()).digest()
    share = int.from_bytes(digest[:8], "big") / 2**64
    if share < _VALIDATION:
        return "validation"
    return "test" if with_test and share < _VALIDATION + _TEST else "train"


def _examples(rows: Sequence[tuple[tuple[str, ...], int]]) -> Examples:
    return Examples(tuple(row for row, _ in rows), tuple(label for _, label in rows))


def _fingerprint(table: Table) -> str:
    digest = hashlib.sha256()
    for part in (table, table.official_test):
        for row, label in zip(part.rows, part.labels, strict=True) if part else ():
            digest.update("\x1f".join((*row, label)).encode() + b"\x1e")
    return digest.hexdigest()

"""Load the unlabeled rows that a teacher predicts for a student, and record their source."""

from __future__ import annotations

import hashlib
from typing import Any, Protocol

from torch import Tensor

from bmc import console
from bmc import data as datasets
from bmc.data import Dataset, TransferRows, content_of
from bmc.errors import DataError, UsageError
from bmc.inference.form import is_quantized
from bmc.inputs import Many
from bmc.model import Model
from bmc.structure.word_table import word_table
from bmc.training.bundle_network import is_bundle
from bmc.training.new_texts import distinct_words, nearest_words, new_texts
from bmc.training.settings import NEIGHBORS
from bmc.workflows.data import DataSource

_DEFAULTS = {"movie-reviews": "imdb", "imdb": "imdb"}
_SEPARATOR = b"\x1e"
_CHANGED = {"image": "images", "audio": "sound"}  # kinds of rows that --augment changes as well


class Transfer(Protocol):
    """The settings of a verb that select unlabeled rows."""

    @property
    def transfer(self) -> str | None:
        """The source of the rows; None for the default of the data."""

    @property
    def transfer_column(self) -> tuple[str, ...]:
        """Names of a table's text columns; empty for those of the labeled data."""

    @property
    def transfer_size(self) -> int:
        """Maximum number of rows."""

    @property
    def augment_texts(self) -> int:
        """Number of new texts that are made of each training row."""

    @property
    def text_edits(self) -> tuple[str, ...]:
        """Edits that make the new texts."""

    @property
    def seed(self) -> int:
        """Random seed of the edits."""


def reference_of(settings: Transfer, source: DataSource) -> str:
    """Return the source of unlabeled rows: that of the settings, or the data set's default."""
    if settings.transfer is not None:
        return settings.transfer
    return default_rows(source.data)


def default_rows(data: str) -> str:
    """Return the source of unlabeled rows of a named data set; "none" for other data."""
    return _DEFAULTS.get(data, "none")


def rows_of(settings: Transfer, reference: str, data: Dataset) -> TransferRows:
    """Load unlabeled rows; see `bmc.data.transfer_rows`."""
    columns = settings.transfer_column
    return datasets.transfer_rows(reference, settings.transfer_size, data, columns)


def check_new_texts(settings: Transfer, data: Dataset) -> None:
    """Refuse new texts for data of another kind, before a teacher is trained.

    Raises:
        DataError: the data has no texts.
    """
    if settings.augment_texts and data.kind != "text":
        other = f"; --augment changes {_CHANGED[data.kind]}" if data.kind in _CHANGED else ""
        raise DataError(
            f"--augment-texts {settings.augment_texts} is for text, and {data.name!r} holds "
            f"{data.kind} rows: leave it out{other}"
        )


def check_edits(settings: Transfer, teacher: Model) -> None:
    """Refuse to replace words by a teacher, trained or not, that has no table of word vectors.

    Raises:
        UsageError: words are to be replaced, and the teacher has no such table.
    """
    if settings.augment_texts and NEIGHBORS in settings.text_edits:
        _word_vectors(teacher)


def new_rows_of(settings: Transfer, data: Dataset, unlabeled: Many, teacher: Model) -> TransferRows:
    """Make new texts of the training rows, for a teacher to label.

    Args:
        settings: how many texts, and which edits.
        data: data whose training rows are edited; no new text equals one of its rows.
        unlabeled: transfer rows, which no new text equals.
        teacher: its word vectors decide which words are near.

    Raises:
        DataError: the data has no texts.
        UsageError: words are to be replaced, and the teacher has no table of word vectors.
    """
    check_new_texts(settings, data)
    if not settings.augment_texts:
        return TransferRows()
    rows = data.train.rows
    neighbors = {}
    if NEIGHBORS in settings.text_edits:
        neighbors = _neighbors(rows, teacher)
    made = new_texts(rows, settings.augment_texts, settings.text_edits, neighbors, settings.seed)
    fresh = datasets.fresh_rows(made, data, unlabeled)
    console.note(
        f"new texts: {len(fresh):,} of {fresh.found:,} made from {len(rows):,} training rows; "
        f"{fresh.held_out:,} dropped as equal to validation or test rows, {fresh.duplicates:,} as "
        "duplicates"
    )
    return fresh


def _neighbors(rows: Many, teacher: Model) -> dict[str, tuple[str, ...]]:
    """Return the nearest words of each word of some texts, by a teacher's word embedding."""
    table = _word_vectors(teacher)
    encoder: Any = teacher.encoder  # a TextEncoder: `word_table` takes no other
    return nearest_words(distinct_words(rows), encoder.tokenizer, table)


def _word_vectors(teacher: Model) -> Tensor:
    """Return a teacher's word vectors (tokens, width).

    Raises:
        UsageError: it has no plain word embedding.
    """
    refusal = UsageError(
        f"--text-edits neighbors needs the teacher's word embedding, and this {teacher.family} "
        "has none, or one that is factorized or quantized: use --text-edits swap,drop"
    )
    if is_bundle(teacher) or is_quantized(teacher.module):
        raise refusal
    try:
        _, table = word_table(teacher, "replacing words")
    except UsageError as error:
        raise refusal from error
    return table.weight


def record(
    reference: str,
    unlabeled: TransferRows,
    settings: Transfer,
    new: TransferRows = TransferRows(),
) -> dict[str, Any]:
    """Return the record of unlabeled rows for bmc.json: source, counts and sha256.

    Args:
        reference: source of the rows.
        unlabeled: the rows.
        settings: names of a table's text columns, and how new texts are made.
        new: texts that were made of training rows, and are learned after the other rows.
    """
    digest = hashlib.sha256()
    for index, row in enumerate([*unlabeled.rows, *new.rows]):
        digest.update((_SEPARATOR if index else b"") + content_of(row))
    made = {
        "texts": settings.augment_texts,
        "edits": list(settings.text_edits),
        **_counts(new),
    }
    columns = list(settings.transfer_column)
    return {
        "reference": reference,
        **({"columns": columns} if columns else {}),
        **_counts(unlabeled),
        **({"new_texts": made} if settings.augment_texts else {}),
        "sha256": digest.hexdigest(),
    }


def _counts(rows: TransferRows) -> dict[str, int]:
    return {
        "rows": len(rows),
        "found": rows.found,
        "duplicates": rows.duplicates,
        "held_out": rows.held_out,
    }

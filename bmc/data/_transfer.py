"""Unlabeled texts for distillation: those most like a task's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bmc import console
from bmc.contracts.data_sets import data_set, with_sentences
from bmc.data._nearest import nearest
from bmc.data._values import characters
from bmc.data_files import check_file, opened
from bmc.errors import DataError, SettingError, unknown
from bmc.split import normal

if TYPE_CHECKING:
    from bmc.data import Dataset


def transfer_texts(reference: str, limit: int, avoid: Dataset) -> tuple[str, ...]:
    """Load unlabeled texts for distillation: those most similar to the task's texts, in order.

    No text of the held-out splits is among them.

    Args:
        reference: a data set with `sentences`, a .txt file (one text per line), or "none".
        limit: largest number of texts; the texts of a smaller limit are the first of a larger
            limit.
        avoid: the data whose validation and test texts must not be among them.

    Raises:
        UnknownError: no such data set or file.
        DataError: the file is not a text file.
        SettingError: the limit is below 0.
    """
    if limit < 0:
        raise SettingError(f"{limit} transfer texts; it must be 0 or more")
    if reference == "none" or limit == 0:
        return ()
    if Path(reference).suffix == ".txt":
        texts: Sequence[str] = _lines(Path(reference))
    else:
        texts = _sentences_of(reference)
    if avoid.kind != "text":
        raise DataError(f"{avoid.name!r} holds no text: use --transfer none")
    held_out = {normal(row) for part in (avoid.validation, avoid.test) for row in part.rows}
    transfer = [text for text in texts if normal((text,)) not in held_out]
    chosen = tuple(nearest(transfer, (text for row in avoid.train.rows for text in row), limit))
    dropped, less_alike = len(texts) - len(transfer), len(transfer) - len(chosen)
    console.note(
        f"transfer texts: {len(chosen):,} of {len(texts):,} from {reference}; {dropped:,} dropped "
        f"as equal to validation or test rows, {less_alike:,} as less like the data"
    )
    return chosen


def _sentences_of(reference: str) -> Sequence[str]:
    """Return the unlabeled texts of a data set.

    Raises:
        UnknownError: there is no such data set, or it has none.
    """
    data_sets = with_sentences()
    sentences = data_set(reference).sentences if reference in data_sets else None
    if sentences is None:
        raise unknown("transfer set", reference, [*data_sets, "none"], "or a .txt file")
    return sentences()


def _lines(path: Path) -> list[str]:
    """Return the texts of a file, one per line; blank lines are skipped."""
    check_file(path, "file with transfer texts, one a line,")
    with opened(path) as file:
        return [
            characters(line.strip(), f"{path}: line {number}")
            for number, line in enumerate(file, start=1)
            if line.strip()
        ]

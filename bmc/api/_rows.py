"""Unlabeled rows that a Python caller passes, in place of a file's name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from bmc import memory
from bmc.api.frames import column_names
from bmc.data import content_of
from bmc.errors import DataError

Unlabeled = str | Path | Sequence[Any] | NDArray[Any]
"""The name of a source of unlabeled rows; or the rows: texts, pairs of texts, tuples of words, an
array of images or series, or an array for each input of a wrapped network."""


@contextmanager
def referenced(rows: Unlabeled | None) -> Iterator[str | None]:
    """Yield a reference of unlabeled rows, which bmc can load while the block runs.

    Args:
        rows: a source's name, which is its own reference; or the rows.

    Raises:
        DataError: the rows are no collection.
    """
    if rows is None or isinstance(rows, str | Path):
        yield None if rows is None else str(rows)
        return
    if not hasattr(rows, "__len__") or not hasattr(rows, "__getitem__"):
        raise DataError(
            f"transfer is a {type(rows).__name__}; it must be a source's name, a list of texts, or "
            "arrays"
        )
    name = f"rows-{_digest(rows)}"
    with memory.keeping_rows(name, rows):
        yield memory.PREFIX + name


def _digest(rows: Sequence[Any] | NDArray[Any]) -> str:
    digest = hashlib.sha256()
    names = column_names(rows)
    if names is not None:  # of a data frame, whose own items are the names
        for name in names:
            digest.update(f"{name}\x1f{list(rows[name])!r}\x1e".encode())
        return digest.hexdigest()[:12]
    for row in rows:
        digest.update(content_of((row,) if isinstance(row, str) else row) + b"\x1e")
    return digest.hexdigest()[:12]

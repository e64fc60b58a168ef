"""Splits by the hash of each row's content: equal rows never cross, every class is in each part."""

from __future__ import annotations

import hashlib
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc.folds import Fold
from bmc.inputs import Many, Row

TRAIN, VALIDATION, TEST = 0, 1, 2
_VALIDATION_SHARE, _TEST_SHARE = 0.1, 0.2
_SPLITTABLE = 3


def keys_of(rows: Many) -> NDArray[np.uint64]:
    """Return a number a row, of its sha256, that is equal where rows are: uint64 (rows).

    Texts are equal if they differ alone in case, in white space, or in how Unicode composes their
    characters; images, series and arrays byte by byte.
    """
    return np.fromiter((_digest(row) for row in rows), np.uint64, len(rows))


def parts_of(
    keys: NDArray[np.uint64],
    strata: NDArray[Any],
    with_test: bool,
    fold: Fold | None = None,
) -> NDArray[np.int8]:
    """Say which part each row falls into: TRAIN, VALIDATION or TEST.

    In every class the distinct rows are ranked by their hash, and the parts are cut from that rank:
    without an official test part 10 % are for validation and 20 % for testing, and at least one row
    of each class that has three.

    Args:
        keys: of the rows, from `keys_of`.
        strata: class of each row; a duplicate with another label goes where the first one went.
        with_test: whether a test part is to be cut.
        fold: cut this part of the rank for testing instead.
    """
    order = np.argsort(keys, kind="stable").astype(np.int32)
    ranked = keys[order]
    fresh = np.append(True, ranked[1:] != ranked[:-1])
    del ranked
    owner = strata[order[fresh]]
    part = np.zeros(len(owner), np.int8)
    for stratum in np.unique(owner):
        places = np.flatnonzero(owner == stratum)
        if fold:
            start, end = (
                round(len(places) * at / fold.of) for at in (fold.number - 1, fold.number)
            )
            part[places[start:end]] = TEST
            rest = np.concatenate([places[end:], places[:start]])
            part[rest[: _share(len(rest), _VALIDATION_SHARE)]] = VALIDATION
            continue
        cut = _share(len(places), _VALIDATION_SHARE)
        part[places[:cut]] = VALIDATION
        if with_test:
            part[places[cut : cut + _share(len(places), _TEST_SHARE)]] = TEST
    found = np.empty(len(keys), np.int8)
    found[order] = part[np.cumsum(fresh, dtype=np.int32) - 1]
    return found


def _share(count: int, share: float) -> int:
    return max(round(count * share), 1 if count >= _SPLITTABLE else 0)


def normal(row: tuple[str, ...]) -> str:
    """Return a row of texts without what does not matter: case, white space, composition (NFC)."""
    text = "\x1f".join(" ".join(text.lower().split()) for text in row)
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def content_of(row: Row) -> bytes:
    """Return what a row holds, byte by byte; a file's content for a path."""
    if isinstance(row, tuple):
        parts = (part.encode() if isinstance(part, str) else content_of(part) for part in row)
        return b"\x1f".join(parts)
    if isinstance(row, Path):
        return row.read_bytes()
    if isinstance(row, bytes):
        return row
    array = np.ascontiguousarray(row)
    return f"{array.dtype}{array.shape}".encode() + array.tobytes()


def _digest(row: Row) -> int:
    is_text = isinstance(row, tuple) and isinstance(row[0], str)
    content = normal(row).encode() if is_text else content_of(row)
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "big")

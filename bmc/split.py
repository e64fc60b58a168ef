"""Split rows by the hash of their content: equal rows share a part, each part has every class.

Rows of groups, such as speakers, are split by group instead.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc.folds import Fold
from bmc.inputs import Many, Row
from bmc.spaced_words import SpacedWords

TRAIN, VALIDATION, TEST = 0, 1, 2
_VALIDATION_SHARE, _TEST_SHARE = 0.1, 0.2
_LARGE = 0.3  # share of all rows
_SPLITTABLE = 3  # rows of a class; with fewer, some part gets no row of the class


def keys_of(rows: Many) -> NDArray[np.uint64]:
    """Return a key for each row, from its sha256; equal rows have equal keys: uint64 (rows).

    Texts that differ only in case, white space or Unicode composition are equal. Images, series and
    arrays are equal if all their bytes are.
    """
    return np.fromiter((_digest(row) for row in rows), np.uint64, len(rows))


def parts_of(
    keys: NDArray[np.uint64],
    strata: NDArray[Any],
    with_test: bool,
    fold: Fold | None = None,
) -> NDArray[np.int8]:
    """Return the part of each row: TRAIN, VALIDATION or TEST.

    In every class the distinct rows are sorted by their keys, and the parts are slices of that
    order: 10 % of the rows for validation and 20 % for testing, and at least one row for each part
    in a class of three rows or more.

    Args:
        keys: uint64 (rows), from `keys_of`.
        strata: class of each row; a duplicate with another class goes to the part of the first.
        with_test: whether to make a test part; without one its rows stay in the training part.
        fold: the slice to use for testing; None for the usual 20 %.
    """
    order = np.argsort(keys, kind="stable").astype(np.int32)
    ranked = keys[order]
    is_first = np.append(True, ranked[1:] != ranked[:-1])
    del ranked
    classes = strata[order[is_first]]
    part_of_key = np.zeros(len(classes), np.int8)
    for stratum in np.unique(classes):
        indices = np.flatnonzero(classes == stratum)
        if fold:
            start, end = (
                round(len(indices) * bound / fold.of) for bound in (fold.number - 1, fold.number)
            )
            part_of_key[indices[start:end]] = TEST
            rest = np.concatenate([indices[end:], indices[:start]])
            part_of_key[rest[: _share(len(rest), _VALIDATION_SHARE)]] = VALIDATION
            continue
        cut = _share(len(indices), _VALIDATION_SHARE)
        part_of_key[indices[:cut]] = VALIDATION
        if with_test:
            part_of_key[indices[cut : cut + _share(len(indices), _TEST_SHARE)]] = TEST
    parts = np.empty(len(keys), np.int8)
    parts[order] = part_of_key[np.cumsum(is_first, dtype=np.int32) - 1]
    return parts


def parts_of_groups(
    keys: NDArray[np.uint64], groups: Sequence[str], with_test: bool, fold: Fold | None = None
) -> NDArray[np.int8]:
    """Return the part of each row where the rows of a group, such as a speaker, share a part.

    The groups are sorted by the sha256 of their names, those with more than 30 % of the rows last,
    and the parts are slices of that order: about 10 % of the rows for validation and 20 % for
    testing, and at least one group for each.
    A row that equals a test row, or a training row that equals a validation row, is in no part: -1.

    Args:
        keys: uint64 (rows), from `keys_of`.
        groups: name of each row's group.
        with_test: whether to make a test part; without one its rows stay in the training part.
        fold: the slice to use for testing; None for the usual 20 %.
    """
    names, group_of_row, counts = np.unique(
        np.array(groups), return_inverse=True, return_counts=True
    )
    shares = counts / len(keys)
    is_large = shares > _LARGE  # for training, as far as others fill the other parts
    order = np.array(
        sorted(
            range(len(names)),
            key=lambda at: (is_large[at], is_large[at] * shares[at], _hashed(str(names[at]))),
        )
    )
    sizes = shares[order]
    part_in_order = np.zeros(len(names), np.int8)
    if fold:
        middles = np.cumsum(sizes) - sizes / 2
        is_tested = np.floor(middles * fold.of) == fold.number - 1
        part_in_order[is_tested] = TEST
        rest = np.flatnonzero(~is_tested)
        part_in_order[rest[: _groups(sizes[rest], _VALIDATION_SHARE, 1)]] = VALIDATION
    else:
        cut = _groups(sizes, _VALIDATION_SHARE, 1 + with_test)
        part_in_order[:cut] = VALIDATION
        if with_test:
            part_in_order[cut : cut + _groups(sizes[cut:], _TEST_SHARE, 1)] = TEST
    part_of_group = np.empty(len(names), np.int8)
    part_of_group[order] = part_in_order
    parts = part_of_group[group_of_row]
    for part in (TEST, VALIDATION):
        parts[(parts != part) & (parts != TEST) & np.isin(keys, keys[parts == part])] = -1
    return parts


def has_large_group(groups: Sequence[str]) -> bool:
    """Tell whether a group has more than 30 % of the rows, which decides its part."""
    return bool(groups) and max(Counter(groups).values()) / len(groups) > _LARGE


def _groups(sizes: NDArray[np.float64], share: float, left: int) -> int:
    """Return how many groups, from the first, come nearest to a share of the rows: one or more.

    Args:
        sizes: share of all rows in each group.
        share: share of all rows.
        left: number of groups that other parts need.
    """
    nearest = int(np.argmin(np.abs(np.cumsum(sizes) - share))) if len(sizes) else 0
    return max(1, min(1 + nearest, len(sizes) - left))


def _hashed(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def _share(count: int, share: float) -> int:
    return max(round(count * share), 1 if count >= _SPLITTABLE else 0)


def normal(row: tuple[str, ...]) -> str:
    """Return a row of texts in lower case, with single spaces, composed as in Unicode's NFC."""
    text = "\x1f".join(" ".join(text.lower().split()) for text in row)
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def content_of(row: Row) -> bytes:
    """Return the bytes of a row's content; for a path, the bytes of the file."""
    if isinstance(row, tuple):
        parts = (
            part_of_key.encode() if isinstance(part_of_key, str) else content_of(part_of_key)
            for part_of_key in row
        )
        return b"\x1f".join(parts)
    if isinstance(row, Path):
        return row.read_bytes()
    if isinstance(row, bytes):
        return row
    array = np.ascontiguousarray(row)
    return f"{array.dtype}{array.shape}".encode() + array.tobytes()


def identity_of(row: Row) -> bytes:
    """Return the bytes of a row's content, with the white space between words where it is known."""
    text = f"\x1e{row.text}" if isinstance(row, SpacedWords) else ""
    return content_of(row) + text.encode()


def _digest(row: Row) -> int:
    is_text = isinstance(row, tuple) and isinstance(row[0], str)
    content = normal(row).encode() if is_text else content_of(row)
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "big")

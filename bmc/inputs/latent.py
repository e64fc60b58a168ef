"""Noise for a generator: a number seeds one row of independent normal values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc.errors import ArtifactError, DataError
from bmc.inputs import Arrays, Many, Row, TensorInfo, whole_number

_SEEDS = 2**64
_DIGITS = 20  # of the largest seed


class LatentEncoder:
    """Turn seeds into noise; the same seed gives the same row everywhere.

    Args:
        size: values a row.
    """

    kind = "latent"

    def __init__(self, size: int) -> None:
        self.size = size

    def encode(self, rows: Many) -> NDArray[np.float32]:
        """Return the noise, float32 (rows, size).

        Raises:
            DataError: a row is no whole number from 0 to 2**64 - 1, nor the digits of one.
        """
        found = np.empty((len(rows), self.size), np.float32)
        for place, row in enumerate(rows):
            generator = np.random.default_rng(_seed(row, place + 1))
            found[place] = generator.standard_normal(self.size)
        return found

    def batch(self, encoded: Many, places: Sequence[int]) -> Arrays:
        """Return `latent`: float32 (rows, size)."""
        return {"latent": np.asarray(encoded)[np.asarray(places)]}

    def lengths(self, encoded: Many) -> list[int]:
        """Return 1 for each row."""
        return [1] * len(encoded)

    def tensors(self) -> tuple[TensorInfo, ...]:
        """Say which tensors `batch` makes."""
        return (TensorInfo("latent", "float32", ("batch", self.size)),)

    def longest(self) -> dict[str, int]:
        """Return nothing: only the batch is dynamic."""
        return {}

    def probes(self, most_rows: int) -> list[Arrays]:
        """Return noise for one row and for several."""
        return [{"latent": self.encode(range(rows))} for rows in (1, min(5, most_rows))]

    def sized(self, golden: Arrays, rows: int, length: int) -> Arrays:
        """Repeat golden noise; `length` is not used."""
        return {"latent": np.resize(golden["latent"], (rows, self.size))}

    def example(self) -> Row:
        """Return a seed."""
        return 0

    def save(self, folder: Path) -> None:
        """Write nothing: the settings say it all."""

    def to_json(self) -> dict[str, Any]:
        """Return the settings as a JSON object."""
        return {"kind": self.kind, "size": self.size}


def _seed(row: Row, number: int) -> int:
    """Return a row's seed; a fraction, a truth value and a float are no whole numbers.

    Args:
        row: a number, or its digits as text.
        number: its place in the list, from 1, for messages.

    Raises:
        DataError: it is something else.
    """
    digits = isinstance(row, str) and row.isascii() and row.isdigit() and len(row) <= _DIGITS
    whole = isinstance(row, int | np.integer) and not isinstance(row, bool)
    seed = int(row) if digits or whole else -1
    if not 0 <= seed < _SEEDS:
        raise DataError(
            f"row {number} is {_shown(row)}; a generator takes a whole number that seeds its "
            "noise, 0 to 2**64 - 1"
        )
    return seed


def _shown(row: Row) -> str:
    try:
        return f"{row!r:.40}"
    except ValueError:  # Python writes no whole number of more than 4300 digits
        return "a number of thousands of digits"


def load(settings: Mapping[str, Any], folder: Path) -> LatentEncoder:
    """Make the encoder that a model directory or bundle describes.

    Raises:
        ArtifactError: the settings are malformed.
    """
    size = whole_number(settings, "size")
    if not 1 <= size <= 2**16:
        raise ArtifactError(f"preprocessing: {size} values of noise; 1..{2**16} are possible")
    return LatentEncoder(size)

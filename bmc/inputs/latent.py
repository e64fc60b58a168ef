"""The encoder of generators turns a seed into a row of independent normal values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc.errors import ArtifactError, DataError
from bmc.inputs import Arrays, Many, Row, TensorInfo, whole_number

_SEEDS = 2**64
_DIGITS = 20  # decimal digits of the largest seed


class LatentEncoder:
    """Turn seeds into noise; the same seed gives the same row everywhere.

    Args:
        size: number of values in a row.
    """

    kind = "latent"

    def __init__(self, size: int) -> None:
        self.size = size

    def encode(self, rows: Many) -> NDArray[np.float32]:
        """Return the noise, float32 (rows, size).

        Raises:
            DataError: a row is not an integer from 0 to 2**64 - 1, or a text with such an integer.
        """
        noise = np.empty((len(rows), self.size), np.float32)
        for index, row in enumerate(rows):
            generator = np.random.default_rng(_seed(row, index + 1))
            noise[index] = generator.standard_normal(self.size)
        return noise

    def batch(self, encoded: Many, indices: Sequence[int]) -> Arrays:
        """Return `latent`: float32 (rows, size)."""
        return {"latent": np.asarray(encoded)[np.asarray(indices)]}

    def lengths(self, encoded: Many) -> list[int]:
        """Return 1 for each row."""
        return [1] * len(encoded)

    def tensors(self) -> tuple[TensorInfo, ...]:
        """Return the name, dtype and shape of each tensor that `batch` returns."""
        return (TensorInfo("latent", "float32", ("batch", self.size)),)

    def longest(self) -> dict[str, int]:
        """Return {}: only the batch is dynamic."""
        return {}

    def probes(self, max_rows: int) -> list[Arrays]:
        """Return noise for one row and for several."""
        return [{"latent": self.encode(range(rows))} for rows in (1, min(5, max_rows))]

    def sized(self, golden: Arrays, rows: int, length: int) -> Arrays:
        """Repeat the golden noise; `length` is not used."""
        return {"latent": np.resize(golden["latent"], (rows, self.size))}

    def example(self) -> Row:
        """Return a seed."""
        return 0

    def save(self, folder: Path) -> None:
        """Write no file: the settings are enough."""

    def to_json(self) -> dict[str, Any]:
        """Return the settings as a JSON object."""
        return {"kind": self.kind, "size": self.size}


def _seed(row: Row, number: int) -> int:
    """Return the seed in a row; refuse floats and booleans.

    Args:
        row: an integer, or its digits as text.
        number: number of the row, from 1, for messages.

    Raises:
        DataError: the row is not a seed.
    """
    is_text = isinstance(row, str) and row.isascii() and row.isdigit() and len(row) <= _DIGITS
    is_integer = isinstance(row, int | np.integer) and not isinstance(row, bool)
    seed = int(row) if is_text or is_integer else -1
    if not 0 <= seed < _SEEDS:
        raise DataError(
            f"row {number} is {_quoted(row)}; a generator takes a whole number that seeds its "
            "noise, 0 to 2**64 - 1"
        )
    return seed


def _quoted(row: Row) -> str:
    try:
        return f"{row!r:.40}"
    except ValueError:  # Python prints no integer of more than 4300 digits
        return "a number of thousands of digits"


def load(settings: Mapping[str, Any], folder: Path) -> LatentEncoder:
    """Create the encoder of a model directory or bundle.

    Raises:
        ArtifactError: the settings are malformed.
    """
    size = whole_number(settings, "size")
    if not 1 <= size <= 2**16:
        raise ArtifactError(f"preprocessing: {size} values of noise; 1..{2**16} are possible")
    return LatentEncoder(size)

"""Inputs: raw examples into tensors, one kind a file; the same code in training and on a device.

Needs numpy, and tokenizers for text; never torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from bmc import plugins
from bmc.errors import ArtifactError, UnknownError

Arrays = dict[str, NDArray[Any]]
Row = Any
"""One raw example: a tuple of texts, an image or its path, a series, a number that seeds noise."""
Many = Sequence[Any] | NDArray[Any]
"""Rows, raw or encoded: anything with a length whose items are read by their places."""
_LARGEST = 1e30  # a number that float32 holds


@runtime_checkable
class Stored(Protocol):
    """Rows that lie on disk: they are encoded when they are collated, never all at once."""

    def __len__(self) -> int: ...

    def __getitem__(self, place: int) -> Row: ...

    def sizes(self) -> NDArray[np.int64]:
        """Return how many bytes each row has."""


@dataclass(frozen=True)
class TensorInfo:
    """A model's input or output: name, dtype and shape; a string in the shape is a dynamic axis."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


class Encoder(Protocol):
    """Turns raw rows of one kind into a model's input tensors; a file of this folder."""

    kind: str

    def encode(self, rows: Many) -> Many:
        """Check rows and bring them into the form that `batch` collates.

        Raises:
            DataError: a row is not of this kind, or the model cannot take it.
        """

    def batch(self, encoded: Many, places: Sequence[int]) -> Arrays:
        """Collate the encoded rows at these places into named tensors."""

    def lengths(self, encoded: Many) -> Sequence[int] | NDArray[np.int64]:
        """Return what rows are bucketed by: a row's tokens or time steps; 1 for each image."""

    def tensors(self) -> tuple[TensorInfo, ...]:
        """Say which tensors `batch` makes."""

    def longest(self) -> dict[str, int]:
        """Return the largest size that each dynamic axis but the batch may have."""

    def probes(self, most_rows: int) -> list[Arrays]:
        """Return made-up inputs of shapes that an export must answer, the extreme ones too."""

    def sized(self, golden: Arrays, rows: int, length: int) -> Arrays:
        """Return inputs for a latency: golden ones cut and repeated to exactly this shape."""

    def example(self) -> Row:
        """Return a raw row that the model can answer."""

    def save(self, folder: Path) -> None:
        """Write the files that `load` needs beside the settings."""

    def to_json(self) -> dict[str, Any]:
        """Return the settings as a JSON object, its kind among them."""


def load(settings: Mapping[str, Any], folder: Path) -> Encoder:
    """Make the encoder that `to_json` and `save` described.

    Raises:
        ArtifactError: the settings are of no known kind or malformed, or a file is missing.
    """
    kind = settings.get("kind")
    if not isinstance(kind, str) or not kind.isalpha():
        raise ArtifactError(f"preprocessing of kind {kind!r:.60}; this bmc knows {_kinds()}")
    try:
        module = plugins.load("bmc.inputs", kind, "kind of input")
    except UnknownError as error:
        raise ArtifactError(
            f"preprocessing of kind {kind!r:.60}; this bmc knows {_kinds()}"
        ) from error
    encoder: Encoder = module.load(settings, folder)
    return encoder


def ordered_batches(
    encoder: Encoder, encoded: Many, size: int
) -> Iterator[tuple[list[int], Arrays]]:
    """Cut rows into batches of like length, shortest first; each comes with its rows' places."""
    order = np.argsort(np.asarray(encoder.lengths(encoded), np.int64), kind="stable")
    for start in range(0, len(order), size):
        places: list[int] = order[start : start + size].tolist()
        yield places, encoder.batch(encoded, places)


def whole_number(settings: Mapping[str, Any], key: str) -> int:
    """Return a whole number out of settings that came from a file.

    Raises:
        ArtifactError: it is missing, or something else (true is no number).
    """
    value = settings.get(key)
    if type(value) is not int:
        raise ArtifactError(f"preprocessing needs the whole number {key}; it is {value!r:.60}")
    return value


def numbers(settings: Mapping[str, Any], key: str) -> tuple[float, ...]:
    """Return a list of finite numbers out of settings that came from a file.

    Raises:
        ArtifactError: it is missing, or something else.
    """
    values = settings.get(key)
    if not isinstance(values, list | tuple) or not all(
        type(value) in (int, float) and abs(value) <= _LARGEST for value in values
    ):
        raise ArtifactError(f"preprocessing needs the numbers {key}; they are {values!r:.60}")
    return tuple(float(value) for value in values)


def _kinds() -> str:
    return ", ".join(plugins.names("bmc.inputs"))

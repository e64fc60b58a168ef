"""Encoders turn raw rows into tensors; each kind of rows has its own file.

Training and devices run the same code, which needs numpy, tokenizers for text, and never torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from bmc import plugins
from bmc.errors import ArtifactError, UnknownError
from bmc.packed import Archive

Arrays = dict[str, NDArray[Any]]
Row = Any
"""One raw row: a tuple of texts, an image or its path, a series, a tuple of arrays, or a seed."""
Many = Sequence[Any] | NDArray[Any]
"""Rows, raw or encoded: any collection with a length, whose items are read by index."""
_LARGEST = 1e30  # within the range of float32
_READS = {"ngram": "text"}


@runtime_checkable
class Stored(Protocol):
    """Rows on disk that are encoded batch by batch."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Row: ...

    def sizes(self) -> NDArray[np.int64]:
        """Return the size of each row in bytes."""


@runtime_checkable
class Aligned(Protocol):
    """An encoder whose rows have several outputs each, such as one for each word.

    An encoded row is a part of a raw row; the outputs of a raw row's parts are its outputs, in
    order.
    """

    def counts(self, encoded: Many) -> NDArray[np.int64]:
        """Return the number of outputs of each encoded row."""

    def positions(self, encoded: Many, indices: Sequence[int]) -> NDArray[np.int64]:
        """Return where the outputs of a batch are in its flattened (rows x length)."""


@dataclass(frozen=True)
class TensorInfo:
    """An input or output of a model.

    Args:
        name: name of the tensor.
        dtype: name of the dtype, such as "float32".
        shape: size of each axis; a dynamic axis has a name in place of a size.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]


class Encoder(Protocol):
    """Turns raw rows of one kind into a model's input tensors; each file of this folder has one.

    Attributes:
        kind: name of the kind, which is the name of the file.
    """

    kind: str

    def encode(self, rows: Many) -> Many:
        """Check raw rows, and convert them to the form that `batch` takes.

        Raises:
            DataError: a row is not of this kind, or does not fit the model.
        """

    def batch(self, encoded: Many, indices: Sequence[int]) -> Arrays:
        """Collate the encoded rows at these indices into tensors, by name."""

    def lengths(self, encoded: Many) -> Sequence[int] | NDArray[np.int64]:
        """Return the length of each row, by which batches are formed: tokens, time steps, or 1."""

    def tensors(self) -> tuple[TensorInfo, ...]:
        """Return the name, dtype and shape of each tensor that `batch` returns."""

    def longest(self) -> dict[str, int]:
        """Return the largest size of each dynamic axis except the batch, by the axis' name."""

    def probes(self, max_rows: int) -> list[Arrays]:
        """Return random inputs of the shapes that an export must support, with the extreme shapes.

        Args:
            max_rows: largest number of rows in a batch.
        """

    def sized(self, golden: Arrays, rows: int, length: int) -> Arrays:
        """Cut and repeat golden inputs to exactly this shape, for measuring latency.

        Args:
            golden: input tensors, by name.
            rows: rows in the batch.
            length: tokens or time steps of each row; not used for images, arrays and seeds.
        """

    def example(self) -> Row:
        """Return a raw row that fits the model."""

    def save(self, folder: Path) -> None:
        """Write the files that `load` needs in addition to the settings."""

    def to_json(self) -> dict[str, Any]:
        """Return the kind and the settings as a JSON object."""


def longest_row(encoder: Encoder) -> int | None:
    """Return the largest `length` that `Encoder.sized` makes rows of: tokens, words or time steps.

    Returns:
        None where rows have no length: of images, tables, arrays, and the tensors of ONNX files.
    """
    if encoder.kind == "tensors":
        return None
    if encoder.kind == "ngram":  # its tensors hold n-grams, several for each word
        words: int = encoder.to_json()["max_length"]
        return words
    return encoder.longest().get("sequence")


def load(settings: Mapping[str, Any], folder: Path | Archive) -> Encoder:
    """Create an encoder from the results of `to_json` and `save`.

    Args:
        settings: the JSON object of `to_json`.
        folder: the folder with the files that `save` wrote, or the files of a packed bundle.

    Raises:
        ArtifactError: the kind or a setting is unknown, the settings are malformed, or a file is
            missing.
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
    _refuse_unknown(settings, encoder)
    return encoder


def _refuse_unknown(settings: Mapping[str, Any], encoder: Encoder) -> None:
    """Refuse settings that this version does not know: without them rows would be read otherwise.

    Raises:
        ArtifactError: there is one.
    """
    known = dict(encoder.to_json())
    if is_dataclass(own := getattr(encoder, "settings", None)):
        names = [field.name for field in fields(own)]  # also those that are written if not ""
        known = {**dict.fromkeys(names), **known}
    if unknown := sorted(_unknown(settings, known)):
        raise ArtifactError(
            f"preprocessing of kind {encoder.kind!r} has the setting {unknown[0]!r:.60}, which "
            "this bmc does not know: install the version that wrote it"
        )


def _unknown(settings: Any, known: Any) -> set[str]:
    """Return the keys of a JSON value that another of the same form lacks."""
    if isinstance(settings, Mapping) and isinstance(known, Mapping):
        inner = [_unknown(value, known[key]) for key, value in settings.items() if key in known]
        return {str(key) for key in settings.keys() - known.keys()}.union(*inner)
    if isinstance(settings, list) and isinstance(known, list):
        return set().union(*map(_unknown, settings, known))
    return set()


def kind_of_rows(kind: str) -> str:
    """Return the kind of the raw rows that an encoder reads, such as "text" for "ngram".

    Args:
        kind: kind of the encoder.
    """
    return _READS.get(kind, kind)


def ordered_batches(
    encoder: Encoder, encoded: Many, size: int
) -> Iterator[tuple[list[int], Arrays]]:
    """Yield batches of rows of similar length, the shortest first, with the indices of their rows.

    Args:
        encoder: the encoder of the rows.
        encoded: encoded rows.
        size: rows in a batch.
    """
    order = np.argsort(np.asarray(encoder.lengths(encoded), np.int64), kind="stable")
    for start in range(0, len(order), size):
        indices: list[int] = order[start : start + size].tolist()
        yield indices, encoder.batch(encoded, indices)


class OutputRows:
    """Where the outputs of encoded rows are: one output for each row, or one for each word.

    The outputs of all rows form one array, in the order of the rows.

    Args:
        encoder: the encoder of the rows.
        encoded: encoded rows.
    """

    def __init__(self, encoder: Encoder, encoded: Many) -> None:
        self._encoded = encoded
        self._aligned = encoder if isinstance(encoder, Aligned) else None
        self._total = len(encoded)
        if self._aligned:
            self._starts = np.concatenate([[0], np.cumsum(self._aligned.counts(encoded))])
            self._total = int(self._starts[-1])

    def __len__(self) -> int:
        return self._total

    def at(self, indices: Sequence[int]) -> NDArray[np.int64]:
        """Return the indices of the outputs of some encoded rows."""
        if self._aligned is None:
            return np.asarray(indices, np.int64)
        ranges = [np.arange(self._starts[row], self._starts[row + 1]) for row in indices]
        return np.concatenate(ranges)

    def positions(self, indices: Sequence[int]) -> NDArray[np.int64] | None:
        """Return where the outputs of a batch are in its flattened (rows x length).

        Returns:
            None where each row has one output.
        """
        return self._aligned.positions(self._encoded, indices) if self._aligned else None

    def selected(self, outputs: NDArray[Any], indices: Sequence[int]) -> NDArray[Any]:
        """Return the outputs that are read, of all outputs of a batch.

        Args:
            outputs: (rows, ...); (rows, length, classes) where there is one for each word.
            indices: the encoded rows of the batch.
        """
        positions = self.positions(indices)
        return outputs if positions is None else outputs.reshape(-1, outputs.shape[-1])[positions]


def whole_number(settings: Mapping[str, Any], key: str) -> int:
    """Return an integer from settings that were read from a file.

    Raises:
        ArtifactError: the key is missing, or its value is not an integer (true is not).
    """
    value = settings.get(key)
    if type(value) is not int:
        raise ArtifactError(f"preprocessing needs the whole number {key}; it is {value!r:.60}")
    return value


def numbers(settings: Mapping[str, Any], key: str) -> tuple[float, ...]:
    """Return finite numbers from settings that were read from a file.

    Raises:
        ArtifactError: the key is missing, or its value is not a list of such numbers.
    """
    values = settings.get(key)
    if not isinstance(values, list | tuple) or not all(
        type(value) in (int, float) and abs(value) <= _LARGEST for value in values
    ):
        raise ArtifactError(f"preprocessing needs the numbers {key}; they are {values!r:.60}")
    return tuple(float(value) for value in values)


def _kinds() -> str:
    return ", ".join(plugins.names("bmc.inputs"))

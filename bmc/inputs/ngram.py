"""Hash texts into word and character n-grams; the encoder has no vocabulary file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc import console
from bmc.errors import ArtifactError, SettingError
from bmc.inputs import Arrays, Many, Row, Stored, TensorInfo, _ngram_hashes, whole_number
from bmc.inputs._rows_of_text import texts_of

MOST_BUCKETS = 2**24
MOST_WORDS, MOST_CHARACTERS = 5, 8
_CHUNK = 1_000
_CHARACTERS_A_TOKEN = 6  # an English word with the space after it


@dataclass(frozen=True)
class NgramSettings:
    """How text becomes buckets.

    Args:
        buckets: number of buckets of the hash, and of rows in the model's embedding table.
        words: words of the longest word n-gram.
        characters: characters of the longest character n-gram, the shortest has 3; 0 for none.
        max_length: words of a text at most; the rest is not read.
        columns: number of texts in a row: 1, or 2 for sentence pairs.
        lowercase: whether case is dropped.

    Raises:
        SettingError: a setting is out of range.
    """

    buckets: int = 2**18
    words: int = 2
    characters: int = 5
    max_length: int = 256
    columns: int = 1
    lowercase: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.buckets <= MOST_BUCKETS:
            raise SettingError(
                f"buckets is {self.buckets}; it must lie in 1..{MOST_BUCKETS}: every n-gram is "
                f"looked up in one of them (262144 is usual)"
            )
        if not 1 <= self.words <= MOST_WORDS:
            raise SettingError(f"words is {self.words}; it must lie in 1..{MOST_WORDS}")
        least = _ngram_hashes.SHORTEST
        if self.characters and not least <= self.characters <= MOST_CHARACTERS:
            raise SettingError(
                f"characters is {self.characters}; it must lie in {least}..{MOST_CHARACTERS}, or "
                "be 0 for no n-grams of characters"
            )
        if not 4 <= self.max_length <= 8192:
            raise SettingError(f"max length is {self.max_length}; it must lie in 4..8192")
        if self.columns not in (1, 2):
            raise SettingError(f"{self.columns} text columns; 1 or 2 are possible")


class NgramEncoder:
    """Turn texts into the buckets of their n-grams, each weighted by 1 / sqrt(n-grams of the row).

    Nothing is learned from data and nothing depends on the machine: the same text has the same
    buckets in training and on every device.
    """

    kind = "ngram"

    def __init__(self, settings: NgramSettings) -> None:
        self.settings = settings

    def check_table(self, rows: int) -> None:
        """Check that the model's embedding table has a row for every bucket.

        Raises:
            ArtifactError: it has not.
        """
        if self.settings.buckets != rows:
            raise ArtifactError(
                f"preprocessing hashes into {self.settings.buckets} buckets, and the model's table "
                f"has {rows} rows; they must be as many"
            )

    def encode(self, rows: Many) -> Many:
        """Hash rows, texts or tuples of texts: int32 (n-grams) each.

        Rows on disk stay there until they are collated.

        Raises:
            DataError: a row has another number of texts than the model takes, is not a text, is
                empty, or holds a lone surrogate.
        """
        if isinstance(rows, Stored):
            self._encoded([rows[0]] if len(rows) else [])
            return rows
        if len(rows) <= _CHUNK:
            return self._encoded(rows)
        encoded: list[NDArray[np.int32]] = []
        with console.progress("hashing n-grams", len(rows)) as advance:
            for start in range(0, len(rows), _CHUNK):
                stop = min(start + _CHUNK, len(rows))
                part = [rows[index] for index in range(start, stop)]
                encoded += self._encoded(part, range(start, stop))
                advance(len(part))
        return encoded

    def batch(self, encoded: Many, places: Sequence[int]) -> Arrays:
        """Pad rows to the length of the longest row with bucket 0 and weight 0.

        Returns:
            input_ids: int64 (rows, longest), buckets.
            weights: float32 (rows, longest).
        """
        rows = [encoded[index] for index in places]
        if isinstance(encoded, Stored):
            rows = self._encoded(rows, places)
        longest = max(len(row) for row in rows)
        ids = np.zeros((len(rows), longest), np.int64)
        weights = np.zeros((len(rows), longest), np.float32)
        for number, row in enumerate(rows):
            ids[number, : len(row)] = row
            weights[number, : len(row)] = len(row) ** -0.5
        return {"input_ids": ids, "weights": weights}

    def weights_of_words(
        self, row: Row, weights: NDArray[np.float32]
    ) -> tuple[tuple[str, float], ...]:
        """Return the words of a row, each with its share of the weights of the n-grams.

        Args:
            row: a raw row.
            weights: weight of each n-gram of the row, in the order of `encode`.
        """
        settings, weighted, start = self.settings, list[tuple[str, float]](), 0
        for column, text in enumerate(texts_of(row, 1, settings.columns)):
            normal_text = _ngram_hashes.normal(text, settings.max_length, settings.lowercase)
            (ids,) = _ngram_hashes.hashed(
                [normal_text], settings.buckets, settings.words, settings.characters, column
            )
            part = weights[start : start + len(ids)]
            weighted += _ngram_hashes.spread(normal_text, part, settings.words, settings.characters)
            start += len(ids)
        return tuple(weighted)

    def lengths(self, encoded: Many) -> list[int] | NDArray[np.int64]:
        """Return each row's number of n-grams; of rows on disk, their bytes."""
        if isinstance(encoded, Stored):
            return encoded.sizes()
        return [len(row) for row in encoded]

    def tensors(self) -> tuple[TensorInfo, ...]:
        """Say which tensors `batch` makes."""
        return (
            TensorInfo("input_ids", "int64", ("batch", "sequence")),
            TensorInfo("weights", "float32", ("batch", "sequence")),
        )

    def longest(self) -> dict[str, int]:
        """Return the largest number of n-grams in a row."""
        settings = self.settings
        max_units = _ngram_hashes.most(settings.max_length, settings.words, settings.characters)
        return {"sequence": settings.columns * max_units}

    def probes(self, most_rows: int) -> list[Arrays]:
        """Return random buckets: one, a few, several rows with padding, and the largest length."""
        generator = np.random.default_rng(0)
        most, samples = self.longest()["sequence"], list[Arrays]()
        for rows, length in ((1, 1), (1, 3), (min(5, most_rows), min(170, most)), (1, most)):
            ids = generator.integers(0, self.settings.buckets, (rows, length))
            weights = np.full((rows, length), length**-0.5, np.float32)
            weights[0, 1 + length // 2 :] = 0
            samples.append({"input_ids": ids, "weights": weights})
        return samples

    def sized(self, golden: Arrays, rows: int, length: int) -> Arrays:
        """Return rows with as many n-grams as a text of `length` words of six characters has.

        The buckets are those of golden rows, repeated to this length.
        """
        settings = self.settings
        length = min(length, settings.max_length)
        of_words = sum(max(length - count, 0) for count in range(settings.words))
        kinds = max(settings.characters - _ngram_hashes.SHORTEST + 1, 0)
        count = settings.columns * (of_words + kinds * _CHARACTERS_A_TOKEN * length)
        ids = np.resize(golden["input_ids"][golden["weights"] > 0], count).astype(np.int64)
        return {
            "input_ids": np.ascontiguousarray(np.tile(ids, (rows, 1))),
            "weights": np.full((rows, count), count**-0.5, np.float32),
        }

    def example(self) -> Row:
        """Return a short text, or a pair of short texts."""
        return ("an hour of wit and charm",) * self.settings.columns

    def save(self, folder: Path) -> None:
        """Write nothing: the settings say it all."""

    def to_json(self) -> dict[str, Any]:
        """Return the settings as a JSON object."""
        return {"kind": self.kind, **asdict(self.settings)}

    def _encoded(self, rows: Many, places: Sequence[int] = ()) -> list[NDArray[np.int32]]:
        """Hash rows, numbered by their places, or else as they stand."""
        settings = self.settings
        if not len(rows):
            return []
        texts = [
            texts_of(row, 1 + (places[number] if places else number), settings.columns)
            for number, row in enumerate(rows)
        ]
        columns = [
            _ngram_hashes.hashed(
                [
                    _ngram_hashes.normal(row[column], settings.max_length, settings.lowercase)
                    for row in texts
                ],
                settings.buckets,
                settings.words,
                settings.characters,
                column,
            )
            for column in range(settings.columns)
        ]
        return (
            columns[0]
            if settings.columns == 1
            else [np.concatenate(row) for row in zip(*columns, strict=True)]
        )


def load(settings: Mapping[str, Any], folder: Path) -> NgramEncoder:
    """Make the encoder that a model directory or bundle describes.

    Raises:
        ArtifactError: the settings are malformed.
    """
    sizes = ("buckets", "words", "characters", "max_length", "columns")
    numbers = {name: whole_number(settings, name) for name in sizes}
    lowercase = settings.get("lowercase")
    if type(lowercase) is not bool:
        raise ArtifactError(
            f"preprocessing needs true or false for lowercase; it is {lowercase!r:.60}"
        )
    try:
        return NgramEncoder(NgramSettings(**numbers, lowercase=lowercase))
    except SettingError as error:
        raise ArtifactError(f"preprocessing: {error}") from error

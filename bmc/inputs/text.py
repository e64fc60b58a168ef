"""Text into token ids, with any tokenizer.json."""

from __future__ import annotations

import re
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from bmc import console
from bmc.errors import ArtifactError, DataError, SettingError
from bmc.inputs import Arrays, Many, Row, Stored, TensorInfo, whole_number

TOKENIZER = "tokenizer.json"
_CHUNK = 10_000
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_BYTES_A_TOKEN = 4


@dataclass(frozen=True)
class TextSettings:
    """How text becomes token ids.

    Args:
        max_length: tokens of a row at most, special tokens included.
        columns: texts of a row: 1, or 2 for sentence pairs.
        pad_id: id that fills a batch's shorter rows.
    """

    max_length: int = 128
    columns: int = 1
    pad_id: int = 0

    def __post_init__(self) -> None:
        if not 4 <= self.max_length <= 8192:
            raise SettingError(f"max length is {self.max_length}; it must lie in 4..8192")
        if self.columns not in (1, 2):
            raise SettingError(f"{self.columns} text columns; 1 or 2 are possible")
        if not 0 <= self.pad_id < 2**31:
            raise SettingError(f"padding id is {self.pad_id}; it must be a token's id")

    def to_json(self) -> dict[str, Any]:
        """Return the settings as a JSON object."""
        return {"kind": "text", **asdict(self)}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> TextSettings:
        """Read what `to_json` wrote."""
        numbers = [whole_number(value, key) for key in ("max_length", "columns", "pad_id")]
        try:
            return TextSettings(*numbers)
        except SettingError as error:
            raise ArtifactError(f"preprocessing: {error}") from error


@dataclass(frozen=True, slots=True)
class Tokens:
    """One encoded row: token ids and, for pairs, which text each token came from; kept small."""

    ids: array[int]
    types: array[int]


class TextEncoder:
    """Encode rows of text with a tokenizer.

    Args:
        tokenizer: a tokenizer.json's content as loaded; its own padding and truncation are ignored.
        settings: maximum length, columns, padding id.
    """

    kind = "text"

    def __init__(self, tokenizer: Tokenizer, settings: TextSettings) -> None:
        self.settings = settings
        self.tokenizer = Tokenizer.from_str(tokenizer.to_str())
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        self._cutting = Tokenizer.from_str(self.tokenizer.to_str())
        self._cutting.enable_truncation(settings.max_length)

    def encode(self, rows: Many) -> Many:
        """Turn rows, tuples of texts, into `Tokens`, without padding.

        HTML line breaks become spaces. Rows on disk stay there until they are collated.

        Raises:
            DataError: a row has another number of texts than the model takes.
        """
        if isinstance(rows, Stored):
            self._encoded([rows[0]] if len(rows) else [])
            return rows
        return self._encoded(rows)

    def batch(self, encoded: Many, places: Sequence[int]) -> Arrays:
        """Pad rows to the longest of them.

        Returns:
            input_ids, attention_mask and, for pairs, token_type_ids: int64 (rows, longest).
        """
        rows = [encoded[place] for place in places]
        if isinstance(encoded, Stored):
            rows = self._encoded(rows)
        longest = max(len(row.ids) for row in rows)
        ids = np.full((len(rows), longest), self.settings.pad_id, np.int64)
        mask, types = np.zeros_like(ids), np.zeros_like(ids)
        for number, row in enumerate(rows):
            ids[number, : len(row.ids)] = row.ids
            mask[number, : len(row.ids)] = 1
            types[number, : len(row.ids)] = row.types
        arrays = {"input_ids": ids, "attention_mask": mask}
        return arrays if self.settings.columns == 1 else {**arrays, "token_type_ids": types}

    def lengths(self, encoded: Many) -> list[int] | NDArray[np.int64]:
        """Return each row's number of tokens; of rows on disk, an estimate from their bytes."""
        if isinstance(encoded, Stored):
            return np.minimum(encoded.sizes() // _BYTES_A_TOKEN + 2, self.settings.max_length)
        return [len(row.ids) for row in encoded]

    def _encoded(self, rows: Many) -> list[Tokens]:
        columns = self.settings.columns
        inputs: list[Any] = []
        for row in rows:
            texts = (row,) if isinstance(row, str) else tuple(row)
            if len(texts) != columns or not all(isinstance(text, str) for text in texts):
                raise DataError(f"the model takes {columns} text(s) a row; {len(texts)} were given")
            clean = tuple(without_breaks(text) for text in texts)
            inputs.append(clean[0] if columns == 1 else clean)
        if len(inputs) <= _CHUNK:
            return self._tokens(inputs)
        found: list[Tokens] = []
        with console.progress("cutting texts into tokens", len(inputs)) as advance:
            for start in range(0, len(inputs), _CHUNK):  # a tokenizer's own answers are large
                found += self._tokens(inputs[start : start + _CHUNK])
                advance(len(found) - start)
        return found

    def _tokens(self, inputs: list[Any]) -> list[Tokens]:
        found = self._cutting.encode_batch_fast(inputs)
        return [Tokens(array("i", one.ids), array("b", one.type_ids)) for one in found]

    def tensors(self) -> tuple[TensorInfo, ...]:
        """Say which tensors `batch` makes."""
        names = ("input_ids", "attention_mask", "token_type_ids")[: self.settings.columns + 1]
        return tuple(TensorInfo(name, "int64", ("batch", "sequence")) for name in names)

    def longest(self) -> dict[str, int]:
        """Return the most tokens that a row may have."""
        return {"sequence": self.settings.max_length}

    def probes(self, most_rows: int) -> list[Arrays]:
        """Return random ids of one token, few, many rows, and the greatest length."""
        generator = np.random.default_rng(0)
        most = self.settings.max_length
        found = []
        for rows, length in ((1, 1), (1, 3), (min(5, most_rows), min(17, most)), (1, most)):
            ids = generator.integers(0, self.tokenizer.get_vocab_size(), (rows, length))
            arrays = {info.name: np.ones_like(ids) for info in self.tensors()} | {"input_ids": ids}
            arrays["attention_mask"][0, 1 + length // 2 :] = 0
            found.append(arrays)
        return found

    def sized(self, golden: Arrays, rows: int, length: int) -> Arrays:
        """Cut golden rows to one row of `length` tokens without padding, and repeat it."""
        real = golden["attention_mask"] == 1
        return {
            name: np.ascontiguousarray(
                np.tile(np.resize(array[real], length), (rows, 1)).astype(array.dtype)
            )
            for name, array in golden.items()
        }

    def example(self) -> Row:
        """Return a short text, or a pair of them."""
        return ("an hour of wit and charm",) * self.settings.columns

    def save(self, folder: Path) -> None:
        """Write tokenizer.json."""
        self.tokenizer.save(str(folder / TOKENIZER))

    def to_json(self) -> dict[str, Any]:
        """Return the settings as a JSON object."""
        return self.settings.to_json()


def without_breaks(text: str) -> str:
    """Return a text with HTML line breaks turned into spaces, as a tokenizer is given it."""
    return _BREAK.sub(" ", text) if "<" in text else text


def load(settings: Mapping[str, Any], folder: Path) -> TextEncoder:
    """Make the encoder that a model directory or bundle describes.

    Raises:
        ArtifactError: the settings are malformed, or there is no tokenizer.
    """
    return TextEncoder(load_tokenizer(folder / TOKENIZER), TextSettings.from_json(settings))


def load_tokenizer(path: Path) -> Tokenizer:
    """Read a tokenizer.json.

    Raises:
        ArtifactError: the file is missing or is no tokenizer.
    """
    if not path.is_file():
        raise ArtifactError(f"{path.parent} has no {path.name}")
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:
        raise ArtifactError(f"{path} is no tokenizer that bmc can read: {error}") from error

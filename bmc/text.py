"""Text into tensors: the same code in training and on the device; needs tokenizers and numpy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from bmc.errors import ArtifactError, SettingError

Arrays = dict[str, NDArray[Any]]


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
        if value.get("kind") != "text":
            raise ArtifactError(f"preprocessing of kind {value.get('kind')!r}; this bmc knows text")
        numbers = [
            number
            for key in ("max_length", "columns", "pad_id")
            if type(number := value.get(key)) is int  # True is none
        ]
        if len(numbers) < 3:
            raise ArtifactError("preprocessing needs whole numbers: max_length, columns, pad_id")
        try:
            return TextSettings(*numbers)
        except SettingError as error:
            raise ArtifactError(f"preprocessing: {error}") from error


@dataclass(frozen=True)
class Tokens:
    """One encoded row: token ids and, for pairs, which text each token came from."""

    ids: list[int]
    types: list[int]


class TextEncoder:
    """Encode rows of text with a tokenizer.

    Args:
        tokenizer: a tokenizer.json's content as loaded; its own padding and truncation are ignored.
        settings: maximum length, columns, padding id.
    """

    def __init__(self, tokenizer: Tokenizer, settings: TextSettings) -> None:
        self.settings = settings
        self._tokenizer = Tokenizer.from_str(tokenizer.to_str())
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(settings.max_length)

    def encode(self, rows: Sequence[tuple[str, ...]]) -> list[Tokens]:
        """Turn rows into token ids, without padding."""
        inputs = [row[0] if self.settings.columns == 1 else row for row in rows]
        found = self._tokenizer.encode_batch_fast(inputs)
        return [Tokens(encoding.ids, encoding.type_ids) for encoding in found]

    def batch(self, rows: Sequence[Tokens]) -> Arrays:
        """Pad rows to the longest of them.

        Returns:
            input_ids, attention_mask and, for pairs, token_type_ids: int64 (rows, longest).
        """
        longest = max(len(row.ids) for row in rows)
        ids = np.full((len(rows), longest), self.settings.pad_id, np.int64)
        mask, types = np.zeros_like(ids), np.zeros_like(ids)
        for number, row in enumerate(rows):
            ids[number, : len(row.ids)] = row.ids
            mask[number, : len(row.ids)] = 1
            types[number, : len(row.ids)] = row.types
        arrays = {"input_ids": ids, "attention_mask": mask}
        return arrays if self.settings.columns == 1 else {**arrays, "token_type_ids": types}

    def batches(self, rows: Sequence[Tokens], size: int) -> list[tuple[list[int], Arrays]]:
        """Cut rows into batches of like length; each comes with its rows' places."""
        order = sorted(range(len(rows)), key=lambda row: len(rows[row].ids))
        chunks = [order[start : start + size] for start in range(0, len(order), size)]
        return [(chunk, self.batch([rows[row] for row in chunk])) for chunk in chunks]


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

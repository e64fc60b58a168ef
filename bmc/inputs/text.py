"""The encoder of text: a text becomes token ids, with the tokenizer of any tokenizer.json."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from bmc import console
from bmc.errors import ArtifactError, DataError
from bmc.inputs import Arrays, Many, Row, Stored, TensorInfo
from bmc.inputs._row_tokens import RowTokens, Tokens
from bmc.inputs._rows_of_text import texts_of
from bmc.inputs._text_settings import TextSettings
from bmc.inputs._tokenizer_file import (
    TOKENIZER,
    beyond_table,
    check_tokenizer,
    load_tokenizer,
    panics_refused,
    tokenizer_in,
)
from bmc.packed import Archive

if TYPE_CHECKING:
    from typing import Self  # Python 3.11; devices may have 3.10

__all__ = [
    "TOKENIZER",
    "TextEncoder",
    "TextSettings",
    "Tokens",
    "beyond_table",
    "check_tokenizer",
    "load",
    "load_tokenizer",
    "panics_refused",
    "tokenizer_in",
]

_CHUNK_ROWS = 10_000
_HTML_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_BYTES_A_TOKEN = 4


class TextEncoder:
    """Encode rows of text with a tokenizer.

    Args:
        tokenizer: the tokenizer of a tokenizer.json; padding and truncation in it are ignored.
        settings: settings of tokenization.

    Raises:
        ArtifactError: a token or the padding has no row in the model's token table, or the
            tokenizer adds more special tokens than a row may have.
    """

    kind = "text"

    def __init__(self, tokenizer: Tokenizer, settings: TextSettings) -> None:
        self.settings = settings
        self.tokenizer = Tokenizer.from_str(tokenizer.to_str())
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        self._room = settings.max_length - self.tokenizer.num_special_tokens_to_add(
            settings.columns == 2
        )
        if self._room < 1:
            raise ArtifactError(
                f"the tokenizer adds {settings.max_length - self._room} special tokens to a row, "
                f"which has {settings.max_length} at most; choose a larger --max-length"
            )
        if settings.vocabulary:
            self.check_table(settings.vocabulary)
        self._rows = RowTokens(self.tokenizer, settings, self._room)

    def bounded(self, characters: int) -> Self:
        """Return an encoder that refuses rows of which it would have to read too much at once.

        A tokenizer takes about 100 bytes of memory for each character. Of a longer text only the
        beginning is read where that gives the same tokens; see `bmc.long_text`. Where it does not,
        `encode` raises a TooLongError.

        Args:
            characters: largest number of characters that the tokenizer reads at once.
        """
        encoder = copy.copy(self)
        encoder._rows = self._rows.bounded(characters)
        return encoder

    def check_table(self, rows: int) -> None:
        """Check that a model's token table has a row for every token and for the padding.

        Args:
            rows: number of rows in the token table.

        Raises:
            ArtifactError: an id has no row; the message says what to do.
        """
        vocabulary = self.tokenizer.get_vocab()
        token = max(vocabulary, key=lambda name: vocabulary[name])
        if vocabulary[token] >= rows:
            raise ArtifactError(beyond_table(token, vocabulary[token], rows))
        if self.settings.pad_id >= rows:
            raise ArtifactError(beyond_table("padding", self.settings.pad_id, rows))

    def encode(self, rows: Many) -> Many:
        """Turn rows, tuples of texts, into `Tokens`, without padding.

        Rows on disk are returned as they are; `batch` tokenizes them.

        Raises:
            DataError: a row is not text, is empty, has another number of texts than the model
                takes, or contains a lone surrogate.
            TooLongError: a text is longer than the bound of this encoder; see `bounded`.
        """
        if isinstance(rows, Stored):
            self._encoded([rows[0]] if len(rows) else [])
            return rows
        return self._encoded(rows)

    def cleaned(self, text: str) -> str:
        """Return a text with HTML line breaks replaced by spaces, if the settings say so."""
        return _HTML_BREAK.sub(" ", text) if self.settings.html_breaks and "<" in text else text

    def texts_of(self, row: Row) -> tuple[str, ...]:
        """Return the texts that the tokenizer reads of a row, each with the prompt before it."""
        texts = (row,) if isinstance(row, str) else row
        return tuple(self.settings.prompt + self.cleaned(text) for text in texts)

    def batch(self, encoded: Many, indices: Sequence[int]) -> Arrays:
        """Pad rows to the length of the longest.

        Returns:
            input_ids, attention_mask and, for pairs of models that read them, token_type_ids: int64
            (rows, longest).
        """
        rows = [encoded[index] for index in indices]
        if isinstance(encoded, Stored):
            rows = self._encoded(rows, indices)
        longest = max(len(row.ids) for row in rows)
        ids = np.full((len(rows), longest), self.settings.pad_id, np.int64)
        mask = np.zeros_like(ids)
        for number, row in enumerate(rows):
            ids[number, : len(row.ids)] = row.ids
            mask[number, : len(row.ids)] = 1
        arrays = {"input_ids": ids, "attention_mask": mask}
        if self._has_types:
            types = arrays["token_type_ids"] = np.zeros_like(ids)
            for number, row in enumerate(rows):
                types[number, : len(row.ids)] = row.types
        return arrays

    def lengths(self, encoded: Many) -> list[int] | NDArray[np.int64]:
        """Return the number of tokens of each row; of rows on disk, an estimate from the bytes."""
        if isinstance(encoded, Stored):
            return np.minimum(encoded.sizes() // _BYTES_A_TOKEN + 2, self.settings.max_length)
        return [len(row.ids) for row in encoded]

    def _encoded(self, rows: Many, indices: Sequence[int] = ()) -> list[Tokens]:
        """Tokenize rows; `indices` are the rows' indices in the data, if not 0, 1, 2, ..."""
        encoded: list[Tokens] = []
        with self._progress(len(rows)) as advance:
            for start in range(0, len(rows), _CHUNK_ROWS):
                stop = min(start + _CHUNK_ROWS, len(rows))
                numbers = [
                    1 + (indices[index] if indices else index) for index in range(start, stop)
                ]
                part = [
                    self._checked(rows[index], number)
                    for index, number in zip(range(start, stop), numbers, strict=True)
                ]
                for number, tokens in zip(numbers, self._rows.tokens(part, numbers), strict=True):
                    if not tokens.ids:
                        raise DataError(f"row {number} has no token that the model knows")
                    encoded.append(tokens)
                advance(len(part))
        return encoded

    @contextmanager
    def _progress(self, count: int) -> Iterator[Callable[[int], None]]:
        if count <= _CHUNK_ROWS:
            yield lambda _: None
            return
        with console.progress("cutting texts into tokens", count) as advance:
            yield advance

    def _checked(self, row: Row, number: int) -> tuple[str, ...]:
        """Return the texts of a row.

        Raises:
            DataError: the row does not fit the model.
        """
        texts = texts_of(row, number, self.settings.columns)
        self._rows.check_pair(texts, number)
        return tuple(self.settings.prompt + self.cleaned(text) for text in texts)

    def tensors(self) -> tuple[TensorInfo, ...]:
        """Return the name, dtype and shape of each tensor that `batch` returns."""
        names = ["input_ids", "attention_mask", *["token_type_ids"][: int(self._has_types)]]
        return tuple(TensorInfo(name, "int64", ("batch", "sequence")) for name in names)

    @property
    def _has_types(self) -> bool:
        return self.settings.columns == 2 and self.settings.type_input

    def longest(self) -> dict[str, int]:
        """Return the largest number of tokens in a row."""
        return {"sequence": self.settings.max_length}

    def probes(self, max_rows: int) -> list[Arrays]:
        """Return random ids: of one token, of a few, of several rows, and of the largest length."""
        generator = np.random.default_rng(0)
        longest = self.settings.max_length
        probes = []
        for rows, length in ((1, 1), (1, 3), (min(5, max_rows), min(17, longest)), (1, longest)):
            ids = generator.integers(0, self.tokenizer.get_vocab_size(), (rows, length))
            arrays = {info.name: np.ones_like(ids) for info in self.tensors()} | {"input_ids": ids}
            arrays["attention_mask"][0, 1 + length // 2 :] = 0
            probes.append(arrays)
        return probes

    def sized(self, golden: Arrays, rows: int, length: int) -> Arrays:
        """Join the tokens of golden rows to one row of `length` tokens, and repeat the row."""
        is_token = golden["attention_mask"] == 1
        return {
            name: np.ascontiguousarray(
                np.tile(np.resize(array[is_token], length), (rows, 1)).astype(array.dtype)
            )
            for name, array in golden.items()
        }

    def example(self) -> Row:
        """Return a short text, or a pair of short texts."""
        return ("an hour of wit and charm",) * self.settings.columns

    def save(self, folder: Path) -> None:
        """Write tokenizer.json."""
        self.tokenizer.save(str(folder / TOKENIZER))

    def to_json(self) -> dict[str, Any]:
        """Return the settings as a JSON object."""
        return self.settings.to_json()


def load(settings: Mapping[str, Any], folder: Path | Archive) -> TextEncoder:
    """Create the encoder of a model directory or bundle.

    Raises:
        ArtifactError: the settings are malformed, or there is no tokenizer.
    """
    checked = TextSettings.from_json(settings)
    return TextEncoder(tokenizer_in(folder, checked.vocabulary), checked)

"""The encoder of text: a text becomes token ids, with the tokenizer of any tokenizer.json."""

from __future__ import annotations

import copy
import math
import re
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from bmc import console, long_text
from bmc.errors import ArtifactError, DataError, SettingError, TooLongError
from bmc.inputs import Arrays, Many, Row, Stored, TensorInfo, whole_number
from bmc.inputs._rows_of_text import texts_of
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
    "beyond_table",
    "check_tokenizer",
    "load",
    "load_tokenizer",
    "panics_refused",
    "tokenizer_in",
]

SIDES = ("right", "left")
_CHUNK_ROWS = 10_000
_CHUNK_CHARACTERS = 1_000_000  # a tokenizer takes about 100 bytes of memory for each character
# Of a long text, this many characters per token of a row are tokenized first. Most texts have fewer
# characters per token. If this beginning has too few tokens, a longer beginning is tried.
_CHARACTERS_A_TOKEN = 8
_HTML_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_COUNT_CHARACTERS = 100_000
_MAX_PAIR_TOKENS = 2_000_000
_BYTES_A_TOKEN = 4
_MAX_PROMPT = 10_000  # characters
# Settings that directories of older versions lack; a directory has all of these or none of them.
_NEWER_SETTINGS = ("truncation_side", "pair_types", "vocabulary", "html_breaks")


@dataclass(frozen=True)
class TextSettings:
    """The settings of tokenization.

    Args:
        max_length: largest number of tokens in a row, with special tokens, 4 to 8192.
        columns: number of texts in a row: 1, or 2 for sentence pairs.
        pad_id: token id that fills the shorter rows of a batch.
        truncation_side: the end at which a long text is cut: "right" or "left".
        pair_types: give tokens of the second text type 1; else all tokens have type 0.
        vocabulary: number of rows in the model's token table, larger than every id; 0 if unknown.
        html_breaks: replace HTML line breaks (<br />) by spaces before tokenization.
        type_input: whether pairs give the model token types, the tensor token_type_ids.
        prompt: text that is put before each text, as some encoders of sentences want it.

    Raises:
        SettingError: a value is outside its range.
    """

    max_length: int = 128
    columns: int = 1
    pad_id: int = 0
    truncation_side: str = "right"
    pair_types: bool = True
    vocabulary: int = 0
    html_breaks: bool = False
    type_input: bool = True
    prompt: str = ""

    def __post_init__(self) -> None:
        if not 4 <= self.max_length <= 8192:
            raise SettingError(f"max length is {self.max_length}; it must lie in 4..8192")
        if self.columns not in (1, 2):
            raise SettingError(f"{self.columns} text columns; 1 or 2 are possible")
        if not 0 <= self.pad_id < 2**31:
            raise SettingError(f"padding id is {self.pad_id}; it must be a token's id")
        if self.truncation_side not in SIDES:
            raise SettingError(
                f"truncation side is {self.truncation_side!r:.40}; possible: {', '.join(SIDES)}"
            )
        if not 0 <= self.vocabulary < 2**31:
            raise SettingError(f"vocabulary is {self.vocabulary}; it must be a number of tokens")
        if len(self.prompt) > _MAX_PROMPT:
            raise SettingError(
                f"the prompt has {len(self.prompt)} characters; at most {_MAX_PROMPT} are possible"
            )

    def to_json(self) -> dict[str, Any]:
        """Return the settings as a JSON object."""
        entries = {"kind": "text", **asdict(self)}
        if not self.prompt:  # most models have none
            del entries["prompt"]
        return entries

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> TextSettings:
        """Read the JSON object of `to_json`, also of versions without the newer settings.

        Raises:
            ArtifactError: a setting is missing or malformed.
        """
        missing = [key for key in _NEWER_SETTINGS if key not in value]
        if 0 < len(missing) < len(_NEWER_SETTINGS):
            raise ArtifactError(f"preprocessing lacks {missing[0]}")
        complete = {"vocabulary": 0, **value}
        sizes: dict[str, Any] = {
            key: whole_number(complete, key)
            for key in ("max_length", "columns", "pad_id", "vocabulary")
        }
        switches: dict[str, Any] = {
            key: value.get(key, True) for key in ("pair_types", "html_breaks", "type_input")
        }
        for key, switch in switches.items():
            if type(switch) is not bool:
                raise ArtifactError(
                    f"preprocessing needs true or false for {key}; it is {switch!r:.60}"
                )
        side, prompt = value.get("truncation_side", "right"), value.get("prompt", "")
        if type(prompt) is not str:
            raise ArtifactError(f"preprocessing needs a text for prompt; it is {prompt!r:.60}")
        try:
            return TextSettings(**sizes, **switches, truncation_side=side, prompt=prompt)
        except SettingError as error:
            raise ArtifactError(f"preprocessing: {error}") from error


@dataclass(frozen=True, slots=True)
class Tokens:
    """One encoded row, in compact arrays.

    Args:
        ids: token ids.
        types: for each token, the text that it comes from: 0, or 1 for the second text of a pair.
    """

    ids: array[int]
    types: array[int]


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
        self._boundaries = long_text.boundaries_of(self.tokenizer)
        self._max_characters: float = math.inf

    def bounded(self, characters: int) -> Self:
        """Return an encoder that refuses rows of which it would have to read too much at once.

        A tokenizer takes about 100 bytes of memory for each character. Of a longer text only the
        beginning is read where that gives the same tokens; see `bmc.long_text`. Where it does not,
        `encode` raises a TooLongError.

        Args:
            characters: largest number of characters that the tokenizer reads at once.
        """
        encoder = copy.copy(self)
        encoder._max_characters = characters
        return encoder

    @cached_property
    def _cutting(self) -> Tokenizer:
        """The tokenizer with the truncation of the settings; many encoders never read a text."""
        tokenizer = Tokenizer.from_str(self.tokenizer.to_str())
        settings = self.settings
        tokenizer.enable_truncation(settings.max_length, direction=settings.truncation_side)
        return tokenizer

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
                for number, tokens in zip(numbers, self._tokens(part, numbers), strict=True):
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

    def _limit(self) -> int:
        return _CHARACTERS_A_TOKEN * self.settings.max_length

    def _checked(self, row: Row, number: int) -> tuple[str, ...]:
        """Return the texts of a row.

        Raises:
            DataError: the row does not fit the model.
        """
        columns = self.settings.columns
        texts = texts_of(row, number, columns)
        if columns == 2 and self._boundaries is None:
            self._check_pair(texts, number)
        return tuple(self.settings.prompt + self.cleaned(text) for text in texts)

    def _check_pair(self, texts: tuple[str, ...], number: int) -> None:
        """Refuse a pair of two long texts, of which the tokenizer would take too much memory.

        For truncated pairs the tokenizer keeps every combination of the overflowing parts of the
        first text with those of the second.

        Raises:
            DataError: the combinations have more than `_MAX_PAIR_TOKENS` tokens.
        """
        half = max(self._room // 2, 1)
        first, second = (1 + len(text) // half for text in texts)
        if first > 1 < second and first * second * self.settings.max_length > _MAX_PAIR_TOKENS:
            raise DataError(
                f"row {number}: two texts of {len(texts[0]):,} and {len(texts[1]):,} characters "
                "are more than this tokenizer can pair; cut them before"
            )

    def _tokens(self, rows: list[tuple[str, ...]], numbers: Sequence[int]) -> list[Tokens]:
        """Tokenize rows; of a long text only a part that gives enough tokens.

        Args:
            rows: texts of each row.
            numbers: number of each row, from 1, for messages.

        Raises:
            TooLongError: more must be read of a row than this encoder may.
        """
        limit = self._limit() if self._boundaries else 0
        encoded: dict[int, Tokens] = {}
        remaining = list(range(len(rows)))
        while remaining:
            parts = [self._parts(rows[index], limit) for index in remaining]
            for index, part in zip(remaining, parts, strict=True):
                self._refuse_long(part, rows[index], numbers[index])
            for index, part, tokens in zip(remaining, parts, self._encodings(parts), strict=True):
                if part == rows[index] or self._is_enough(part, rows[index], len(tokens.ids)):
                    encoded[index] = tokens
            remaining = [index for index in remaining if index not in encoded]
            limit *= 8
        return [encoded[index] for index in range(len(rows))]

    def _refuse_long(self, part: tuple[str, ...], whole: tuple[str, ...], number: int) -> None:
        """Refuse a row of which the tokenizer would read more than the bound.

        Args:
            part: the part of each text that is tokenized.
            whole: the row's texts.
            number: number of the row, from 1.

        Raises:
            TooLongError: the part is too long.
        """
        # All tokens of a pair are counted where the parts do not tell which text is longer.
        counts_whole = len(part) == 2 and self._room % 2 == 1
        longest = max(map(len, whole if counts_whole else part))
        if longest > self._max_characters:
            raise TooLongError(
                f"row {number}: the tokenizer would have to read {longest:,} characters at once, "
                f"and may read {self._max_characters:,}: cut the text"
            )

    def _parts(self, texts: tuple[str, ...], limit: int) -> tuple[str, ...]:
        if not limit or self._boundaries is None:
            return texts
        cut = long_text.beginning
        if self.settings.truncation_side == "left":
            cut = long_text.ending
        return tuple(
            cut(text, limit, self._boundaries) if len(text) > limit else text for text in texts
        )

    def _is_enough(self, part: tuple[str, ...], whole: tuple[str, ...], length: int) -> bool:
        """Tell whether the parts of a row's texts give the same tokens as the whole texts.

        Args:
            part: the part of each text.
            whole: the row's texts.
            length: number of tokens of the encoded parts.
        """
        if len(part) == 1:
            return length == self.settings.max_length
        counts = [self._count(text) for text in part]
        is_cut = [beginning != text for beginning, text in zip(part, whole, strict=True)]
        if any(cut and count < self._room for cut, count in zip(is_cut, counts, strict=True)):
            return False
        if self._room % 2 == 0:
            return True
        # With an odd number of tokens, the longer text gets one more than the other: the parts must
        # show which text is longer.
        if all(is_cut):
            totals = [self._count(text) for text in whole]
            return (counts[0] > counts[1]) == (totals[0] > totals[1])
        return counts[0] > counts[1] if is_cut[0] else counts[1] > counts[0]

    def _count(self, text: str) -> int:
        """Return the number of tokens of a text, counted part by part."""
        count = 0
        while text:
            part = text
            if self._boundaries and len(text) > _COUNT_CHARACTERS:
                part = long_text.beginning(text, _COUNT_CHARACTERS, self._boundaries)
            count += len(self.tokenizer.encode(part, add_special_tokens=False).ids)
            text = text[len(part) :]
        return count

    def _encodings(self, rows: list[tuple[str, ...]]) -> Iterator[Tokens]:
        """Tokenize rows in groups of at most `_CHUNK_CHARACTERS`, which limits the memory."""
        start, characters = 0, 0
        for stop, row in enumerate(rows):
            size = sum(map(len, row))
            if start < stop and characters + size > _CHUNK_CHARACTERS:
                yield from self._encodings_of(rows[start:stop])
                start, characters = stop, 0
            characters += size
        yield from self._encodings_of(rows[start:])

    def _encodings_of(self, rows: list[tuple[str, ...]]) -> list[Tokens]:
        inputs: list[Any] = [row[0] if len(row) == 1 else row for row in rows]
        with panics_refused("the tokenizer cannot read a text"):
            encodings = self._cutting.encode_batch_fast(inputs)
        pair_types = self.settings.pair_types
        try:
            return [
                Tokens(
                    array("i", encoding.ids),
                    array("b", encoding.type_ids if pair_types else bytes(len(encoding.ids))),
                )
                for encoding in encodings
            ]
        except OverflowError as error:
            raise ArtifactError(
                f"{TOKENIZER} gives ids or token types that no model has ({error})"
            ) from error

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

"""The tokens of rows of text, of which only as much is read as a row of the model holds."""

from __future__ import annotations

import copy
import math
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer

from bmc import long_text
from bmc.errors import ArtifactError, DataError, TooLongError
from bmc.inputs._text_settings import TextSettings
from bmc.inputs._tokenizer_file import TOKENIZER, panics_refused

if TYPE_CHECKING:
    from typing import Self  # Python 3.11; devices may have 3.10

_CHUNK_CHARACTERS = 1_000_000  # a tokenizer takes about 100 bytes of memory for each character
# Of a long text, this many characters per token of a row are tokenized first. Most texts have fewer
# characters per token. If this beginning has too few tokens, a longer beginning is tried.
_CHARACTERS_A_TOKEN = 8
_COUNT_CHARACTERS = 100_000
_MAX_PAIR_TOKENS = 2_000_000


@dataclass(frozen=True, slots=True)
class Tokens:
    """One encoded row, in compact arrays.

    Args:
        ids: token ids.
        types: for each token, the text that it comes from: 0, or 1 for the second text of a pair.
    """

    ids: array[int]
    types: array[int]


class RowTokens:
    """Tokenize rows, of whose long texts a part is read that gives the same tokens.

    Args:
        tokenizer: a tokenizer without padding and truncation.
        settings: settings of tokenization.
        room: tokens of a row without the special tokens.
    """

    def __init__(self, tokenizer: Tokenizer, settings: TextSettings, room: int) -> None:
        self.tokenizer = tokenizer
        self.settings = settings
        self._room = room
        self._boundaries = long_text.boundaries_of(tokenizer)
        self._max_characters: float = math.inf

    def bounded(self, characters: int) -> Self:
        """Return the same, which refuses to read more than so many characters at once."""
        bounded = copy.copy(self)
        bounded._max_characters = characters
        return bounded

    def check_pair(self, texts: tuple[str, ...], number: int) -> None:
        """Refuse a pair of two long texts, of which the tokenizer would take too much memory.

        For truncated pairs the tokenizer keeps every combination of the overflowing parts of the
        first text with those of the second. Where its texts can be cut, it never sees that much.

        Raises:
            DataError: the combinations have more than `_MAX_PAIR_TOKENS` tokens.
        """
        if len(texts) == 1 or self._boundaries is not None:
            return
        half = max(self._room // 2, 1)
        first, second = (1 + len(text) // half for text in texts)
        if first > 1 < second and first * second * self.settings.max_length > _MAX_PAIR_TOKENS:
            raise DataError(
                f"row {number}: two texts of {len(texts[0]):,} and {len(texts[1]):,} characters "
                "are more than this tokenizer can pair; cut them before"
            )

    def tokens(self, rows: list[tuple[str, ...]], numbers: Sequence[int]) -> list[Tokens]:
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
                self.refuse_long(part, rows[index], numbers[index])
            for index, part, tokens in zip(remaining, parts, self._encodings(parts), strict=True):
                if part == rows[index] or self._is_enough(part, rows[index], len(tokens.ids)):
                    encoded[index] = tokens
            remaining = [index for index in remaining if index not in encoded]
            limit *= 8
        return [encoded[index] for index in range(len(rows))]

    def refuse_long(self, part: tuple[str, ...], whole: tuple[str, ...], number: int) -> None:
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
            with panics_refused("the tokenizer cannot read a text"):
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

    def _limit(self) -> int:
        return _CHARACTERS_A_TOKEN * self.settings.max_length

    @cached_property
    def _cutting(self) -> Tokenizer:
        """The tokenizer with the truncation of the settings; many encoders never read a text."""
        tokenizer = Tokenizer.from_str(self.tokenizer.to_str())
        settings = self.settings
        tokenizer.enable_truncation(settings.max_length, direction=settings.truncation_side)
        return tokenizer

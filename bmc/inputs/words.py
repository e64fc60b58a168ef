"""The encoder of rows of words: a text or its words become token ids, with an output for each word.

The output of a word is that of its first token. A row that is longer than the model is read in
windows that overlap, so that every word has exactly one output.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from bmc.errors import ArtifactError, DataError
from bmc.inputs import Many, Row
from bmc.inputs._rows_of_text import texts_of
from bmc.inputs._words import Words as Words
from bmc.inputs._words import joined_words, single_spaced, windows
from bmc.inputs._words import split_text as split_text
from bmc.inputs.text import (
    TextEncoder,
    TextSettings,
    Tokens,
    panics_refused,
    tokenizer_in,
)
from bmc.packed import Archive
from bmc.spaced_words import SpacedWords

KIND = "words"
_CHUNK_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class Window(Tokens):
    """The tokens of one window of a row.

    Args:
        ids: token ids.
        types: 0 for each token.
        firsts: positions of the first tokens of the words that are read in this window.
    """

    firsts: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Piece:
    """The tokens of one word, or of neighboring words that share a token.

    Args:
        ids: token ids, at least one.
        firsts: index in `ids` of the first token of each of the words.
    """

    ids: list[int]
    firsts: list[int]


class WordEncoder(TextEncoder):
    """Encode rows of words with a tokenizer.

    A row is a text, which is split into words, or a tuple of words. Encoded rows are windows, at
    least one for each row, in the order of the rows.

    WordPiece reads each word by itself. Other tokenizers mark in their tokens where a space is, so
    that they read the whole text, in which the words of a tuple have a space between them. White
    space of a text is read as one space, too: the token of a line break would be a word's first,
    and no model has learned the tags of those.

    Args:
        tokenizer: the tokenizer of a tokenizer.json; padding and truncation in it are ignored.
        settings: settings of tokenization, for one text a row.

    Raises:
        ArtifactError: a token or the padding has no row in the model's token table, or the
            tokenizer adds special tokens in a way that is not supported.
    """

    kind = KIND

    def __init__(self, tokenizer: Tokenizer, settings: TextSettings) -> None:
        super().__init__(tokenizer, settings)
        if settings.columns != 1:
            raise ArtifactError("rows of words have one text, not a pair")
        self._before, self._after = self._special_tokens()
        unknown = getattr(self.tokenizer.model, "unk_token", None)
        unknown_id = self.tokenizer.token_to_id(unknown) if isinstance(unknown, str) else None
        self._unknown = settings.pad_id if unknown_id is None else unknown_id
        # transformers' token-classification pipeline tells tokenizers apart by the same attribute.
        prefix = getattr(self.tokenizer.model, "continuing_subword_prefix", None)
        self._reads_words = bool(prefix)

    def encode(self, rows: Many) -> list[Window]:
        """Split rows into windows of tokens.

        Args:
            rows: texts, or tuples of words.

        Raises:
            DataError: a row is neither, is empty, or has an empty word or one with white space.
            TooLongError: a text is longer than the bound of this encoder; see `bounded`.
        """
        encoded: list[Window] = []
        with self._progress(len(rows)) as advance:
            for start in range(0, len(rows), _CHUNK_ROWS):
                stop = min(start + _CHUNK_ROWS, len(rows))
                for index in range(start, stop):
                    encoded += self._windows_of(rows[index], 1 + index)
                advance(stop - start)
        return encoded

    def _windows_of(self, row: Row, number: int) -> list[Window]:
        if isinstance(row, str):  # before its words, which take 100 times its memory
            self._rows.refuse_long((row,), (row,), number)
        words = self.words_of(row, number)
        self._rows.refuse_long((words.text,), (words.text,), number)
        return self._windows(words)

    def words_of(self, row: Row, number: int = 1) -> Words:
        """Return the words of a row, each with its place in the text.

        Args:
            row: a text, or a tuple of words.
            number: number of the row, from 1, for messages.

        Raises:
            DataError: see `encode`.
        """
        if isinstance(row, str):
            texts_of(row, number, 1)
            return split_text(row)
        if isinstance(row, SpacedWords) and row:
            return Words(row.text, tuple(row), row.starts)
        if not isinstance(row, tuple) or not row:
            raise DataError(
                f"row {number}: the model takes a text, or a tuple of its words; this is "
                f"{row!r:.40} ({type(row).__name__})"
            )
        for word in row:
            texts_of(word, number, 1)
            if len(word.split()) != 1 or word != word.strip():
                raise DataError(
                    f"row {number}: the word {word!r:.40} has white space; pass a text as one "
                    "string, not in a tuple"
                )
        return joined_words(row)

    def texts_of(self, row: Row) -> tuple[str, ...]:
        """Return the texts that the tokenizer reads of a row: its words, or one text."""
        words = self.words_of(row)
        return words.words if self._reads_words else (single_spaced(words).text,)

    def counts(self, encoded: Many) -> NDArray[np.int64]:
        """Return the number of words that are read in each window."""
        return np.fromiter((len(window.firsts) for window in encoded), np.int64, len(encoded))

    def positions(self, encoded: Many, indices: Sequence[int]) -> NDArray[np.int64]:
        """Return where the outputs of words are in the flattened (windows x length) of a batch."""
        chosen = [encoded[index] for index in indices]
        longest = max(len(window.ids) for window in chosen)
        return np.concatenate(
            [number * longest + window.firsts for number, window in enumerate(chosen)]
        )

    def example(self) -> Row:
        """Return a short text."""
        return "an hour of wit and charm"

    def to_json(self) -> dict[str, Any]:
        """Return the settings as a JSON object."""
        return {**super().to_json(), "kind": KIND}

    def _special_tokens(self) -> tuple[list[int], list[int]]:
        """Return the ids of the special tokens before and after a text.

        Raises:
            ArtifactError: they are not only at the beginning and the end.
        """
        text = TextEncoder.example(self)[0]
        bare = list(self.tokenizer.encode(text, add_special_tokens=False).ids)
        ids = list(self.tokenizer.encode(text).ids)
        for start in range(len(ids) - len(bare) + 1):
            if bare and ids[start : start + len(bare)] == bare:
                return ids[:start], ids[start + len(bare) :]
        raise ArtifactError(
            "the tokenizer does not put its special tokens around a text, so words cannot be found "
            "among its tokens; use another model for --task tokens"
        )

    def _windows(self, row: Words) -> list[Window]:
        """Return the windows of a row; a word longer than a window keeps its first tokens."""
        by_word = self._reads_words
        pieces = self._of_words(row.words) if by_word else self._of_text(single_spaced(row))
        sizes = [len(piece.ids) for piece in pieces]
        encoded = []
        for span in windows(sizes, self._room):
            ids, firsts = list(self._before), list[int]()
            for index in range(span.start, span.stop):
                if span.read_start <= index < span.read_stop:
                    firsts += [len(ids) + first for first in pieces[index].firsts]
                ids += pieces[index].ids
            ids += self._after
            types = array("b", bytes(len(ids)))
            encoded.append(Window(array("i", ids), types, np.array(firsts, np.int64)))
        return encoded

    def _of_words(self, words: Sequence[str]) -> list[_Piece]:
        """Return the tokens of each word by itself; the unknown token for a word without any."""
        with panics_refused("the tokenizer cannot read a text"):
            encoding = self.tokenizer.encode(
                list(words), is_pretokenized=True, add_special_tokens=False
            )
        ids: list[list[int]] = [[] for _ in words]
        for token, word in zip(encoding.ids, encoding.word_ids, strict=True):
            if word is not None and len(ids[word]) < self._room:
                ids[word].append(token)
        return [_Piece(tokens or [self._unknown], [0]) for tokens in ids]

    def _of_text(self, row: Words) -> list[_Piece]:
        """Return the tokens of the whole text, by the word in which a token begins.

        A token of a space alone belongs to the word after it. Words inside one token share it, and
        a word without any token has the unknown token.
        """
        with panics_refused("the tokenizer cannot read a text"):
            encoding = self.tokenizer.encode(row.text, add_special_tokens=False)
        ends = [end for _, end in row.places]
        pieces: list[_Piece] = []
        count = 0  # words that have a first token
        for token, (start, stop) in zip(encoding.ids, encoding.offsets, strict=True):
            word = min(bisect_right(ends, start), len(ends) - 1)
            pieces += [_Piece([self._unknown], [0]) for _ in range(count, word)]
            count = max(count, word)
            if count == word:
                pieces.append(_Piece([token], [0]))
                count += 1
            elif len(pieces[-1].ids) < self._room:
                pieces[-1].ids.append(token)
            while count < len(ends) and row.starts[count] < stop:
                pieces[-1].firsts.append(len(pieces[-1].ids) - 1)
                count += 1
        return [*pieces, *(_Piece([self._unknown], [0]) for _ in range(count, len(ends)))]


def load(settings: Mapping[str, Any], folder: Path | Archive) -> WordEncoder:
    """Create the encoder of a model directory or bundle.

    Raises:
        ArtifactError: the settings are malformed, or there is no tokenizer.
    """
    checked = TextSettings.from_json(settings)
    return WordEncoder(tokenizer_in(folder, checked.vocabulary), checked)

"""Rows of words: how texts are split, and how long rows are read in windows."""

from __future__ import annotations

import pickle
import tracemalloc
from typing import Any

import numpy as np
import pytest
from tokenizers import normalizers

from bmc import assets
from bmc.errors import DataError, TooLongError
from bmc.inputs import OutputRows
from bmc.inputs.text import TextSettings, load_tokenizer
from bmc.inputs.words import WordEncoder, split_text
from bmc.spaced_words import SpacedWords
from tests.models import _encoders


@pytest.fixture(scope="module")
def encoder() -> WordEncoder:
    tokenizer = load_tokenizer(assets.fetch("minilm") / "tokenizer.json")
    return WordEncoder(tokenizer, TextSettings(max_length=10))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Ada doesn't stay.", ["Ada", "doesn't", "stay", "."]),
        ("New-York's (old) 3.5", ["New-York's", "(", "old", ")", "3", ".", "5"]),
        ("東京は", ["東", "京", "は"]),
        ("Jose\u0301 नमस्ते। שָׁלוֹם", ["Jose\u0301", "नमस्ते", "।", "שָׁלוֹם"]),
        ("می\u200cخواهم Zusammen\u00adarbeit", ["می\u200cخواهم", "Zusammen\u00adarbeit"]),
        ("\u1019\u103cန် 👍\ufe0f", ["\u1019\u103c", "န်", "👍\ufe0f"]),
    ],
)
def test_a_text_is_split_into_words_with_their_places(text: str, words: list[str]) -> None:
    split = split_text(text)
    assert list(split.words) == words
    assert [text[start:end] for start, end in split.places] == words


@pytest.mark.parametrize("count", [1, 8, 9, 30, 100])
def test_every_word_of_a_long_row_is_read_once_and_in_order(
    encoder: WordEncoder, count: int
) -> None:
    words = tuple(np.random.default_rng(0).choice(["a", "the", "unbelievable", "film"], count))
    encoded = encoder.encode([tuple(map(str, words))])
    assert all(len(window.ids) <= 10 for window in encoded)
    read = [window.ids[first] for window in encoded for first in window.firsts]
    expected = [encoder.encode([(str(word),)])[0].ids[1] for word in words]
    assert read == expected


def test_words_keep_context_on_both_sides_where_windows_overlap(encoder: WordEncoder) -> None:
    encoded = encoder.encode([("a",) * 30])
    inner = encoded[1]
    assert inner.firsts[0] > 1
    assert inner.firsts[-1] < len(inner.ids) - 2


def test_positions_find_the_words_of_a_padded_batch(encoder: WordEncoder) -> None:
    rows = [("a",), ("the", "unbelievable", "film")]
    encoded = encoder.encode(rows)
    arrays = encoder.batch(encoded, [1, 0])
    outputs = arrays["input_ids"][..., None]
    selected = OutputRows(encoder, encoded).selected(outputs, [1, 0])
    tokens = [encoder.tokenizer.id_to_token(int(token)) for token in selected[:, 0]]
    assert tokens == ["the", "unbelievable", "film", "a"]
    assert OutputRows(encoder, encoded).at([1, 0]).tolist() == [1, 2, 3, 0]


def test_a_word_without_tokens_and_one_longer_than_the_model_have_an_output(
    encoder: WordEncoder,
) -> None:
    encoded = encoder.encode([("a", "\u200b", "x" * 100, "b")])
    assert encoder.counts(encoded).sum() == 4


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("", "row 1 is an empty text"),
        ((), "a text, or a tuple of its words"),
        (("a", ""), "row 1 is an empty text"),
        (("Ada Lovelace",), "'Ada Lovelace' has white space; pass a text as one string"),
        (7, "a text, or a tuple of its words"),
    ],
)
def test_a_row_without_words_is_refused(encoder: WordEncoder, row: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        encoder.encode([row])


@pytest.fixture
def byte_level() -> WordEncoder:
    """Return an encoder whose tokens mark the spaces before words; ?! is one token."""
    tokenizer = _encoders.ENCODERS["roberta"].tokenizer().backend_tokenizer
    tokenizer.add_tokens(["?!"])
    tokenizer.normalizer = normalizers.Replace("~", "")
    return WordEncoder(tokenizer, TextSettings(max_length=10, pad_id=1))


def read(encoder: WordEncoder, row: Any) -> list[str | None]:
    """Return the first token of each word."""
    encoded = encoder.encode([row])
    ids = [window.ids[first] for window in encoded for first in window.firsts]
    return [encoder.tokenizer.id_to_token(token) for token in ids]


def test_words_of_tokenizers_that_mark_spaces_are_read_in_their_text(
    byte_level: WordEncoder,
) -> None:
    assert read(byte_level, "the great film") == ["the", "\u0120great", "\u0120film"]
    assert read(byte_level, ("the", "great", "film")) == read(byte_level, "the great film")
    assert read(byte_level, "film, film") == ["fi", ",", "\u0120film"]


def test_line_breaks_and_runs_of_spaces_are_read_as_the_space_that_models_learned(
    byte_level: WordEncoder,
) -> None:
    text = "\tthe\n\ngreat,  film\n"
    assert read(byte_level, text) == read(byte_level, "the great, film")
    assert read(byte_level, text) == ["the", "\u0120great", ",", "\u0120film"]
    assert [text[start:end] for start, end in byte_level.words_of(text).places] == [
        *("the", "great", ",", "film")
    ]
    assert byte_level.texts_of(text) == ("the great, film",)


def test_words_inside_one_token_share_its_output(byte_level: WordEncoder) -> None:
    (window,) = byte_level.encode(["the?! film"])
    assert len(window.firsts) == 4
    assert window.firsts[1] == window.firsts[2]
    assert read(byte_level, "the?! film")[1:] == ["?!", "?!", "\u0120film"]


def test_a_word_that_the_tokenizer_drops_has_its_space_or_the_unknown_token(
    byte_level: WordEncoder,
) -> None:
    assert read(byte_level, ("the", "~", "film")) == ["the", "\u0120", "\u0120film"]
    assert read(byte_level, ("~",))[0] in ("<unk>", "<pad>")


@pytest.mark.parametrize("count", [1, 8, 9, 30, 100])
def test_long_texts_of_tokenizers_that_mark_spaces_are_read_once_and_in_order(
    byte_level: WordEncoder, count: int
) -> None:
    words = [str(word) for word in np.random.default_rng(0).choice(["great", "film"], count)]
    assert read(byte_level, tuple(words))[1:] == [f"\u0120{word}" for word in words[1:]]


def test_words_with_their_text_are_read_as_the_text(byte_level: WordEncoder) -> None:
    text = "the great, film"
    words = split_text(text)
    row = SpacedWords(words.words, text, words.starts)
    copied = pickle.loads(pickle.dumps(row))
    assert [window.ids for window in byte_level.encode([row, copied])] == [
        window.ids for window in byte_level.encode([text, text])
    ]
    assert read(byte_level, tuple(row)) != read(byte_level, row)
    assert row == tuple(row)


def test_a_text_beyond_the_bound_is_refused_before_its_words_are_found(
    encoder: WordEncoder,
) -> None:
    text = "!" * 1_000_000
    tracemalloc.start()
    with pytest.raises(TooLongError, match="1,000,000 characters at once"):
        encoder.bounded(10_000).encode([text])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000

"""New texts: what each edit changes, that a seed decides, and which words are near."""

from __future__ import annotations

from collections.abc import Callable

import torch
from tokenizers import Tokenizer
from tokenizers.models import BPE, WordPiece
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer

from bmc.inputs.text import TextEncoder
from bmc.model import Model
from bmc.training.new_texts import distinct_words, nearest_words, new_texts

ROWS = [("A fine film , with wit and charm .",), ("it never finds its feet",), ("dull",)]
NEIGHBORS = {"film": ("movie", "picture"), "A": ("an",), "fine": ("good",)}


def test_a_seed_decides_and_a_larger_count_adds_texts_at_the_end() -> None:
    few, many = (new_texts(ROWS, count, ("swap",), {}, seed=3) for count in (2, 5))
    assert many[: len(few)] == few
    assert len(many) == 15
    assert new_texts(ROWS, 2, ("swap",), {}, seed=4) != few
    alone = new_texts(ROWS[:1], 2, ("swap",), {}, seed=3)
    assert alone == [few[0], few[3]]


def test_four_of_ten_words_become_a_neighbor_and_the_rest_of_the_text_stays() -> None:
    texts = [text for (text,) in new_texts(ROWS[:1], 1000, ("neighbors",), NEIGHBORS, seed=0)]
    assert {text.split(" ", 3)[3] for text in texts} == {", with wit and charm ."}
    words = [text.split()[:3] for text in texts]
    assert {word for word, _, _ in words} == {"A", "An"}
    assert {word for _, _, word in words} == {"film", "movie", "picture"}
    replaced = sum(word != "film" for _, _, word in words) / 1000
    assert 0.35 < replaced < 0.45


def test_swapped_texts_have_the_same_words_and_dropped_ones_fewer_but_one() -> None:
    originals = [row[0].split() for row in ROWS]
    for number, (text,) in enumerate(new_texts(ROWS, 20, ("swap",), {}, seed=0)):
        assert sorted(text.split()) == sorted(originals[number % 3])
    for number, (text,) in enumerate(new_texts(ROWS, 20, ("drop",), {}, seed=0)):
        original = originals[number % 3]
        assert 1 <= len(text.split()) <= max(1, len(original) - 1)
        assert set(text.split()) <= set(original)


def test_each_text_has_one_of_the_edits_and_every_text_of_a_pair_is_edited() -> None:
    pairs = [("one two three", "four five six")]
    lengths = {
        tuple(len(text.split()) for text in pair)
        for pair in new_texts(pairs, 60, ("swap", "drop"), {}, seed=0)
    }
    assert (3, 3) in lengths
    assert any(first < 3 and second < 3 for first, second in lengths)
    assert all((first < 3) == (second < 3) for first, second in lengths)


def test_the_words_of_a_text_are_its_letters_in_a_row() -> None:
    assert distinct_words([("it's a film-noir , 2nd",), ("élan film",)]) == [
        *("a", "film", "it", "nd", "noir", "s", "élan")
    ]


def test_the_nearest_words_have_the_most_similar_vectors(make_model: Callable[..., Model]) -> None:
    encoder = make_model().encoder
    assert isinstance(encoder, TextEncoder)
    tokenizer = encoder.tokenizer
    table = torch.randn(tokenizer.get_vocab_size(), 8, generator=torch.Generator().manual_seed(0))
    film, movie, cinema = (tokenizer.token_to_id(word) for word in ("film", "movie", "cinema"))
    table[movie] = 3 * table[film]  # its cosine is 1
    table[cinema] = table[film] + 0.1
    table[tokenizer.token_to_id("##ing")] = table[film]  # no whole word
    words = ["film", "Film", "filmically", "a"]
    neighbors = nearest_words(words, tokenizer, table, count=4)
    assert neighbors["film"][:2] == ("movie", "cinema")
    assert len(neighbors["film"]) == 4
    assert neighbors["Film"] == neighbors["film"]  # the tokenizer makes it lower case
    assert set(neighbors) == {"film", "Film"}
    assert nearest_words(words, tokenizer, table[:5]) == {}


def test_words_of_a_byte_level_tokenizer_are_those_after_a_space() -> None:
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    texts = ["film film movie movie", "a film a movie a filmmaker"] * 5
    tokenizer.train_from_iterator(texts, BpeTrainer(initial_alphabet=ByteLevel.alphabet()))
    film, movie = (tokenizer.token_to_id(f"Ġ{word}") for word in ("film", "movie"))
    assert None not in (film, movie, tokenizer.token_to_id("film"))
    table = torch.randn(tokenizer.get_vocab_size(), 8, generator=torch.Generator().manual_seed(0))
    table[movie] = 2 * table[film]
    neighbors = nearest_words(["film", "movie"], tokenizer, table, count=1)
    assert neighbors == {"film": ("movie",), "movie": ("film",)}


def test_words_of_a_byte_level_tokenizer_need_not_be_ascii() -> None:
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    texts = ["a фильм кино café film"] * 20
    tokenizer.train_from_iterator(texts, BpeTrainer(initial_alphabet=ByteLevel.alphabet()))
    words = ["фильм", "кино", "café"]
    film, cinema, coffee = (tokenizer.encode(f" {word}").ids[0] for word in words)
    table = torch.randn(tokenizer.get_vocab_size(), 8, generator=torch.Generator().manual_seed(0))
    table[cinema] = 2 * table[film]
    table[coffee] = table[film] + 0.01
    neighbors = nearest_words(words, tokenizer, table, count=2)
    assert neighbors["фильм"] == ("кино", "café")


def test_a_letter_of_byte_level_tokens_in_other_tokenizers_is_a_letter() -> None:
    vocabulary = {"[UNK]": 0, "Ġnejna": 1, "film": 2, "movie": 3}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    table = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    table[3] = 2 * table[2]
    assert nearest_words(["film"], tokenizer, table, count=1) == {"film": ("movie",)}

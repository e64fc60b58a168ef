"""The floor of words with tags: majority tags with endings, and a linear model of neighbors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bmc.data import Dataset, Examples, split, words_in_memory
from bmc.tag_sequences import TagSequences
from bmc.workflows import majority_tags, word_features
from bmc.workflows.majority_tags import MajorityTagger

VERBS, NOUNS = ("walk", "swim", "jump"), ("dog", "town", "tree")


def examples(*rows: tuple[str, str]) -> Examples:
    """Return rows of words with a tag each, which are numbers."""
    tags = [tuple(map(int, tags.split())) for _, tags in rows]
    return Examples(tuple(tuple(words.split()) for words, _ in rows), TagSequences.of(tags))


@pytest.fixture(scope="module")
def data() -> Dataset:
    """Return rows in which a word's tag follows from the word before: to walk, a walk."""
    generator = np.random.default_rng(0)
    rows, tags = [], []
    for number in range(80):
        word = str(generator.choice([*VERBS, *NOUNS]))
        is_verb = bool(generator.integers(2))
        rows.append(["we" if number % 2 else "you", "to" if is_verb else "a", word, "."])
        tags.append(["PRON", "PRT" if is_verb else "DET", "VERB" if is_verb else "NOUN", "."])
    numbered = [[*row, f"w{index}"] for index, row in enumerate(rows)]  # so that none is double
    return split(words_in_memory(numbered, [[*row, "X"] for row in tags]), "t", task="tokens")


def test_a_known_word_has_its_most_frequent_tag_and_a_new_one_that_of_its_ending() -> None:
    tagger = MajorityTagger(
        examples(("the saw saw", "0 1 2"), ("the saw", "0 1"), ("quickly badly", "3 3"))
    )
    assert [tagger.tag(word) for word in ("the", "saw", "slowly")] == [0, 1, 3]
    assert tagger.tag("Quickly") == 0, "no capital word is known, so the most frequent tag"


def test_endings_are_those_of_rare_words() -> None:
    frequent = [("only", "1")] * 20
    tagger = MajorityTagger(examples(*frequent, ("quickly", "3")))
    assert tagger.tag("slowly") == 3


def test_the_tag_that_neighbors_decide_is_found_by_the_linear_model_alone(data: Dataset) -> None:
    truth = np.array(data.test.labels)[:, 0]
    majority, linear = (
        (model.outputs_of(data).argmax(axis=1) == truth).mean()
        for model in (majority_tags, word_features)
    )
    assert majority < 0.97
    assert linear > 0.99
    assert word_features.outputs_of(data).shape == (len(truth), len(data.labels))


def test_of_many_rows_a_random_part_keeps_its_tags(data: Dataset) -> None:
    part = word_features.part_of(data.train, 60)
    assert 50 <= sum(map(len, part.rows)) <= 60
    tags = dict(zip(data.train.rows, data.train.labels, strict=True))
    assert all(tags[row] == labels for row, labels in zip(part.rows, part.labels, strict=True))


def test_training_rows_of_one_tag_are_no_error(data: Dataset) -> None:
    train = examples(("a b", "2 2"), ("c", "2"))
    outputs = word_features.outputs_of(replace(data, train=train))
    assert (outputs.argmax(axis=1) == 2).all()

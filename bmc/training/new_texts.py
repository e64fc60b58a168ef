"""New texts for a teacher to label: copies of training texts in which words are edited."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from tokenizers import decoders

from bmc.training.settings import NEIGHBORS

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Tensor

NEAREST = 15  # words that may take a word's place: K in the paper
_REPLACED, _SWAPPED, _DROPPED = 0.4, 0.1, 0.1  # shares of the words: p_t in the paper; EDA's alpha
_WORD = re.compile(r"[^\W\d_]+")
_BYTE_LEVEL = '"type":"ByteLevel"'  # in the tokenizer.json of a byte-level tokenizer
_MARK = "▁"  # what SentencePiece writes for the space before a word
_AT_ONCE = 1024  # words whose similarities to all others are in memory

Neighbors = Mapping[str, Sequence[str]]


def new_texts(
    rows: Iterable[Any], count: int, edits: Sequence[str], neighbors: Neighbors, seed: int
) -> list[tuple[str, ...]]:
    """Return edited copies of texts, in the form of the rows; some may equal their original.

    A text depends on its row, its number and the seed alone, and the first texts of all rows come
    first: a larger count adds texts at the end.

    Args:
        rows: texts, each row a tuple of them.
        count: new texts of each row.
        edits: edits, of which each new text has one, drawn at random: "neighbors" (four of ten
            words become one of their neighbors), "swap" (a tenth of the words change places with
            another one) or "drop" (a tenth of the words is left out).
        neighbors: words that may take a word's place, by the word.
        seed: random seed.

    Source: Jiao et al. 2020, "TinyBERT", section 3.2 and Algorithm 1 (words replaced for more texts
    of the task); Wei and Zou 2019, "EDA", section 2 (random swap and deletion).
    """
    originals = list(rows)
    return [
        _edited(row, edits, neighbors, np.random.default_rng([seed, number, index]))
        for number in range(count)
        for index, row in enumerate(originals)
    ]


def distinct_words(rows: Iterable[Any]) -> list[str]:
    """Return the distinct words of texts, each row a tuple of them, sorted."""
    return sorted({word for row in rows for text in row for word in _WORD.findall(text)})


def nearest_words(
    words: Sequence[str], tokenizer: Tokenizer, table: Tensor, count: int = NEAREST
) -> dict[str, tuple[str, ...]]:
    """Return for each word the words of the vocabulary with the most similar vectors.

    The nearest comes first.
    Words that the tokenizer splits have no vector, and are left out; so are single letters.

    Args:
        words: words of texts.
        tokenizer: turns a word into the index of its vector.
        table: word vectors (tokens, size), compared by their cosine.
        count: neighbors of each word.
    """
    known = _single_tokens(words, tokenizer)
    vocabulary = _whole_words(tokenizer, len(table))
    if len(vocabulary) < 2:
        return {}
    names = list(vocabulary)
    vectors = table.detach().float().cpu()
    vectors = vectors / vectors.norm(dim=1, keepdim=True).clamp(min=1e-12)
    candidates = vectors[list(vocabulary.values())]
    neighbors: dict[str, tuple[str, ...]] = {}
    pairs = [(word, index) for word, index in known.items() if index < len(table)]
    for start in range(0, len(pairs), _AT_ONCE):
        part = pairs[start : start + _AT_ONCE]
        similarity = vectors[[index for _, index in part]] @ candidates.T
        nearest = similarity.topk(min(count + 1, len(names)), dim=1).indices.tolist()
        for (word, index), positions in zip(part, nearest, strict=True):
            others = [names[each] for each in positions if vocabulary[names[each]] != index]
            neighbors[word] = tuple(others[:count])
    return neighbors


def _single_tokens(words: Sequence[str], tokenizer: Tokenizer) -> dict[str, int]:
    """Return the token of each word of two letters or more that is one token inside a text."""
    long = [word for word in words if len(word) > 1]
    # Byte-level tokens of a word differ at the start of a text, where no space precedes it.
    space = " " if _BYTE_LEVEL in tokenizer.to_str() else ""
    encoded = tokenizer.encode_batch([space + word for word in long], add_special_tokens=False)
    pairs = zip(long, encoded, strict=True)
    return {word: each.ids[0] for word, each in pairs if len(each.ids) == 1}


def _whole_words(tokenizer: Tokenizer, tokens: int) -> dict[str, int]:
    """Return the words of a vocabulary, with their tokens: what is encoded as itself."""
    vocabulary = tokenizer.get_vocab()
    if _BYTE_LEVEL in tokenizer.to_str():
        decoder = decoders.ByteLevel()  # such a token spells the bytes of its text
        texts = {decoder.decode([token]): index for token, index in vocabulary.items()}
        tokens_of_words = _marked(texts, " ")
    else:
        tokens_of_words = _marked(vocabulary, _MARK) or vocabulary
    # By index, since equally near words would else be in another order in each process.
    ordered = sorted(tokens_of_words, key=lambda word: tokens_of_words[word])
    words = [word for word in ordered if _WORD.fullmatch(word) and tokens_of_words[word] < tokens]
    single = _single_tokens(words, tokenizer)
    return {word: index for word, index in single.items() if tokens_of_words[word] == index}


def _marked(vocabulary: Mapping[str, int], mark: str) -> dict[str, int]:
    """Return the tokens that begin with a mark of a word's start, without the mark."""
    return {
        token[1:]: index
        for token, index in vocabulary.items()
        if token.startswith(mark) and len(token) > 1
    }


def _edited(
    row: Sequence[str], edits: Sequence[str], neighbors: Neighbors, random: np.random.Generator
) -> tuple[str, ...]:
    edit = edits[int(random.integers(len(edits)))]
    if edit == NEIGHBORS:
        return tuple(_replaced(text, neighbors, random) for text in row)
    change = _swapped if edit == "swap" else _dropped
    return tuple(" ".join(change(text.split(), random)) for text in row)


def _replaced(text: str, neighbors: Neighbors, random: np.random.Generator) -> str:
    """Return a text in which a share of the words that have neighbors became one of them."""

    def other(match: re.Match[str]) -> str:
        word = match.group()
        possible = neighbors.get(word, ())
        if not possible or random.random() >= _REPLACED:
            return word
        chosen = possible[int(random.integers(len(possible)))]
        return chosen.capitalize() if word[0].isupper() else chosen

    return _WORD.sub(other, text)


def _swapped(words: list[str], random: np.random.Generator) -> list[str]:
    """Exchange random pairs of words; a text of one word stays."""
    for _ in range(max(1, round(_SWAPPED * len(words))) if len(words) > 1 else 0):
        first, second = random.choice(len(words), 2, replace=False)
        words[first], words[second] = words[second], words[first]
    return words


def _dropped(words: list[str], random: np.random.Generator) -> list[str]:
    """Leave out random words, at least one, but not the last that is left."""
    if len(words) < 2:
        return words
    is_kept = random.random(len(words)) >= _DROPPED
    is_kept[int(random.integers(len(words)))] = False
    if not is_kept.any():
        is_kept[int(random.integers(len(words)))] = True
    return [word for word, kept in zip(words, is_kept, strict=True) if kept]

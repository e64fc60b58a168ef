"""Word vectors as the start of a network's token embeddings, and a tokenizer of their words.

The vocabulary has the words of the training and transfer texts that have a vector, the file's most
frequent words besides, and words without a vector that the texts have twice. Any other word splits
into pieces, as in WordPiece: its longest known beginning, and endings whose vectors start as the
mean of the words that end so.

Source: Pennington, Socher and Manning 2014, "GloVe"; Kim 2014, "Convolutional Neural Networks for
Sentence Classification" (vectors that are trained further).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer, pre_tokenizers
from tokenizers.models import WordPiece
from torch import Tensor

from bmc import console
from bmc.data import Dataset
from bmc.errors import SettingError
from bmc.families import DEFAULT_EMBEDDING, DEFAULT_VOCABULARY, WordOptions
from bmc.inputs import Many
from bmc.inputs.text import TextEncoder
from bmc.models import _vector_files, tokens
from bmc.models._vector_files import WordVectors
from bmc.training.work import joined

MARGIN = 20_000
_MOST = 200_000
_MIN_COUNT = 2  # of a word without a vector
_PIECES = 4_000
_PREFIX = "##"
# As the tokenizer of Stanford's GloVe: does|n't, it|'s. Punctuation marks are words.
_WORD_ENDS = r"(?i)n't(?!\w)|'(?:s|re|ve|ll|d|m)(?!\w)|\.\.\.|--|[^\w\s]"


def encoder_for(data: Dataset, options: WordOptions) -> tuple[TextEncoder, Tensor | None]:
    """Return an encoder for the texts of a data set, and the start of the token embeddings.

    Args:
        data: the data set; see `start`.
        options: settings of the family.

    Returns:
        the encoder, and float32 (tokens, width); None where the embeddings start at random.
    """
    if options.vectors:
        return start(data, options)
    encoder = tokens.encoder_for(
        data,
        options.vocabulary or DEFAULT_VOCABULARY,
        options.max_length,
        options.lowercase,
        options.strip_accents,
    )
    return encoder, None


def start(data: Dataset, options: WordOptions) -> tuple[TextEncoder, Tensor]:
    """Return an encoder with a tokenizer of words, and the start of the token embeddings.

    Args:
        data: data whose training texts and unlabeled texts decide which words are kept.
        options: settings of the family; `vectors` names the word vectors.

    Returns:
        the encoder, and float32 (tokens, width).

    Raises:
        DataError: the file of vectors is malformed, or has none of the words.
        SettingError: the width of the embedding is not that of the vectors.
    """
    rows = joined(data.train.rows, data.unlabeled)
    strip = options.strip_accents
    spelled = _counts(rows, _words_of(False, strip))
    lowered: Counter[str] = Counter()
    for word, count in spelled.items():
        lowered[word.lower()] += count
    vectors = _vector_files.read(options.vectors, spelled.keys() | lowered.keys(), MARGIN)
    _check_width(options, vectors)
    lowercase = options.lowercase or not vectors.is_cased
    counts = lowered if lowercase else spelled
    pieces = _pieces(rows, lowercase, strip)
    words = _vocabulary(counts, _readable(vectors, lowercase, strip), pieces, options.vocabulary)
    tokenizer = _tokenizer(words, lowercase, strip)
    table = _table(tokenizer, vectors)
    _say(options.vectors, counts, vectors, tokenizer, lowercase)
    encoder = tokens.text_encoder(data, tokenizer, options.max_length, len(table))
    return encoder, torch.from_numpy(table)


def sizes(encoder: TextEncoder, table: Tensor | None, options: WordOptions) -> dict[str, int]:
    """Return the sizes of the token embeddings, for the spec of a network."""
    width = options.embedding or DEFAULT_EMBEDDING
    return {
        "vocabulary": encoder.tokenizer.get_vocab_size(),
        "embedding": width if table is None else table.shape[1],
        "columns": encoder.settings.columns,
    }


def fill(embedding: tokens.TokenEmbedding, table: Tensor) -> None:
    """Set the token embeddings of a network to float32 (tokens, width)."""
    with torch.no_grad():
        embedding.words.weight.copy_(table)


def _words_of(lowercase: bool, strip_accents: bool) -> Tokenizer:
    """Return a tokenizer without a vocabulary, which splits texts into words."""
    tokenizer = Tokenizer(WordPiece({tokens.UNKNOWN: 0}, unk_token=tokens.UNKNOWN))
    tokenizer.normalizer = tokens.normalizer(lowercase, strip_accents)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Split(Regex(_WORD_ENDS), "isolated"),
            pre_tokenizers.Split(Regex(tokens.NO_SPACES + r"\p{M}*"), "isolated"),
        ]
    )
    return tokenizer


def _counts(rows: Many, splitter: Tokenizer) -> Counter[str]:
    """Count the words of all texts."""
    counts: Counter[str] = Counter()
    with console.progress("counting words", len(rows)) as advance:
        for row in rows:
            for text in row:
                normal = splitter.normalizer.normalize_str(text)
                counts.update(word for word, _ in splitter.pre_tokenizer.pre_tokenize_str(normal))
            advance(1)
    return counts


def _check_width(options: WordOptions, vectors: WordVectors) -> None:
    width = vectors.values.shape[1]
    if options.embedding not in (0, width):
        raise SettingError(
            f"embedding is {options.embedding}, and the vectors {options.vectors} have {width} "
            "values: leave embedding out"
        )


def _pieces(rows: Many, lowercase: bool, strip_accents: bool) -> list[str]:
    """Return the characters, and the endings of words, that words of the texts split into."""
    trained = tokens.train_tokenizer(rows, _PIECES, lowercase, strip_accents)
    vocabulary = trained.get_vocab()
    return [
        token
        for token in sorted(vocabulary, key=lambda token: vocabulary[token])
        if token.startswith(_PREFIX) or len(token) == 1
    ]


def _readable(vectors: WordVectors, lowercase: bool, strip_accents: bool) -> list[str]:
    """Return the words with a vector that are a single word of a text."""
    splitter = _words_of(lowercase, strip_accents)
    return [
        word
        for word in vectors.words
        if splitter.normalizer.normalize_str(word).strip() == word  # spaces around Chinese ones
        and len(splitter.pre_tokenizer.pre_tokenize_str(word)) == 1
    ]


def _vocabulary(
    counts: Counter[str], with_vector: Sequence[str], pieces: Sequence[str], limit: int
) -> list[str]:
    """Return the tokens: special ones and pieces, words by frequency, and further words.

    Raises:
        SettingError: the special tokens and pieces alone are more than the limit.
    """
    known, most = set(with_vector), limit or _MOST
    words = [word for word, count in counts.most_common() if word in known or count >= _MIN_COUNT]
    fixed = list(dict.fromkeys([*tokens.SPECIAL, *pieces]))
    if len(fixed) >= most:
        raise SettingError(
            f"vocabulary is {most}; special tokens and pieces of words alone are {len(fixed)}: set "
            "a larger vocabulary"
        )
    return list(dict.fromkeys([*fixed, *words, *with_vector]))[:most]


def _tokenizer(words: Sequence[str], lowercase: bool, strip_accents: bool) -> Tokenizer:
    splitter = _words_of(lowercase, strip_accents)
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token=tokens.UNKNOWN))
    tokenizer.normalizer = splitter.normalizer
    tokenizer.pre_tokenizer = splitter.pre_tokenizer
    tokens.add_special_tokens(tokenizer)
    return tokenizer


def _table(tokenizer: Tokenizer, vectors: WordVectors) -> NDArray[np.float32]:
    """Return the start of the embeddings: vectors, means of words for endings, or zeros."""
    vocabulary = tokenizer.get_vocab()
    table = np.zeros((len(vocabulary), vectors.values.shape[1]), np.float32)
    endings = {token.removeprefix(_PREFIX) for token in vocabulary if token.startswith(_PREFIX)}
    longest = max(map(len, endings), default=0)
    sums: dict[str, NDArray[np.float32]] = {}
    counts: Counter[str] = Counter()
    for word, vector in zip(vectors.words, vectors.values, strict=True):
        if word in vocabulary:
            table[vocabulary[word]] = vector
        for ending in _endings(word, longest):
            if ending in endings:
                sums[ending] = sums.get(ending, np.zeros_like(vector)) + vector
                counts[ending] += 1
    for ending, total in sums.items():
        table[vocabulary[_PREFIX + ending]] = total / counts[ending]
    return table


def _endings(word: str, longest: int) -> Iterator[str]:
    return (word[-length:] for length in range(1, min(len(word) - 1, longest) + 1))


def _say(
    reference: str,
    counts: Counter[str],
    vectors: WordVectors,
    tokenizer: Tokenizer,
    lowercase: bool,
) -> None:
    known = set(vectors.words)
    share = sum(count for word, count in counts.items() if word in known) / counts.total()
    case = "lower-cased" if lowercase else "kept"
    console.note(
        f"a vocabulary of {tokenizer.get_vocab_size():,} tokens with word vectors of {reference}, "
        f"which has {share:.1%} of the words in the texts; case is {case}"
    )

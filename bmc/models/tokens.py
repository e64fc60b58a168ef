"""Tokenizer and embeddings of families that read texts without pretrained weights."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import torch
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import WordPiece
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import WordPieceTrainer
from torch import Tensor, nn

from bmc import console
from bmc.data import Dataset
from bmc.inputs import Many
from bmc.inputs.text import TextEncoder, TextSettings
from bmc.inputs.words import WordEncoder

PAD, UNKNOWN, FIRST, BETWEEN = SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
_MIN_COUNT = 2
_MAX_CHARACTERS = 400
# Thai and Lao, Burmese, Khmer, kana: written without spaces, each character is a word of its own,
# as a Chinese one is. Marks belong to the character before them.
NO_SPACES = "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff]"
_ALONE = re.compile(f"{NO_SPACES}|[\u4e00-\u9fff\u3400-\u4dbf\uf900-\ufaff]")
# Controls and characters without width and meaning. Joiners (U+200C, U+200D) tell words apart.
_INVISIBLE = (
    r"[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u00ad\u200b\u200e\u200f"
    r"\u2060-\u2064\ufeff\ufffd]"
)


def encoder_for(
    data: Dataset, vocabulary: int, max_length: int, lowercase: bool, strip_accents: bool
) -> TextEncoder:
    """Return an encoder with a tokenizer that is trained on a data set's training texts."""
    tokenizer = train_tokenizer(data.train.rows, vocabulary, lowercase, strip_accents)
    size = tokenizer.get_vocab_size()
    case = "lower-cased" if lowercase else "kept"
    accents = "stripped" if strip_accents else "kept"
    console.note(
        f"a vocabulary of {size} tokens from the training texts: case is {case}, accents and other "
        f"marks are {accents} (settings lowercase, strip_accents)"
    )
    return text_encoder(data, tokenizer, max_length, size)


def text_encoder(data: Dataset, tokenizer: Tokenizer, max_length: int, size: int) -> TextEncoder:
    """Return the encoder of a data set's texts, or of its words.

    Args:
        data: the data set.
        tokenizer: tokenizer whose padding has the id 0.
        max_length: largest number of tokens that the network reads at once.
        size: number of tokens in the network's table.
    """
    columns = max(len(data.columns), 1)
    settings = TextSettings(max_length, columns=columns, pad_id=0, vocabulary=size)
    encoder_type = WordEncoder if data.kind == "words" else TextEncoder
    return encoder_type(tokenizer, settings)


def train_tokenizer(
    rows: Many, size: int, lowercase: bool = False, strip_accents: bool = False
) -> Tokenizer:
    """Train a WordPiece tokenizer; the result depends on nothing but the arguments.

    Args:
        rows: tuples of texts to train on; tokens occur at least twice in them.
        size: largest number of tokens, including special tokens; [PAD] has the id 0.
        lowercase: whether the tokenizer lowercases texts.
        strip_accents: whether the tokenizer removes accents and all other combining marks,
            including vowel signs and tone marks of Hindi, Thai, Arabic and others.

    Source: Schuster and Nakajima 2012, "Japanese and Korean Voice Search".
    """
    empty = _empty(lowercase, strip_accents)
    tokenizer = empty(WordPiece(unk_token=UNKNOWN))
    # The trainer numbers characters in an order that changes between runs, and breaks ties by these
    # numbers. Passing the characters as special tokens fixes their numbers. Their count is limited,
    # which leaves room for merges in the vocabulary.
    frequent = _frequent_characters(tokenizer, rows)
    single = [
        character for character in frequent if _ALONE.match(character) and not _is_mark(character)
    ][: size // 2]
    inner_count = min(_MAX_CHARACTERS, size // 4)
    inner = sorted(set(frequent) - set(single), key=frequent.index)[:inner_count]
    characters = [*inner, *single]
    alphabet = [*inner, *(f"##{character}" for character in inner), *single]
    trainer = WordPieceTrainer(
        vocab_size=size,
        min_frequency=_MIN_COUNT,
        show_progress=False,
        special_tokens=[*SPECIAL, *alphabet],
        limit_alphabet=len(characters),
        initial_alphabet=characters,
    )
    tokenizer.train_from_iterator(_texts(rows), trainer)
    trained = empty(WordPiece(tokenizer.get_vocab(), unk_token=UNKNOWN))
    add_special_tokens(trained)
    return trained


def add_special_tokens(tokenizer: Tokenizer) -> None:
    """Let a tokenizer write [CLS] TEXT [SEP], or [CLS] TEXT [SEP] TEXT [SEP]."""
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.post_processor = TemplateProcessing(
        single=f"{FIRST} $A {BETWEEN}",
        pair=f"{FIRST} $A {BETWEEN} $B:1 {BETWEEN}:1",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in (FIRST, BETWEEN)],
    )


def normalizer(lowercase: bool, strip_accents: bool) -> normalizers.Normalizer:
    """Return a normalizer that drops invisible characters, and case and accents where asked to."""
    return normalizers.Sequence(
        [
            normalizers.NFC(),
            normalizers.Replace(Regex(_INVISIBLE), ""),
            normalizers.BertNormalizer(
                clean_text=False, lowercase=lowercase, strip_accents=strip_accents
            ),
        ]
    )


class TokenEmbedding(nn.Module):
    """Embeddings of tokens; for sentence pairs, plus the embedding of the token's text.

    Args:
        vocabulary: number of tokens.
        width: width of the embeddings.
        columns: number of texts of a row, 1 or 2.
    """

    def __init__(self, vocabulary: int, width: int, columns: int) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)
        self.types = nn.Embedding(2, width) if columns == 2 else None

    def forward(self, ids: Tensor, types: Tensor | None) -> Tensor:
        """Return vectors (rows, length, width) of int64 ids and types (rows, length)."""
        vectors: Tensor = self.words(ids)
        return vectors if self.types is None else vectors + self.types(types)


def token_examples(
    vocabulary: int, shapes: Sequence[tuple[int, int]], columns: int = 1, first: int = 0
) -> list[dict[str, Tensor]]:
    """Return random inputs of given shapes; half of the first row of each input is masked.

    Args:
        vocabulary: number of tokens; all ids are smaller.
        shapes: number of rows and length of each input.
        columns: number of texts of a row; with 2, the inputs have token types.
        first: smallest id.
    """
    generator = torch.Generator().manual_seed(0)
    inputs = []
    for rows, length in shapes:
        ids = torch.randint(first, vocabulary, (rows, length), generator=generator)
        mask = torch.ones_like(ids)
        mask[0, length // 2 :] = 0
        example = {"input_ids": ids, "attention_mask": mask}
        if columns == 2:
            example["token_type_ids"] = (torch.arange(length) > length // 3) * torch.ones_like(ids)
        inputs.append(example)
    return inputs


def _is_mark(character: str) -> bool:
    """Tell whether a character belongs to the one before it: an accent, a vowel sign, a tone."""
    return unicodedata.category(character).startswith("M")


def _empty(lowercase: bool, strip_accents: bool) -> Callable[[WordPiece], Tokenizer]:
    """Return a function that builds an untrained tokenizer around a model."""

    def make(model: WordPiece) -> Tokenizer:
        tokenizer = Tokenizer(model)
        tokenizer.normalizer = normalizer(lowercase, strip_accents)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.BertPreTokenizer(),
                pre_tokenizers.Split(Regex(NO_SPACES + r"\p{M}*"), "isolated"),
            ]
        )
        return tokenizer

    return make


def _texts(rows: Many) -> Iterator[str]:
    return (text for row in rows for text in row)


def _frequent_characters(tokenizer: Tokenizer, rows: Many) -> list[str]:
    """Return the characters that occur in the texts at least twice, most frequent first."""
    counts: Counter[str] = Counter()
    for text in _texts(rows):
        counts.update(tokenizer.normalizer.normalize_str(text))
    frequent = [
        character
        for character, count in counts.items()
        if count >= _MIN_COUNT and not character.isspace()
    ]
    return sorted(frequent, key=lambda character: (-counts[character], character))

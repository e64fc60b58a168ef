"""Vocabulary with a number of tokens: the most frequent ones stay, other words split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import nn

from bmc.compress.prune.vocabulary import Vocabulary
from bmc.data import Dataset
from bmc.errors import SettingError
from bmc.inputs.text import TextEncoder, TextSettings
from bmc.model import Model, Work
from bmc.training.settings import TrainingSettings
from bmc.training.work import work_for


@pytest.fixture
def work(reviews: Dataset, tmp_path: Path) -> Work:
    def never(reference: str) -> Model:
        raise AssertionError(f"{reference} was loaded")

    settings = TrainingSettings(epochs=1, precision="fp32", device="cpu")
    return work_for(reviews, (), settings, tmp_path, tmp_path, never, run="")


def tokenizer_of(model: Model) -> Tokenizer:
    encoder: Any = model.encoder
    return encoder.tokenizer  # type: ignore[no-any-return]


def counts_of(tokenizer: Tokenizer, work: Work) -> Counter[str]:
    counts: Counter[str] = Counter()
    for (text,) in work.data.train.rows:
        counts.update(tokenizer.encode(text).tokens)
    return counts


def test_the_most_frequent_tokens_of_the_training_texts_are_kept(
    make_lively: Callable[..., Model], work: Work
) -> None:
    model = make_lively()
    counts = counts_of(tokenizer_of(model), work)
    record = Vocabulary(tokens=2100).apply(model, work)
    kept = tokenizer_of(model).get_vocab().keys()
    assert len(kept) == record["rows"] == 2100
    removed = counts.keys() - kept
    words = {token for token in counts.keys() & kept if len(token.removeprefix("##")) > 1}
    words -= {"[CLS]", "[SEP]", "[UNK]"}
    assert removed
    assert min(counts[word] for word in words) >= max(counts[token] for token in removed)


def test_words_whose_token_was_removed_split_into_kept_pieces(
    make_lively: Callable[..., Model], work: Work, capsys: pytest.CaptureFixture[str]
) -> None:
    model = make_lively()
    before = tokenizer_of(model)
    Vocabulary(tokens=2100).apply(model, work)
    pruned = tokenizer_of(model)
    assert "which split into smaller pieces" in capsys.readouterr().err
    for (text,) in work.data.train.rows[:50]:
        words = ["".join(before.encode(text).tokens[1:-1]).replace("##", "")]
        pieces = ["".join(pruned.encode(text).tokens[1:-1]).replace("##", "")]
        assert pieces == words


def test_tokens_beyond_those_of_the_texts_are_the_first_unused_ones(
    make_lively: Callable[..., Model], work: Work
) -> None:
    nothing = replace(work.data.validation, rows=[("a",)] * len(work.data.validation))
    work = replace(work, data=replace(work.data, validation=nothing))
    model, margin = make_lively(), make_lively()
    rows = Vocabulary(margin=100, max_split=1).apply(margin, work)["rows"]
    assert Vocabulary(tokens=rows).apply(model, work)["rows"] == rows
    assert tokenizer_of(model).to_str() == tokenizer_of(margin).to_str()


def test_validation_texts_do_not_decide_which_tokens_are_frequent(
    make_lively: Callable[..., Model], work: Work
) -> None:
    model, word = make_lively(), "xylophone"
    validation = replace(work.data.validation, rows=[(word,)] * len(work.data.validation))
    assert tokenizer_of(model).encode(word).tokens[1:-1] != list(word)
    changed = replace(work, data=replace(work.data, validation=validation))
    other = make_lively()
    Vocabulary(tokens=2100).apply(model, work)
    Vocabulary(tokens=2100).apply(other, changed)
    assert tokenizer_of(model).to_str() == tokenizer_of(other).to_str()


def test_bpe_keeps_what_its_tokens_are_merged_from(
    make_lively: Callable[..., Model], work: Work
) -> None:
    texts = [text for (text,) in work.data.train.rows]
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    special = ["[PAD]", "[UNK]"]
    tokenizer.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=900, special_tokens=special, show_progress=False)
    )
    model = replace(make_lively(), encoder=TextEncoder(tokenizer, TextSettings(64)))
    table = nn.Embedding(tokenizer.get_vocab_size(), 32, padding_idx=0)
    model.module.set_submodule("bert.embeddings.word_embeddings", table)
    rows = Vocabulary(tokens=300).apply(model, work)["rows"]
    assert 300 <= rows < 900
    for text in texts[:50]:
        assert "[UNK]" not in tokenizer_of(model).encode(text).tokens
        assert "".join(tokenizer_of(model).encode(text).tokens) == "".join(
            tokenizer.encode(text).tokens
        )


def test_fewer_tokens_than_characters_are_refused(
    make_lively: Callable[..., Model], work: Work
) -> None:
    with pytest.raises(SettingError, match=r"tokens is 50; .* alone are \d+"):
        Vocabulary(tokens=50).apply(make_lively(), work)


def test_a_negative_number_of_tokens_is_refused() -> None:
    with pytest.raises(SettingError, match="tokens is -1"):
        Vocabulary(tokens=-1)

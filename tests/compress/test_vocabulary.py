"""Vocabulary: the task's texts are cut as before, and the rest of the table is gone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor, nn

from bmc import artifact
from bmc import data as datasets
from bmc.compress.prune.vocabulary import Vocabulary
from bmc.compress.share.embedding import FactorizedEmbedding
from bmc.compress.share.tie import Tie
from bmc.data import Dataset
from bmc.errors import SettingError, UsageError
from bmc.inputs.text import TextEncoder, TextSettings
from bmc.model import AppliedStep, Model, Work
from bmc.models import bert, cnn, mpnet, recurrent, transformer
from bmc.training.settings import TrainingSettings
from bmc.training.work import work_for
from tests._records import refusal_of
from tests._tokenizers import built_in_tokenizer
from tests.models import _bundles

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
TABLE = "bert.embeddings.word_embeddings"


@pytest.fixture
def work(reviews: Dataset, tmp_path: Path) -> Work:
    def never(reference: str) -> Model:
        raise AssertionError(f"{reference} was loaded")

    settings = TrainingSettings(epochs=1, precision="fp32", device="cpu")
    return work_for(reviews, (), settings, tmp_path, tmp_path, never, run="")


def texts_of(work: Work) -> list[str]:
    rows = (*work.data.train.rows, *work.data.validation.rows)
    return [text for row in rows for text in row]


def tokenizer_of(kind: str, texts: list[str]) -> Tokenizer:
    """Train a small tokenizer of a kind, which splits text into the special tokens' frame."""
    size: dict[str, Any] = {"vocab_size": 700, "special_tokens": SPECIAL, "show_progress": False}
    spaces = pre_tokenizers.Whitespace()
    kinds: dict[str, Callable[[], tuple[Any, Any, Any, Any]]] = {
        "WordLevel": lambda: (
            models.WordLevel(unk_token="[UNK]"),
            trainers.WordLevelTrainer(**size),
            spaces,
            None,
        ),
        "BPE": lambda: (models.BPE(unk_token="[UNK]"), trainers.BpeTrainer(**size), spaces, None),
        "byte-level BPE": lambda: (
            models.BPE(),
            trainers.BpeTrainer(initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), **size),
            pre_tokenizers.ByteLevel(),
            decoders.ByteLevel(),
        ),
        "BPE with a prefix": lambda: (
            models.BPE(unk_token="[UNK]", continuing_subword_prefix="##"),
            trainers.BpeTrainer(continuing_subword_prefix="##", **size),
            spaces,
            None,
        ),
        "Unigram": lambda: (
            models.Unigram(),
            trainers.UnigramTrainer(unk_token="[UNK]", **size),
            pre_tokenizers.Metaspace(),
            decoders.Metaspace(),
        ),
    }
    created, trainer, splits, decoder = kinds[kind]()
    tokenizer = Tokenizer(created)
    tokenizer.pre_tokenizer = splits
    tokenizer.train_from_iterator(texts, trainer)
    if decoder:
        tokenizer.decoder = decoder
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")],
    )
    return tokenizer


def with_tokenizer(model: Model, tokenizer: Tokenizer, **settings: Any) -> Model:
    """Return the lively BERT over another tokenizer, its table cut or grown at random."""
    encoder = TextEncoder(tokenizer, TextSettings(64, **settings))
    table = nn.Embedding(tokenizer.get_vocab_size(), 32, padding_idx=encoder.settings.pad_id)
    model.module.set_submodule(TABLE, table)
    return replace(model, encoder=encoder)


def outputs_of(model: Model, work: Work) -> Tensor:
    """Return the outputs for all validation rows, padded to one batch."""
    encoder = model.encoder
    rows = work.data.validation.rows
    arrays = encoder.batch(encoder.encode(rows), range(len(rows)))
    result = _bundles.module_answers(model, arrays)
    return torch.from_numpy(result)


def tokens(model: Model, texts: list[str]) -> list[list[str]]:
    encoder: Any = model.encoder
    return [item.tokens for item in encoder.tokenizer.encode_batch(texts)]


def small_mpnet() -> Model:
    spec = {
        "model_type": "mpnet",
        "vocab_size": 30527,
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 24,
        "max_position_embeddings": 66,
        "pad_token_id": 1,
    }
    torch.manual_seed(0)
    module = mpnet.build(spec)
    with torch.no_grad():
        for value in module.parameters():
            value.mul_(10)
    encoder = TextEncoder(built_in_tokenizer("mpnet"), TextSettings(64, pad_id=1))
    return Model(module, "mpnet", spec, ("negative", "positive"), encoder)


@pytest.fixture(params=["bert", "mpnet", "transformer", "recurrent"])
def reader(
    request: pytest.FixtureRequest, make_lively: Callable[..., Model], reviews: Dataset
) -> Iterator[Model]:
    """Return a small model of each family that reads text."""
    if request.param == "bert":
        yield make_lively()
    elif request.param == "mpnet":
        yield small_mpnet()
    elif request.param == "transformer":
        yield transformer.baseline("transformer", reviews, transformer.Settings(hidden=16))
    else:
        yield recurrent.baseline("gru", reviews, recurrent.Settings(hidden=8, embedding=8))


def test_outputs_for_the_same_texts_are_bit_identical(reader: Model, work: Work) -> None:
    if reader.family in ("transformer", "recurrent"):  # their tokenizers know little else
        short = replace(work.data.train, rows=work.data.train.rows[:20])
        work = replace(work, data=replace(work.data, train=short))
    before = outputs_of(reader, work)
    texts = texts_of(work)
    cut_before, size = tokens(reader, texts), sum(p.numel() for p in reader.module.parameters())
    record = Vocabulary(margin=0, max_split=1).apply(reader, work)
    assert tokens(reader, texts) == cut_before
    assert torch.equal(outputs_of(reader, work), before)
    assert before.std() > 0.01
    encoder: Any = reader.encoder
    assert encoder.tokenizer.get_vocab_size() == record["rows"]
    assert sorted(encoder.tokenizer.get_vocab().values()) == list(range(record["rows"]))
    assert sum(p.numel() for p in reader.module.parameters()) < size


@pytest.mark.parametrize(
    "kind", ["WordLevel", "BPE", "byte-level BPE", "BPE with a prefix", "Unigram"]
)
def test_other_tokenizers_are_pruned_too(
    kind: str, make_lively: Callable[..., Model], work: Work
) -> None:
    texts = texts_of(work)
    model = with_tokenizer(make_lively(), tokenizer_of(kind, texts))
    few = replace(work.data.train, rows=work.data.train.rows[:10])
    only = replace(work.data.validation, rows=work.data.validation.rows[:10])
    work = replace(work, data=replace(work.data, train=few, validation=only))
    rows, texts = model.module.get_parameter(f"{TABLE}.weight").shape[0], texts_of(work)
    before, cut_before = outputs_of(model, work), tokens(model, texts)
    record = Vocabulary(margin=5, max_split=1).apply(model, work)
    assert record["rows"] < 0.9 * rows
    assert tokens(model, texts) == cut_before
    assert torch.equal(outputs_of(model, work), before)


def test_the_unknown_piece_of_a_unigram_stays_where_it_is_no_added_token(
    make_lively: Callable[..., Model], work: Work
) -> None:
    pieces = [("<pad>", 0.0), ("<rare>", -9.0), ("<unk>", 0.0)]
    pieces += [(letter, -3.0) for letter in "\u2581abcdefghijklmnopqrstuvwxyz"]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    model = with_tokenizer(make_lively(), tokenizer)
    Vocabulary(margin=0, max_split=1).apply(model, work)
    assert tokens(model, ["\u16a0"])[0][-1] == "\u16a0"
    encoder: Any = model.encoder
    assert encoder.tokenizer.encode("\u16a0").ids[-1] == encoder.tokenizer.token_to_id("<unk>")


def test_unseen_words_split_into_kept_pieces_and_unknown_ones_stay_unknown(
    make_lively: Callable[..., Model], work: Work
) -> None:
    model = make_lively()
    unseen, unknown = "xylophones", "\u16a0\u16a2"  # runes are not in the vocabulary
    assert unseen not in " ".join(texts_of(work))
    before = tokens(model, [unseen, unknown])
    Vocabulary(margin=0, max_split=1).apply(model, work)
    after = tokens(model, [unseen, unknown])
    assert after[1] == before[1] == ["[CLS]", "[UNK]", "[SEP]"]
    assert after[0] != before[0]
    assert "".join(token.removeprefix("##") for token in after[0][1:-1]) == unseen


def test_a_word_that_the_maximum_length_cuts_keeps_all_its_pieces(
    make_lively: Callable[..., Model], work: Work
) -> None:
    model = make_lively()
    model.encoder = TextEncoder(model.encoder.tokenizer, TextSettings(5))  # type: ignore[attr-defined]
    rows = [("a fine unfathomableness",)] * 2
    work = replace(work, data=replace(work.data, train=replace(work.data.train, rows=rows)))
    encoder: Any = model.encoder
    before = tokens(model, [rows[0][0]])[0]
    assert len(encoder.encode(rows)[0].ids) == 5 < len(before), "the last word is cut"
    Vocabulary(margin=0, max_split=1).apply(model, work)
    assert tokens(model, [rows[0][0]])[0] == before


def test_a_margin_keeps_the_first_unused_tokens(
    make_lively: Callable[..., Model], work: Work
) -> None:
    bare, wide = make_lively(), make_lively()
    work = replace(work, data=replace(work.data, validation=work.data.train))
    record = Vocabulary(margin=0, max_split=1).apply(bare, work)
    assert Vocabulary(margin=50, max_split=1).apply(wide, work) == {
        **record,
        "rows": record["rows"] + 50,
    }
    known: Any = make_lively().encoder
    vocabulary: dict[str, int] = known.tokenizer.get_vocab()
    kept: Any = bare.encoder
    more: Any = wide.encoder
    added = more.tokenizer.get_vocab().keys() - kept.tokenizer.get_vocab().keys()
    unused = sorted(vocabulary.keys() - kept.tokenizer.get_vocab().keys(), key=vocabulary.get)  # type: ignore[arg-type]
    assert added == set([token for token in unused if "[unused" not in token][:50])


def test_transfer_texts_are_data_too(make_lively: Callable[..., Model], work: Work) -> None:
    model = make_lively()
    word = "xylophones"
    before = tokens(model, [word])
    Vocabulary(margin=0, max_split=1).apply(model, replace(work, unlabeled=((word,),)))
    assert tokens(model, [word]) == before


def test_padding_at_the_end_of_a_vocabulary_moves_with_it(
    make_lively: Callable[..., Model], work: Work
) -> None:
    known: Any = make_lively().encoder
    pieces = [item for item in known.tokenizer.get_vocab() if item != "[PAD]"]
    vocabulary = {token: number for number, token in enumerate([*sorted(pieces), "[PAD]"])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(["[UNK]", "[CLS]", "[SEP]", "[PAD]"])
    tokenizer.post_processor = processors.BertProcessing(
        ("[SEP]", vocabulary["[SEP]"]), ("[CLS]", vocabulary["[CLS]"])
    )
    model = with_tokenizer(make_lively(), tokenizer, pad_id=vocabulary["[PAD]"])
    before = outputs_of(model, work)
    record = Vocabulary(margin=0, max_split=1).apply(model, work)
    table = model.module.get_submodule(TABLE)
    assert record["padding"] == table.padding_idx == record["rows"] - 1
    encoder: Any = model.encoder
    assert encoder.settings.pad_id == encoder.tokenizer.token_to_id("[PAD]") == record["padding"]
    assert torch.equal(outputs_of(model, work), before)


def test_positions_counted_from_a_padding_that_would_move_are_refused(work: Work) -> None:
    model = small_mpnet()
    model.module.mpnet.embeddings.word_embeddings.padding_idx = 30000  # type: ignore[union-attr]
    with pytest.raises(UsageError, match="positions are counted from it"):
        Vocabulary(margin=0, max_split=1).apply(model, work)


def test_pruning_the_vocabulary_twice_changes_nothing_more(
    make_lively: Callable[..., Model], work: Work
) -> None:
    model = make_lively()
    assert Vocabulary(margin=100, max_split=1).apply(model, work)
    assert Vocabulary(margin=100, max_split=1).apply(model, work) == {}


def test_a_pruned_model_is_saved_loaded_and_exported_with_its_few_rows(
    make_lively: Callable[..., Model], work: Work, reviews: Dataset, tmp_path: Path
) -> None:
    model = make_lively(layers=1)
    model.data = {"reference": reviews.name, "fingerprint": reviews.fingerprint}
    whole = artifact.save(model, tmp_path / "whole")
    step = Vocabulary(margin=0, max_split=1)
    record = step.apply(model, work)
    model.steps = [AppliedStep("prune/vocabulary", {"margin": 0}, record, 0, 0.0)]
    folder = tmp_path / "cut"
    loaded = _bundles.saved(model, folder)
    assert torch.equal(outputs_of(loaded, work), outputs_of(model, work))
    for name in ("tokenizer.json", "model.safetensors"):
        assert (folder / name).stat().st_size < (whole / name).stat().st_size / 4
    bundle = _bundles.exported(folder, reviews, "onnx", tmp_path / "bundle")
    graph = onnx.load(bundle.path / "model.onnx").graph
    assert [record["rows"], 32] in [list(value.dims) for value in graph.initializer]
    assert not any(30522 in value.dims for value in graph.initializer)
    encoder = bundle.encoder
    rows = encoder.encode(reviews.test.rows[:3])
    arrays = encoder.batch(rows, range(3))
    (result,) = _bundles.answers_of(bundle, [arrays])
    assert result == pytest.approx(_bundles.module_answers(model, arrays), abs=1e-4)


@pytest.mark.parametrize("first", ["vocabulary", "embedding"])
def test_vocabulary_pruning_and_a_factorized_embedding_combine_in_both_orders(
    first: str, make_lively: Callable[..., Model], work: Work, tmp_path: Path
) -> None:
    model = make_lively()
    steps: list[Any] = [Vocabulary(margin=0, max_split=1), FactorizedEmbedding(rank=8)]
    names = ["prune/vocabulary", "share/embedding"]
    if first == "embedding":
        steps, names = steps[::-1], names[::-1]
    for step, name in zip(steps, names, strict=True):
        model.steps.append(AppliedStep(name, {}, step.apply(model, work), 0, 0.0))
    encoder: Any = model.encoder
    rows = encoder.tokenizer.get_vocab_size()
    assert rows < 10_000
    assert model.module.get_parameter(f"{TABLE}.0.weight").shape == (rows, 8)
    assert model.module.get_parameter(f"{TABLE}.1.weight").shape == (32, 8)
    assert bert.parts(model.module).embeddings[0] == f"{TABLE}.0"
    loaded = _bundles.saved(model, tmp_path / "both")
    assert torch.equal(outputs_of(loaded, work), outputs_of(model, work))
    assert torch.isfinite(torch.tensor(work.fit(loaded)["validation_accuracy"]))


def test_a_student_of_a_pruned_teacher_has_its_few_rows(
    make_lively: Callable[..., Model], work: Work
) -> None:
    teacher = make_lively()
    rows = Vocabulary(margin=0, max_split=1).apply(teacher, work)["rows"]
    FactorizedEmbedding(rank=16).apply(teacher, work)
    student = bert.student(teacher, bert.Size(layers=1, hidden=16, heads=2), work.data)
    assert student.module.get_parameter(f"{TABLE}.weight").shape == (rows, 16)
    assert outputs_of(student, work).shape == (len(work.data.validation), 2)


def test_a_model_of_images_is_refused(work: Work) -> None:
    images = datasets.load("digits")
    model = cnn.baseline("cnn", images, cnn.Settings(width=4, hidden=8))
    with pytest.raises(UsageError, match="cnn has none"):
        Vocabulary().apply(model, replace(work, data=images))


def test_a_tied_embedding_is_refused(work: Work, reviews: Dataset) -> None:
    model = transformer.baseline("transformer", reviews, transformer.Settings(hidden=16))
    rows = model.module.get_parameter("embedding.words.weight").shape[0]
    model.module.set_submodule("classifier", nn.Linear(16, rows))
    Tie().apply(model, work)
    with pytest.raises(UsageError, match=r"embedding\.words alone.*before tying"):
        Vocabulary().apply(model, work)


def test_as_many_tokens_are_kept_as_new_texts_need_by_the_validation_texts(
    make_lively: Callable[..., Model], work: Work, capsys: pytest.CaptureFixture[str]
) -> None:
    train = replace(work.data.train, rows=[("a fine film",)] * 6)
    new = [("a fine film",)] * 3 + [("a fine house",)]
    validation = replace(work.data.validation, rows=new)
    work = replace(work, data=replace(work.data, train=train, validation=validation))
    split = Vocabulary(margin=0, max_split=0.25).apply(make_lively(), work)
    assert "expect 25% of new texts to have a word that splits" in capsys.readouterr().err
    encoder: Any = make_lively().encoder
    before_house = encoder.tokenizer.token_to_id("house")
    whole = Vocabulary(margin=0, max_split=0.24).apply(make_lively(), work)
    assert capsys.readouterr().err == ""
    assert 0 < whole["rows"] - split["rows"] < before_house, "those before it in the tokenizer"
    known = Vocabulary(margin=0).apply(make_lively(), replace(work, unlabeled=new))
    assert known["rows"] == split["rows"], "no text is new"


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_of_texts_outside_0_to_1_is_refused(share: float) -> None:
    with pytest.raises(SettingError, match="max_split is"):
        Vocabulary(max_split=share)


def test_a_negative_margin_is_refused() -> None:
    with pytest.raises(SettingError, match="margin is -1"):
        Vocabulary(margin=-1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"embedding": "bert.pooler.dense"},
        {"embedding": "nowhere"},
        {"embedding": None},
        {"rows": 0},
        {"rows": 30523},
        {"rows": True},
        {"rows": "12"},
        {"padding": 100},
        {"padding": -1},
        {"padding": 0.5},
    ],
)
def test_a_record_that_does_not_fit_is_refused(
    wrong: dict[str, Any], make_lively: Callable[..., Model], tmp_path: Path
) -> None:
    record = {"embedding": TABLE, "rows": 100, "padding": 0, **wrong}
    message = refusal_of(make_lively(), "prune/vocabulary", record, tmp_path)
    refused = r"not a word embedding|in 1\.\.30522|padding row|prune/vocabulary does not fit"
    assert re.search(refused, message)


def test_the_words_of_the_prompt_stay_as_they_are(
    make_lively: Callable[..., Model], work: Work
) -> None:
    others = ["represent this passage", *(["quagga", "zebra", "okapi"])]  # in no text of the data
    tokenizer = tokenizer_of("WordLevel", [*texts_of(work), *others * 50])
    model = with_tokenizer(make_lively(), tokenizer, prompt="represent this passage ")
    before = outputs_of(model, work)
    assert Vocabulary(margin=0, max_split=1).apply(model, work)
    torch.testing.assert_close(outputs_of(model, work), before)

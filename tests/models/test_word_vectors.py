"""Word vectors as the start of token embeddings: which words are kept, and bad files."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bmc import artifact, assets
from bmc.compress.prune.vocabulary import Vocabulary
from bmc.data import Dataset, Examples
from bmc.errors import AssetError, DataError, MissingError, SettingError, UnknownError
from bmc.long_text import boundaries_of
from bmc.model import AppliedStep
from bmc.models import recurrent, textcnn, word_vectors
from bmc.training.settings import TrainingSettings
from bmc.training.work import work_for

FILE = """\
the 1 0 0
film 0 1 0
good 0 0 1
bad 0 0 -1
n't 0.5 0.5 0
does 0.25 0 0
funny 0 2 0
runny 0 4 0
well-known 7 7 7
cheese 3 3 3
"""
TEXTS = ["the film does n't work", "a good film", "doesn't a Zyzzyva work", "a bad zyzzyva once"]


@pytest.fixture
def vectors(tmp_path: Path) -> Callable[[str], str]:
    """Return a function that writes a file of vectors, and returns its path."""

    def write(content: str = FILE) -> str:
        path = tmp_path / "vectors.txt"
        path.write_text(content, encoding="utf-8")
        return str(path)

    return write


@pytest.fixture
def few(reviews: Dataset) -> Dataset:
    rows = tuple((text,) for text in TEXTS)
    return replace(reviews, train=Examples(rows, (0, 1, 0, 1)))


def started(data: Dataset, path: str, **options: Any) -> tuple[Any, Any]:
    encoder, table = word_vectors.start(data, recurrent.Settings(vectors=path, **options))
    return encoder, table


def test_words_start_with_their_vectors_and_contractions_are_split(
    few: Dataset, vectors: Callable[..., str]
) -> None:
    encoder, table = started(few, vectors())
    tokens = encoder.tokenizer.encode("The film doesn't work").tokens
    assert tokens == ["[CLS]", "the", "film", "does", "n't", "work", "[SEP]"]
    ids = encoder.tokenizer.encode("the film does n't").ids
    assert table[ids[1:-1]].tolist() == [[1, 0, 0], [0, 1, 0], [0.25, 0, 0], [0.5, 0.5, 0]]


def test_the_most_frequent_words_of_the_file_are_kept_besides(
    few: Dataset, vectors: Callable[..., str]
) -> None:
    encoder, _ = started(few, vectors())
    vocabulary = encoder.tokenizer.get_vocab()
    assert "cheese" in vocabulary
    assert "well-known" not in vocabulary, "texts are split at the hyphen"


def test_a_word_without_a_vector_is_kept_where_the_texts_have_it_twice(
    few: Dataset, vectors: Callable[..., str]
) -> None:
    encoder, table = started(few, vectors())
    vocabulary = encoder.tokenizer.get_vocab()
    assert {"zyzzyva", "work"} <= vocabulary.keys()
    assert "once" not in vocabulary
    assert not table[vocabulary["work"]].any()


def test_unlabeled_texts_decide_which_words_are_kept(
    few: Dataset, vectors: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(word_vectors, "MARGIN", 0)
    encoder, _ = started(few, vectors())
    assert "cheese" not in encoder.tokenizer.get_vocab()
    encoder, _ = started(replace(few, unlabeled=(("cheese",),)), vectors())
    assert "cheese" in encoder.tokenizer.get_vocab()


def test_other_words_split_into_endings_that_start_as_the_mean_of_words_that_end_so(
    few: Dataset, vectors: Callable[..., str]
) -> None:
    encoder, table = started(few, vectors())
    encoded = encoder.tokenizer.encode("goody")
    assert encoded.tokens[1] == "good"
    assert encoded.tokens[2].startswith("##")
    ending = encoder.tokenizer.get_vocab()["##y"]
    assert table[ending].tolist() == [0, 3, 0], "the mean of funny and runny"


def test_case_is_kept_where_a_word_of_the_file_has_a_capital(
    few: Dataset, vectors: Callable[..., str]
) -> None:
    encoder, _ = started(few, vectors())
    assert encoder.tokenizer.encode("FILM").tokens[1] == "film"
    encoder, _ = started(few, vectors(FILE + "Paris 1 1 1\n"))
    assert encoder.tokenizer.encode("FILM").tokens[1] != "film"
    encoder, _ = started(few, vectors(FILE + "Paris 1 1 1\n"), lowercase=True)
    assert encoder.tokenizer.encode("FILM").tokens[1] == "film"
    assert "Paris" not in encoder.tokenizer.get_vocab()


def test_a_header_byte_order_mark_and_words_with_spaces_are_read_over(
    few: Dataset, vectors: Callable[..., str]
) -> None:
    path = vectors("\ufeff10 3\n" + FILE.replace("\n", " \r\n") + ". . . 1 2 3\nthe 9 9 9\n")
    encoder, table = started(few, path)
    assert table[encoder.tokenizer.get_vocab()["the"]].tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has no word vectors"),
        ("3 2\n", "has no word vectors"),
        ("the\nfilm\n", "line 1 has 0 values after its word"),
        ("the 1\n", "line 1 has 1 values after its word"),
        ("the,1,2,3\n", "line 1 has 0 values"),
        ("the 1 2\nfilm 1\n", "line 2 has 1 values after the word 'film', the first line has 2"),
        ("the 1 two\n", "line 1 has a value that is no number"),
        ("the 1 nan\n", "line 1 has NaN"),
        ("the 1 1e50\n", "line 1 has NaN, infinity"),
        ("the 1 2\nfi\x00lm 1 2\n", "line 2 is binary"),
        ("le 1 2\nchat 1 2\n", "for none of the [0-9]+ words.*le, chat"),
        ("x" * 200_000, "line 1 has more than 100,000 characters"),
    ],
)
def test_a_file_that_is_no_word_vectors_is_refused_in_a_line(
    few: Dataset, vectors: Callable[..., str], content: str, message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        started(few, vectors(content))
    assert "\n" not in str(caught.value)


def test_a_file_in_another_encoding_or_form_is_refused_with_the_way_out(
    few: Dataset, tmp_path: Path
) -> None:
    latin = tmp_path / "latin.txt"
    latin.write_bytes("the 1 2\ncaf\xe9 1 2\n".encode("latin-1"))
    with pytest.raises(DataError, match="line 2 is not UTF-8"):
        started(few, str(latin))
    packed = tmp_path / "vectors.txt.gz"
    packed.write_bytes(b"\x1f\x8b")
    with pytest.raises(DataError, match="unpack it, or save it as text"):
        started(few, str(packed))


def test_vectors_that_are_not_there_are_refused_before_anything_is_read() -> None:
    with pytest.raises(UnknownError, match=r"'glove-5'\. Did you mean 'glove-50'"):
        recurrent.Settings(vectors="glove-5")


def test_a_width_that_is_not_the_vectors_is_refused(
    few: Dataset, vectors: Callable[..., str]
) -> None:
    with pytest.raises(SettingError, match=r"embedding is 64, and .* have 3 values"):
        started(few, vectors(), embedding=64)


def test_a_vocabulary_is_cut_to_the_most_frequent_words(
    few: Dataset, vectors: Callable[..., str]
) -> None:
    encoder, table = started(few, vectors(), vocabulary=100)
    assert len(table) == encoder.tokenizer.get_vocab_size() <= 100
    letters = "".join(chr(number) for number in range(0x4E00, 0x4E00 + 200))
    many = replace(few, unlabeled=((f"the {letters}",),) * 2)
    with pytest.raises(SettingError, match="pieces of words alone are"):
        started(many, vectors(), vocabulary=100)


def test_data_without_words_is_refused(few: Dataset, vectors: Callable[..., str]) -> None:
    series = replace(few, kind="series")
    with pytest.raises(SettingError, match="holds series, which has no words: leave vectors out"):
        recurrent.baseline("gru", series, recurrent.Settings(vectors=vectors()))


def test_a_sentence_pair_is_read_with_its_types(few: Dataset, vectors: Callable[..., str]) -> None:
    rows = tuple((text, text) for text in TEXTS)
    pairs = replace(few, columns=("a", "b"), train=Examples(rows, (0, 1, 0, 1)))
    model = textcnn.baseline("textcnn", pairs, textcnn.Settings(vectors=vectors(), filters=4))
    arrays = model.encoder.batch(model.encoder.encode([("the film", "bad")]), [0])
    assert arrays["token_type_ids"].tolist() == [[0, 0, 0, 0, 1, 1]]
    inputs = {name: torch.from_numpy(array) for name, array in arrays.items()}
    assert model.module(**inputs).shape == (1, 2)


def test_long_texts_can_be_cut_before_they_are_tokenized(
    few: Dataset, vectors: Callable[..., str]
) -> None:
    encoder, _ = started(few, vectors(), max_length=16)
    assert boundaries_of(encoder.tokenizer)
    (tokens,) = encoder.encode(["the film doesn't work " * 1000])
    assert len(tokens.ids) == 16


@pytest.mark.parametrize("tokens", [0, 52])
def test_a_vocabulary_of_words_is_pruned_and_its_words_still_read(
    few: Dataset, vectors: Callable[..., str], tmp_path: Path, tokens: int
) -> None:
    model: Any = recurrent.baseline("gru", few, recurrent.Settings(vectors=vectors(), hidden=4))
    settings = TrainingSettings(epochs=1, precision="fp32", device="cpu")
    work = work_for(
        few, (), settings, tmp_path, tmp_path, lambda name: artifact.load(Path(name)), run=""
    )
    before = model.spec["vocabulary"]
    table = model.module.embedding.words.weight.detach().clone()
    ids = model.encoder.tokenizer.encode("the film").ids
    step = Vocabulary(margin=0, max_split=1, tokens=tokens)
    model.steps = [AppliedStep("prune/vocabulary", asdict(step), step.apply(model, work), 0, 0.0)]
    after = model.module.embedding.words.weight
    assert len(after) < before
    again = model.encoder.tokenizer.encode("the film").ids
    assert torch.equal(after[again], table[ids])
    loaded: Any = artifact.load(artifact.save(model, tmp_path / "pruned"))
    assert loaded.encoder.tokenizer.encode("the film").ids == again


def test_the_built_in_vectors_are_those_of_glove(reviews: Dataset) -> None:
    pytest.importorskip("pyarrow")
    try:
        assets.fetch("glove-50")
    except AssetError as error:
        pytest.skip(str(error))
    encoder, table = word_vectors.start(reviews, textcnn.Settings(vectors="glove-50"))
    the = table[encoder.tokenizer.get_vocab()["the"]]
    np.testing.assert_allclose(the[:3], [0.418, 0.24968, -0.41242], atol=1e-5)
    assert encoder.tokenizer.encode("It's a FILM").tokens[1:-1] == ["it", "'s", "a", "film"]


def test_built_in_vectors_without_pyarrow_say_what_to_install(
    few: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingError, match=r"pip install 'bmc-toolkit\[parquet\]'"):
        started(few, "glove-50")


def test_a_chinese_character_with_a_vector_is_a_word(
    few: Dataset, vectors: Callable[..., str]
) -> None:
    encoder, table = started(few, vectors(FILE + "片 5 5 5\n"))
    index = encoder.tokenizer.get_vocab()["片"]
    assert table[index].tolist() == [5, 5, 5]

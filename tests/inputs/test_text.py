"""Text into tensors: lengths, padding, pairs, and settings that are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from bmc import assets, inputs
from bmc.data import _stored
from bmc.errors import ArtifactError, DataError, SettingError
from bmc.inputs import ordered_batches
from bmc.inputs.text import TextEncoder, TextSettings, load_tokenizer

CLS, SEP = 101, 102


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return load_tokenizer(assets.fetch("minilm") / "tokenizer.json")


def test_known_words_become_the_known_ids_of_berts_vocabulary(tokenizer: Tokenizer) -> None:
    (tokens,) = TextEncoder(tokenizer, TextSettings()).encode([("What a film!",)])
    assert list(tokens.ids) == [CLS, 2054, 1037, 2143, 999, SEP]  # bert-base-uncased's vocab.txt
    assert list(tokens.types) == [0] * 6


def test_a_long_text_is_cut_and_keeps_its_special_tokens(tokenizer: Tokenizer) -> None:
    (tokens,) = TextEncoder(tokenizer, TextSettings(max_length=8)).encode([("film " * 50,)])
    assert len(tokens.ids) == 8
    assert (tokens.ids[0], tokens.ids[-1]) == (CLS, SEP)


def test_rows_are_padded_to_the_longest_and_masked(tokenizer: Tokenizer) -> None:
    encoder = TextEncoder(tokenizer, TextSettings(pad_id=7))
    arrays = encoder.batch(encoder.encode([("film",), ("a film",)]), [0, 1])
    assert set(arrays) == {"input_ids", "attention_mask"}
    assert arrays["input_ids"].tolist() == [[CLS, 2143, SEP, 7], [CLS, 1037, 2143, SEP]]
    assert arrays["attention_mask"].tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert all(array.dtype == np.int64 for array in arrays.values())


def test_a_pair_marks_which_text_a_token_came_from(tokenizer: Tokenizer) -> None:
    encoder = TextEncoder(tokenizer, TextSettings(columns=2))
    arrays = encoder.batch(encoder.encode([("film", "a film")]), [0])
    assert arrays["input_ids"].tolist() == [[CLS, 2143, SEP, 1037, 2143, SEP]]
    assert arrays["token_type_ids"].tolist() == [[0, 0, 0, 1, 1, 1]]


def test_batches_hold_every_row_once_and_rows_of_like_length(tokenizer: Tokenizer) -> None:
    encoder = TextEncoder(tokenizer, TextSettings())
    rows = encoder.encode([("film " * count,) for count in (9, 1, 8, 2, 7)])
    batches = list(ordered_batches(encoder, rows, size=2))
    assert sorted(place for places, _ in batches for place in places) == [0, 1, 2, 3, 4]
    widths = [arrays["input_ids"].shape[1] for _, arrays in batches]
    assert widths == [4, 10, 11]


def test_a_tokenizers_own_padding_and_truncation_are_ignored() -> None:
    own = load_tokenizer(assets.fetch("minilm") / "tokenizer.json")
    own.enable_truncation(5)
    own.enable_padding(length=40)
    (tokens,) = TextEncoder(own, TextSettings()).encode([("one two three four five six",)])
    assert len(tokens.ids) == 8
    assert len(own.encode("one two three four five six").ids) == 40


@pytest.mark.parametrize(
    "settings", [{"max_length": 3}, {"max_length": 8193}, {"columns": 3}, {"pad_id": -1}]
)
def test_settings_out_of_range_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(SettingError):
        TextSettings(**settings)


def test_settings_are_read_back_as_written() -> None:
    settings = TextSettings(max_length=64, columns=2, pad_id=3)
    assert TextSettings.from_json(settings.to_json()) == settings


@pytest.mark.parametrize(
    "change",
    [
        {"max_length": "64"},
        {"max_length": True},
        {"max_length": float("inf")},
        {"max_length": 10**30},
        {"columns": 0},
        {"columns": [1]},
        {"pad_id": None},
        {"pad_id": 10**30},
    ],
)
def test_preprocessing_of_wrong_types_or_values_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ArtifactError, match="preprocessing"):
        TextSettings.from_json({**TextSettings().to_json(), **change})


def test_html_line_breaks_are_spaces(tokenizer: Tokenizer) -> None:
    encoder = TextEncoder(tokenizer, TextSettings())
    plain, broken = encoder.encode([("a film",), ("a<br /><BR>film",)])
    assert plain == broken


def test_a_row_with_another_number_of_texts_is_refused(tokenizer: Tokenizer) -> None:
    encoder = TextEncoder(tokenizer, TextSettings())
    for row in (("one", "two"), (), (1,)):
        with pytest.raises(DataError, match=r"takes 1 text\(s\) a row"):
            encoder.encode([row])


def test_rows_on_disk_make_the_same_tensors_as_rows_in_memory(tokenizer: Tokenizer) -> None:
    texts = [("film " * count,) for count in (9, 1, 8, 200)]
    writer = _stored.Writer()
    for row in texts:
        writer.append(row, "a")
    stored, _ = writer.finish()
    encoder = TextEncoder(tokenizer, TextSettings(max_length=16))
    lazy, encoded = encoder.encode(stored), encoder.encode(texts)
    assert lazy is stored  # nothing was encoded yet
    for name, array in encoder.batch(encoded, [3, 1]).items():
        np.testing.assert_array_equal(encoder.batch(lazy, [3, 1])[name], array)
    estimate = encoder.lengths(lazy)
    assert np.argsort(estimate, kind="stable").tolist() == [1, 2, 0, 3]
    assert max(estimate) == 16


def test_an_encoder_comes_back_from_what_it_saved(tokenizer: Tokenizer, tmp_path: Path) -> None:
    encoder = TextEncoder(tokenizer, TextSettings(max_length=9, columns=2))
    encoder.save(tmp_path)
    again = inputs.load(encoder.to_json(), tmp_path)
    row = [("what a film", "indeed it is, and long")]
    before, after = (one.batch(one.encode(row), [0]) for one in (encoder, again))
    assert {name: array.tolist() for name, array in before.items()} == {
        name: array.tolist() for name, array in after.items()
    }


@pytest.mark.parametrize("kind", [None, "sound", "../text", 3])
def test_preprocessing_of_an_unknown_kind_is_refused(kind: object, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="this bmc knows image, latent, series, text"):
        inputs.load({"kind": kind}, tmp_path)


def test_what_is_no_tokenizer_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    with pytest.raises(ArtifactError, match=r"has no tokenizer\.json"):
        load_tokenizer(path)
    for content in (b"", b"{}", b"\xff\x00", b'{"model": {"type": "Magic"}}'):
        path.write_bytes(content)
        with pytest.raises(ArtifactError, match="is no tokenizer"):
            load_tokenizer(path)


def test_many_rows_are_cut_in_order_like_few(tokenizer: Tokenizer) -> None:
    encoder = TextEncoder(tokenizer, TextSettings())
    rows = [(f"film {number}",) for number in range(10_003)]
    found = encoder.encode(rows)
    assert len(found) == len(rows)
    for place in (0, 9_999, 10_000, 10_002):
        assert found[place] == encoder.encode([rows[place]])[0]

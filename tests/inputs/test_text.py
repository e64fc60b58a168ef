"""Text into tensors: lengths, padding, pairs, and settings that are refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from bmc import assets, inputs, stored_rows
from bmc.errors import ArtifactError, DataError, SettingError
from bmc.inputs import ordered_batches
from bmc.inputs.text import TextEncoder, TextSettings, load_tokenizer
from tests._tokenizers import built_in_tokenizer

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
    assert sorted(index for places, _ in batches for index in places) == [0, 1, 2, 3, 4]
    widths = [arrays["input_ids"].shape[1] for _, arrays in batches]
    assert widths == [4, 10, 11]


def test_a_tokenizers_own_padding_and_truncation_are_ignored() -> None:
    entry = load_tokenizer(assets.fetch("minilm") / "tokenizer.json")
    entry.enable_truncation(5)
    entry.enable_padding(length=40)
    (tokens,) = TextEncoder(entry, TextSettings()).encode([("one two three four five six",)])
    assert len(tokens.ids) == 8
    assert len(entry.encode("one two three four five six").ids) == 40


@pytest.mark.parametrize(
    "settings", [{"max_length": 3}, {"max_length": 8193}, {"columns": 3}, {"pad_id": -1}]
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
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
        {"truncation_side": "top"},
        {"truncation_side": 3},
        {"pair_types": 1},
        {"html_breaks": None},
        {"vocabulary": -1},
    ],
)
def test_preprocessing_of_wrong_types_or_values_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ArtifactError, match="preprocessing"):
        TextSettings.from_json({**TextSettings().to_json(), **change})


def test_html_line_breaks_are_spaces_only_where_the_settings_say_so(tokenizer: Tokenizer) -> None:
    rows = [("a film",), ("a<br /><BR>film",)]
    plain, broken = TextEncoder(tokenizer, TextSettings(html_breaks=True)).encode(rows)
    assert plain == broken
    plain, broken = TextEncoder(tokenizer, TextSettings()).encode(rows)
    assert plain != broken


def test_settings_of_older_bundles_keep_their_meaning() -> None:
    old = {"kind": "text", "max_length": 64, "columns": 2, "pad_id": 3}
    assert TextSettings.from_json(old) == TextSettings(64, 2, 3, html_breaks=True)


BAD_ROWS = {
    "None": (None, "None"),
    "a number that is none": (float("nan"), "nan"),
    "a number": (5, "5 (int)"),
    "bytes": (b"film", "bytes"),
    "a list": (["film"], "list"),
    "a dictionary": ({"text": "film"}, "dict"),
    "None in a tuple": ((None,), "None"),
    "two texts": (("one", "two"), "it has 2"),
    "no text": ((), "it has 0"),
    "an empty text": ("", "empty"),
    "half a character": ("a \ud83d film", r"character 3 .*'\\ud83d'"),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_a_row_that_is_no_text_is_refused_by_its_number(tokenizer: Tokenizer, name: str) -> None:
    row, message = BAD_ROWS[name]
    encoder = TextEncoder(tokenizer, TextSettings())
    message = message if name == "half a character" else re.escape(message)
    with pytest.raises(DataError, match=rf"^row 3\b.*{message}"):
        encoder.encode(["a film", "a story", row, "a play"])


@pytest.mark.parametrize("row", [("a", None), ("a", 5), ("a",), "a", ("", ""), ("a", "\udc00")])
def test_a_bad_pair_is_refused_by_its_number(tokenizer: Tokenizer, row: object) -> None:
    encoder = TextEncoder(tokenizer, TextSettings(columns=2))
    with pytest.raises(DataError, match=r"^row 2"):
        encoder.encode([("a", "b"), row])


def test_a_bad_row_on_disk_is_named_by_its_place_in_the_data(tokenizer: Tokenizer) -> None:
    writer = stored_rows.Writer()
    for text in ("a", "b", "", "d"):
        writer.append((text,), "a")
    stored, _ = writer.finish()
    encoder = TextEncoder(tokenizer, TextSettings())
    with pytest.raises(DataError, match=r"^row 3"):
        encoder.batch(encoder.encode(stored), [1, 2])


def test_a_token_beyond_the_models_table_is_refused(tokenizer: Tokenizer) -> None:
    TextEncoder(tokenizer, TextSettings(vocabulary=30522))
    with pytest.raises(ArtifactError, match=r"id 30521.*30521 rows.*resize_token_embeddings"):
        TextEncoder(tokenizer, TextSettings(vocabulary=30521))
    with pytest.raises(ArtifactError, match="padding"):
        TextEncoder(tokenizer, TextSettings(vocabulary=30522, pad_id=30522))


def test_rows_on_disk_make_the_same_tensors_as_rows_in_memory(tokenizer: Tokenizer) -> None:
    texts = [("film " * count,) for count in (9, 1, 8, 200)]
    writer = stored_rows.Writer()
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
    before, after = (item.batch(item.encode(row), [0]) for item in (encoder, again))
    assert {name: array.tolist() for name, array in before.items()} == {
        name: array.tolist() for name, array in after.items()
    }


@pytest.mark.parametrize("kind", [None, "sound", "../text", 3])
def test_preprocessing_of_an_unknown_kind_is_refused(kind: object, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"this bmc knows array, .*image, .*text"):
        inputs.load({"kind": kind}, tmp_path)


def test_what_is_no_tokenizer_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    with pytest.raises(ArtifactError, match=r"has no tokenizer\.json"):
        load_tokenizer(path)
    for content in (b"", b"{}", b"\xff\x00", b'{"model": {"type": "Magic"}}'):
        path.write_bytes(content)
        with pytest.raises(ArtifactError, match="is not a tokenizer"):
            load_tokenizer(path)


def test_many_rows_are_cut_in_order_like_few(tokenizer: Tokenizer) -> None:
    encoder = TextEncoder(tokenizer, TextSettings())
    rows = [(f"film {number}",) for number in range(10_003)]
    result = encoder.encode(rows)
    assert len(result) == len(rows)
    for index in (0, 9_999, 10_000, 10_002):
        assert result[index] == encoder.encode([rows[index]])[0]


def test_a_setting_that_this_version_does_not_know_is_refused(tmp_path: Path) -> None:
    encoder = TextEncoder(built_in_tokenizer("minilm"), TextSettings(12, prompt="query: "))
    encoder.save(tmp_path)
    settings = encoder.to_json()
    assert inputs.load(settings, tmp_path).to_json() == settings
    with pytest.raises(ArtifactError, match="has the setting 'strips', which this bmc does not"):
        inputs.load({**settings, "strips": True}, tmp_path)


@pytest.mark.parametrize("kind", ["spaced", "words.x", "settings"])
def test_what_is_no_kind_of_rows_is_refused(kind: str, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="this bmc knows array, audio, features"):
        inputs.load({"kind": kind}, tmp_path)

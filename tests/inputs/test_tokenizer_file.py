"""A tokenizer.json is a stranger's: what is out of bounds is refused before it is built."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import BertProcessing

from bmc.errors import ArtifactError
from bmc.inputs.text import TextEncoder, TextSettings, load_tokenizer

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "film", "##s")


def content() -> dict[str, Any]:
    tokenizer = Tokenizer(WordPiece({word: number for number, word in enumerate(WORDS)}))
    tokenizer.normalizer = BertNormalizer()
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.add_special_tokens(["[PAD]", "[CLS]", "[SEP]"])
    report: dict[str, Any] = json.loads(tokenizer.to_str())
    return report


def split_at(pattern: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def doubling() -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}


def model(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda file: file["model"].update(changes)


def added(*tokens: Any) -> Callable[[dict[str, Any]], None]:
    return lambda file: file["added_tokens"].extend(tokens)


def whole(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda file: file.update(changes)


TOKEN = {"content": "new", "special": True}
TOKEN |= dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
BAD: dict[str, Callable[[dict[str, Any]], None]] = {
    "an id of 2^31": model(vocab={"[UNK]": 0, "a": 2**31}),
    "an id of a text": model(vocab={"[UNK]": 0, "a": "1"}),
    "a negative id": model(vocab={"[UNK]": 0, "a": -1}),
    "no vocabulary": model(vocab={}),
    "an added id of 2^31": added({**TOKEN, "id": 2**31}),
    "an added token without id": added(TOKEN),
    "an added token that is a text": added("new"),
    "added tokens without end": added(*({**TOKEN, "id": 7} for _ in range(20_001))),
    "a [SEP] of 2^31": whole(
        post_processor={"type": "BertProcessing", "sep": ["[SEP]", 2**31], "cls": ["[CLS]", 2]}
    ),
    "words without end": model(max_input_chars_per_word=10**9),
    "no model": whole(model=None),
    "a random tokenizer": model(type="BPE", dropout=0.1, merges=[], vocab={"a": 0}),
    "a pattern that repeats a repeat": whole(pre_tokenizer=split_at(r"(a+)+$")),
    "a pattern that repeats a choice": whole(pre_tokenizer=split_at(r"(?:a|aa)*b")),
    "a pattern that refers back": whole(pre_tokenizer=split_at(r"(a*)b\1")),
    "a pattern without end": whole(pre_tokenizer=split_at("a" * 1001)),
    "a pattern that is none": whole(pre_tokenizer=split_at("(a")),
    "texts that double again and again": whole(
        normalizer={"type": "Sequence", "normalizers": [doubling() for _ in range(60)]}
    ),
    "a charsmap that is none": whole(
        normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAA"}
    ),
    "steps without end": whole(
        normalizer={"type": "Sequence", "normalizers": [{"type": "NFC"}] * 101}
    ),
    "a template of no ids": whole(
        post_processor={
            "type": "TemplateProcessing",
            **{"single": [], "pair": [], "special_tokens": {"[CLS]": {}}},
        }
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_tokenizer_out_of_bounds_is_refused_in_little_time_and_memory(
    name: str, tmp_path: Path
) -> None:
    file = content()
    BAD[name](file)
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(file))
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(ArtifactError, match=r"tokenizer\.json is not a tokenizer"):
        load_tokenizer(path)
    assert time.process_time() - started < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


@pytest.mark.parametrize("text", ["", "[]", "null", "[" * 100_000, "\ufeff{}", '{"model": {}}'])
def test_what_is_no_json_of_a_tokenizer_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(text)
    with pytest.raises(ArtifactError, match=r"tokenizer\.json"):
        load_tokenizer(path)


def test_a_file_of_many_bytes_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ArtifactError, match="bytes; bmc reads up to"):
        load_tokenizer(path)


@pytest.mark.parametrize(
    "pattern",
    [
        r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",  # GPT-2
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|\s+",  # Llama 3
        r"(ab){2}[(+*]+\(+",
    ],
)
def test_patterns_of_real_tokenizers_are_read(pattern: str, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({**content(), "pre_tokenizer": split_at(pattern)}))
    assert load_tokenizer(path).encode("a film").ids


def test_the_ids_of_a_known_table_are_checked_before_the_tokenizer_is_built(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(content()))
    load_tokenizer(path, len(WORDS))
    with pytest.raises(
        ArtifactError, match=r"'##s' has the id 6, but the model's table has 6 rows"
    ):
        load_tokenizer(path, len(WORDS) - 1)


def test_a_tokenizer_that_cannot_read_a_text_is_an_artifact_error(tmp_path: Path) -> None:
    file = content()
    file["model"]["unk_token"] = "[NONE]"
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(file))
    encoder = TextEncoder(load_tokenizer(path), TextSettings())
    with pytest.raises(ArtifactError, match="the tokenizer cannot read a text"):
        encoder.encode([("unheard of",)])


def test_more_special_tokens_than_a_row_holds_are_refused(tmp_path: Path) -> None:
    file = content()
    file["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}] * 9
        + [{"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": name, "type_id": 0}} for name in "AB"],
        "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]}},
    }
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(file))
    TextEncoder(load_tokenizer(path), TextSettings(10))
    with pytest.raises(ArtifactError, match="adds 9 special tokens"):
        TextEncoder(load_tokenizer(path), TextSettings(8))

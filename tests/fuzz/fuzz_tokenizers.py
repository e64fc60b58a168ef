"""Mutated tokenizer.json files and odd texts: ids below the table, or refused in one line."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE, Unigram, WordLevel, WordPiece
from tokenizers.processors import BertProcessing, ByteLevel, RobertaProcessing, TemplateProcessing

from bmc import console
from bmc.inputs.text import TextEncoder, TextSettings, load_tokenizer
from tests.fuzz import _edits

console.set_mode(quiet=True, json=False)

_NAME = "tokenizer.json"
_WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b", "film", "##s", "Ġthe", "▁the", "é", "漢")
_ODD = (
    *("film", "the [PAD] film", "café", "cafe\u0301", "漢字" * 40, "x" * 2000, "a b " * 3000, " "),
    *("\x00\ufeff", "[CLS][SEP]", "\U0001f469\u200d\U0001f4bb", "\u0301\u0301", "ก" * 500, "##s"),
)


@cache
def originals() -> tuple[bytes, ...]:
    """Return small tokenizers of every kind that the tokenizers package has."""
    ids = {word: number for number, word in enumerate(_WORDS)}
    letters = {chr(97 + number): number for number in range(26)}
    bert = normalizers.BertNormalizer()
    steps = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " "), normalizers.StripAccents()]
    )
    split = pre_tokenizers.Sequence(
        [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.Split(Regex("[a-c]"), "isolated")]
    )
    special = [("[CLS]", 2), ("[SEP]", 3)]
    template = TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=special
    )
    scores = [(word, -float(number)) for number, word in enumerate(_WORDS)]
    kinds: list[tuple[Any, Any, Any, Any]] = [
        (WordPiece(ids, unk_token="[UNK]"), bert, pre_tokenizers.BertPreTokenizer(), template),
        (WordPiece(ids, unk_token="[UNK]"), steps, split, BertProcessing(special[1], special[0])),
        (WordLevel(ids, unk_token="[UNK]"), None, pre_tokenizers.Whitespace(), None),
        (
            BPE({**letters, "ab": 26, "abc": 27}, [("a", "b"), ("ab", "c")], unk_token="a"),
            None,
            pre_tokenizers.ByteLevel(),
            ByteLevel(trim_offsets=True),
        ),
        (
            Unigram(scores, 1, byte_fallback=False),
            normalizers.Nmt(),
            pre_tokenizers.Metaspace(),
            RobertaProcessing(special[1], special[0]),
        ),
    ]
    files = []
    for model, normalizer, words, processor in kinds:
        tokenizer = Tokenizer(model)
        if normalizer is not None:
            tokenizer.normalizer = normalizer
        tokenizer.pre_tokenizer = words
        if processor is not None:
            tokenizer.post_processor = processor
        tokenizer.decoder = decoders.WordPiece()
        if "[PAD]" in tokenizer.get_vocab():
            tokenizer.add_special_tokens(["[PAD]", "[CLS]", "[SEP]"])
        tokenizer.enable_truncation(20)
        tokenizer.enable_padding()
        files.append(tokenizer.to_str().encode())
    return tuple(files)


def cases() -> SearchStrategy[dict[str, Any]]:
    """Draw a tokenizer, what is done to its file, how it is used and what it reads."""
    texts = st.one_of(st.sampled_from(_ODD), st.text(max_size=60))
    return st.fixed_dictionaries(
        {
            "original": st.sampled_from(range(len(originals()))),
            "edits": st.integers(0, 2**63).map(_drawn),
            "columns": st.sampled_from((1, 1, 2)),
            "max_length": st.sampled_from((4, 5, 16, 128, 8192)),
            "side": st.sampled_from(("right", "left")),
            "vocabulary": st.sampled_from((0, 12, 28, 64)),
            "texts": st.lists(texts, min_size=1, max_size=4),
        }
    )


def _drawn(seed: int) -> list[Any]:
    """Draw edits without links: whoever reads a folder from a stranger refuses them before."""
    edits = _edits.drawn(seed, [_NAME])
    return [edit for edit in edits if edit[0] not in ("link", "array")]


def check(case: dict[str, Any], folder: Path) -> None:
    """Load a changed tokenizer, and encode texts with it."""
    (folder / _NAME).write_bytes(originals()[case["original"]])
    for edit in case["edits"]:
        _edits.apply(edit, folder, folder.parent / "outside")
    rows = case["vocabulary"]
    settings = TextSettings(
        case["max_length"], case["columns"], truncation_side=case["side"], vocabulary=rows
    )
    encoder = TextEncoder(load_tokenizer(folder / _NAME, rows), settings)
    texts: list[Any] = case["texts"]
    encoded = encoder.encode([(text,) * case["columns"] for text in texts])
    ids = encoder.batch(encoded, range(len(texts)))["input_ids"]
    if ids.shape[1] > case["max_length"] or ids.min() < 0 or ids.max() >= (rows or 4_000_000):
        raise AssertionError(f"ids of shape {ids.shape} in {ids.min()}..{ids.max()}")

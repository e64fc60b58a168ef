"""Long texts are cut before they are tokenized, to the very same tokens, in little memory."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import BPE

from bmc import assets, long_text
from bmc.errors import DataError
from bmc.inputs.text import TextEncoder, TextSettings, load_tokenizer

WORDS = (
    *(
        "film",
        "Café",
        "naïve,",
        "漢字漢字",
        "[PAD]",
        "[MASK]",
        "[mask]",
        "a.b.c",
        "e\u0301",
        "\u0301",
    ),
    *(
        "\u200b",
        "\xa0",
        "ﬀ",
        "Σ",
        "x" * 130,
        "\U0001f469\u200d\U0001f4bb",
        "ไทย",
        "\x00",
        "\u3000",
        "한국어",
    ),
    *("<br />", "##ing", "don't", "1,000.5", "\ufffd", "\u0338=", "ǆ", "漢", "]", "["),
)
GAPS = (" ", "\n", "\t", "  ", "\r\n", "", "", "\u2028")


@pytest.fixture(scope="module", params=["minilm", "mpnet"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return load_tokenizer(assets.fetch(request.param) / "tokenizer.json")


def odd_text(draw: random.Random, words: int) -> str:
    text = "".join(draw.choice(WORDS) + draw.choice(GAPS) for _ in range(words))
    return text if text.strip() else f"a{text}"  # blank rows are refused


def cutting(encoder: TextEncoder) -> Tokenizer:
    """Return the encoder's tokenizer with a truncation of its own, which reads whole texts."""
    tokenizer = Tokenizer.from_str(encoder.tokenizer.to_str())
    settings = encoder.settings
    tokenizer.enable_truncation(settings.max_length, direction=settings.truncation_side)
    return tokenizer


def whole_ids(tokenizer: Tokenizer, row: tuple[str, ...]) -> list[int]:
    """Tokenize the whole texts, as the tokenizer itself cuts them."""
    return list(tokenizer.encode(*row).ids)  # type: ignore[arg-type]


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("columns", [1, 2])
def test_a_long_texts_tokens_are_those_of_the_whole_text(
    tokenizer: Tokenizer, side: str, columns: int
) -> None:
    draw = random.Random(f"{side}{columns}")
    longest = 200 if columns == 1 else 60  # reading a pair whole takes the product of its lengths
    for max_length in (8, 9, 16, 33):
        encoder = TextEncoder(tokenizer, TextSettings(max_length, columns, truncation_side=side))
        rows = [
            tuple(odd_text(draw, draw.choice((1, 20, longest))) for _ in range(columns))
            for _ in range(40)
        ]
        whole = cutting(encoder)
        for row, tokens in zip(rows, encoder.encode(rows), strict=True):
            assert list(tokens.ids) == whole_ids(whole, row), row


def test_only_a_part_of_a_long_text_is_tokenized(tokenizer: Tokenizer) -> None:
    boundaries = long_text.boundaries_of(tokenizer)
    assert boundaries is not None
    assert long_text.beginning("a film " * 1000, 100, boundaries) == ("a film " * 1000)[:104]
    assert long_text.ending("a film " * 1000, 100, boundaries) == ("a film " * 1000)[-104:]
    assert len(long_text.beginning("漢" * 1000, 100, boundaries)) == 100
    assert len(long_text.beginning("x" * 1000, 100, boundaries)) == 1000


def test_a_tokenizer_whose_words_reach_over_spaces_reads_texts_whole() -> None:
    spaced = Tokenizer(BPE())
    spaced.pre_tokenizer = pre_tokenizers.ByteLevel()
    assert long_text.boundaries_of(spaced) is None
    added = load_tokenizer(assets.fetch("minilm") / "tokenizer.json")
    added.add_tokens(["new york"])
    assert long_text.boundaries_of(added) is None


def test_a_thousand_long_texts_take_little_memory() -> None:
    code = """
import resource
from bmc import assets
from bmc.inputs.text import TextEncoder, TextSettings, load_tokenizer
encoder = TextEncoder(load_tokenizer(assets.fetch("minilm") / "tokenizer.json"), TextSettings())
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
rows = ["the film has a story with people, and music. " * 2200] * 1000 + ["x" * 100_000] * 20
encoder.encode(rows[:10])
before = peak()
encoder.encode(rows)
print((peak() - before) // 2**20)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 200


def test_two_long_texts_take_little_memory_and_keep_their_order(tokenizer: Tokenizer) -> None:
    """A tokenizer makes a row for every pair of the parts that it cuts off."""
    encoder = TextEncoder(tokenizer, TextSettings(10, 2))
    whole, longer, shorter = cutting(encoder), "a film " * 30_000, "the story " * 25_000
    for row in (
        (longer, shorter),
        (shorter, longer),
        (longer, longer),
        (longer, "a"),
        ("a", longer),
    ):
        (tokens,) = encoder.encode([row])
        first, second = (len(text.split()) for text in row)
        expected = whole_ids(whole, tuple(" ".join(text.split()[:40]) for text in row))
        if min(first, second) > 40 and first != second:  # the parts must differ as the texts do
            cut = [" ".join(text.split()[: 40 + (len(text.split()) > 50_000)]) for text in row]
            expected = whole_ids(whole, tuple(cut))
        assert list(tokens.ids) == expected


def test_a_pair_that_would_take_much_memory_is_refused() -> None:
    spaced = Tokenizer(BPE({"a": 0, "b": 1}, []))
    encoder = TextEncoder(spaced, TextSettings(8, 2))
    assert encoder.encode([("ab" * 10, "ab" * 10_000), ("ab" * 100, "ab" * 100)])
    with pytest.raises(DataError, match=r"row 2: two texts of 20,000 and 20,000 characters"):
        encoder.encode([("a", "b"), ("ab" * 10_000, "ab" * 10_000)])

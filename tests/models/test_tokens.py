"""Vocabularies that bmc makes itself: marks and case are kept, in scripts of every kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from bmc import data as datasets
from bmc import long_text
from bmc.inputs.text import TextEncoder, TextSettings
from bmc.models import recurrent, transformer
from bmc.models.tokens import train_tokenizer

MINIMAL_PAIRS = {
    "Vietnamese tones": ("tôi thấy má", "tôi thấy ma"),
    "case": ("the Polish film", "the polish film"),
    "a German umlaut": ("schon", "schön"),
    "Hindi vowel signs": ("मल", "मूल"),
    "Thai tones": ("ใกล้", "ไกล"),
    "Thai tone marks": ("ปา", "ป้า"),
    "Arabic vowels": ("كَتَبَ", "كُتِبَ"),
    "Hebrew points": ("שָׁלוֹם", "שַׁלֵּם"),
    "Japanese voicing": ("かき", "がき"),
    "Persian joiners": ("می\u200cخواهم", "میخواهم"),
    "Turkish dotless i": ("sınır", "sinir"),
    "Korean": ("달", "탈"),
}


@pytest.mark.parametrize("name", MINIMAL_PAIRS)
def test_texts_that_differ_in_a_mark_differ_in_their_tokens(name: str) -> None:
    first, second = MINIMAL_PAIRS[name]
    tokenizer = train_tokenizer([(first,), (second,)] * 5, 200)
    result = [tokenizer.encode(text) for text in (first, second)]
    assert result[0].ids != result[1].ids
    assert not any("[UNK]" in item.tokens for item in result)


def test_case_and_marks_are_dropped_where_the_settings_say_so() -> None:
    rows = [("Café CAFE cafe",)] * 5
    kept, lower, plain = (
        train_tokenizer(rows, 200, *settings)
        for settings in ((False, False), (True, False), (True, True))
    )
    assert len(set(kept.encode("Café CAFE cafe").ids[1:-1])) == 3
    assert lower.encode("CAFÉ").ids == lower.encode("café").ids != lower.encode("cafe").ids
    assert plain.encode("CAFÉ").ids == plain.encode("cafe").ids


def test_the_two_ways_to_write_an_accent_are_one() -> None:
    tokenizer = train_tokenizer([("café",)] * 5, 200)
    assert tokenizer.encode("cafe\u0301").ids == tokenizer.encode("café").ids
    assert "[UNK]" not in tokenizer.encode("cafe\u0301").tokens


def test_characters_without_width_or_meaning_change_nothing() -> None:
    tokenizer = train_tokenizer([("a fine film",)] * 5, 200)
    assert tokenizer.encode("\ufeffa fi\u00adne\x97 fi\u200blm\x00").ids == (
        tokenizer.encode("a fine film").ids
    )


@pytest.mark.parametrize(
    "text",
    [
        "ฉันชอบดูหนังเรื่องนี้มากเพราะมันสนุกและน่าติดตาม" * 5,
        "この映画はとてもおもしろかったのでもう一度見たいと思います" * 5,
        "这部电影非常好看我想再看一次" * 10,
        "ຂ້ອຍມັກຮູບເງົາເລື່ອງນີ້ຫຼາຍ" * 5,
        "ខ្ញុំចូលចិត្តភាពយន្តនេះណាស់" * 5,
    ],
)
def test_scripts_without_spaces_are_cut_into_characters_that_are_known(text: str) -> None:
    tokenizer = train_tokenizer([(text,)] * 5, 500)
    tokens = tokenizer.encode(text).tokens[1:-1]
    assert "[UNK]" not in tokens
    assert len(tokens) > 50
    assert text.replace("\u200b", "") == "".join(token.removeprefix("##") for token in tokens)


def test_thousands_of_chinese_characters_are_known() -> None:
    characters = [chr(0x4E00 + number) for number in range(3000)]
    tokenizer = train_tokenizer([("".join(characters),)] * 2, 8000)
    assert "[UNK]" not in tokenizer.encode("".join(characters)).tokens


def test_long_texts_can_be_cut_before_they_are_tokenized() -> None:
    tokenizer = train_tokenizer([("a fine film",)] * 5, 200)
    assert long_text.boundaries_of(tokenizer)
    encoder = TextEncoder(tokenizer, TextSettings(16))
    text = "a fin\u0301e \u200bfilm ฉันชอบ " * 1000
    (tokens,) = encoder.encode([text])
    tokenizer.enable_truncation(16)
    assert list(tokens.ids) == tokenizer.encode(text).ids


@pytest.mark.parametrize(("family", "name"), [(recurrent, "lstm"), (transformer, "transformer")])
def test_what_a_vocabulary_keeps_is_said(
    family: object, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "tones.csv"
    lines = [f"tôi thấy {'má' if n % 2 else 'ma'} {n},{n % 2}" for n in range(60)]
    path.write_text("\n".join(["text,label", *lines]), encoding="utf-8")
    data = datasets.load(str(path))
    settings = family.Settings(vocabulary=200)  # type: ignore[attr-defined]
    model = family.baseline(name, data, settings)  # type: ignore[attr-defined]
    first, second = model.encoder.encode(["tôi thấy má", "tôi thấy ma"])
    assert first != second
    assert "case is kept, accents and other marks are kept" in capsys.readouterr().err
    assert model.encoder.settings.vocabulary == model.spec["vocabulary"]

"""docs/bundle.md is enough to preprocess rows: a second implementation of it agrees with bmc's."""

from __future__ import annotations

import hashlib
import json
import random
import re
import unicodedata
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from bmc.inputs.ngram import NgramEncoder, NgramSettings
from bmc.inputs.text import TextSettings
from bmc.inputs.words import WordEncoder
from bmc.manifest import digest_of

TEXTS = (
    "An hour of wit & charm: don't miss it (e-mail@home)!",
    "  Größe, naïve cafés; ΣΟΦΟΣ – «Ёлка»…",
    "日本語のテキスト、ภาษาไทย ကမ္ဘာ ខ្មែរ",
    "हिन्दी में वाक्य। தமிழ் l’été co\u00adop e\u0301t\u0301e\u0301 שָׁלוֹם 👩\u200d🚀",
    "x",
)
_64 = 2**64
_ALONE: tuple[tuple[int, int], ...] = (
    (0xE00, 0xEFF),
    (0x1000, 0x109F),
    (0x1780, 0x17FF),
    (0x3040, 0x30FF),
)
_ALONE += ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF))
_PUNCTUATION = "!-/:-@\\[-`{-~\u00a1-\u00bf\u2010-\u2027\u2030-\u205e\u3001-\u303f\uff01-\uff0f"


def random_texts(count: int) -> list[str]:
    """Return mixtures of the parts of TEXTS."""
    source = random.Random(0)
    parts = [part for text in TEXTS for part in text.split()]
    return [" ".join(source.choices(parts, k=source.randint(1, 12))) for _ in range(count)]


# ngram


def buckets_of(text: str, settings: dict[str, Any], column: int) -> list[int]:
    """Follow "ngram" for one text of a row."""
    limit = 8 * settings["max_length"]
    text = text.strip()[: 4 * limit]
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    text = (text.lower() if settings["lowercase"] else text)[:limit]
    words = re.findall(rf"[^\s{_PUNCTUATION}]+|[{_PUNCTUATION}]", text)[: settings["max_length"]]
    joined = f" {' '.join(words)} "
    spans = [
        " ".join(words[start : start + count])
        for count in range(1, settings["words"] + 1)
        for start in range(len(words) - count + 1)
    ]
    spans = spans if words else [""]
    letters = [
        joined[start : start + count]
        for count in range(3, settings["characters"] + 1)
        for start in range(len(joined) - count + 1)
    ]
    salts = [0x243F6A8885A308D3] * len(spans) + [0x13198A2E03707344] * len(letters)
    return [
        bucket_of(part, (salt + column * 0xA4093822299F31D0) % _64, settings["buckets"])
        for part, salt in zip([*spans, *letters], salts, strict=True)
    ]


def bucket_of(text: str, salt: int, buckets: int) -> int:
    base = 0x9E3779B97F4A7C15
    value = sum(ord(char) * pow(base, index, _64) for index, char in enumerate(text)) % _64
    value ^= salt
    for mixer in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        value ^= value >> 33
        value = value * mixer % _64
    value ^= value >> 33
    return ((value >> 32) * buckets) >> 32


@pytest.mark.parametrize(
    "settings",
    [
        NgramSettings(buckets=5000, words=2, characters=5, max_length=6),
        NgramSettings(buckets=77, words=3, characters=0, lowercase=False, columns=2),
    ],
)
def test_ngrams_are_those_of_the_page(settings: NgramSettings) -> None:
    encoder = NgramEncoder(settings)
    described = encoder.to_json()
    texts = [*TEXTS, *random_texts(20)]
    rows = [(text,) * settings.columns for text in texts]
    arrays = encoder.batch(encoder.encode(rows), range(len(rows)))
    for number, row in enumerate(rows):
        expected = [
            bucket for at, text in enumerate(row) for bucket in buckets_of(text, described, at)
        ]
        weights = arrays["weights"][number]
        assert arrays["input_ids"][number][weights > 0].tolist() == expected
        assert weights.max() == pytest.approx(len(expected) ** -0.5)


# words


def words_of(text: str) -> list[str]:
    """Follow step 1 of "words"."""
    if text.isascii():
        return re.findall(r"\w+(?:['\-]\w+)*|\S", text)

    def is_mark(char: str) -> bool:
        return unicodedata.category(char) in ("Mn", "Mc", "Me")

    def is_alone(char: str) -> bool:
        return any(low <= ord(char) <= high for low, high in _ALONE)

    def in_part(char: str) -> bool:
        kinds = re.match(r"\w", char) or is_mark(char) or char in "\u00ad\u2060"
        return not is_alone(char) and bool(kinds or "\u200c" <= char <= "\u200f")

    def run(start: int) -> int:
        while start < len(text) and in_part(text[start]):
            start += 1
        return start

    words, at = [], 0
    while at < len(text):
        stop = run(at)
        if stop > at:
            while text[stop : stop + 1] in ("'", "’", "-") and run(stop + 1) > stop + 1:
                stop = run(stop + 1)
        elif is_alone(text[at]) or not text[at].isspace():
            alone, stop = is_alone(text[at]), at + 1
            while stop < len(text) and (
                is_mark(text[stop]) or (alone and "\u0e31" <= text[stop] <= "\u0e4e")
            ):
                stop += 1
        if stop > at:
            words.append(text[at:stop])
        at = max(stop, at + 1)
    return words


def windows_of(sizes: list[int], room: int) -> list[tuple[int, int, int, int]]:
    """Follow step 3 of "words": first word, stop, first word that is read, stop of reading."""
    windows: list[tuple[int, int, int, int]] = []
    start = read = 0
    while True:
        stop = start
        while stop < len(sizes) and sum(sizes[start : stop + 1]) <= room:
            stop += 1
        if stop == len(sizes):
            return [*windows, (start, stop, read, stop)]
        following = stop
        while following - 1 > start and sum(sizes[following - 1 : stop]) <= room // 4:
            following -= 1
        middle = (following + stop + 1) // 2
        if middle > read:
            windows.append((start, stop, read, middle))
        start, read = following, middle


def test_words_and_their_windows_are_those_of_the_page() -> None:
    letters = sorted({char for text in TEXTS for char in text} - {" "})
    vocabulary = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3}
    vocabulary |= {char: 4 + index for index, char in enumerate(letters[::2])}
    vocabulary |= {f"##{char}": 1000 + index for index, char in enumerate(letters)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    encoder = WordEncoder(tokenizer, TextSettings(max_length=14))
    room = 12
    for text in [*TEXTS, *random_texts(40)]:
        words = words_of(text)
        assert list(encoder.words_of(text).words) == words
        pieces: list[list[int]] = []
        for word in words:
            encoding = tokenizer.encode([word], is_pretokenized=True, add_special_tokens=False)
            pieces.append(encoding.ids[:room] or [1])
        expected = [
            (
                [2, *(token for piece in pieces[start:stop] for token in piece), 3],
                [1 + sum(map(len, pieces[start:at])) for at in range(first, last)],
            )
            for start, stop, first, last in windows_of([len(piece) for piece in pieces], room)
        ]
        encoded = encoder.encode([text])
        assert [(list(each.ids), each.firsts.tolist()) for each in encoded] == expected


# The manifest's digest


def canonical(value: Any) -> str:
    """Follow "Checksums": JSON in one form."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{canonical(k)}:{canonical(value[k])}" for k in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    if isinstance(value, str):
        short = {"\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
        short |= {'"': '\\"', "\\": "\\\\"}
        units = np.frombuffer(value.encode("utf-16-le"), "<u2")
        chars = [chr(unit) if 32 <= unit < 127 else f"\\u{unit:04x}" for unit in units]
        return '"' + "".join(short.get(chr(u), c) for u, c in zip(units, chars, strict=True)) + '"'
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value)


def test_the_digest_is_that_of_the_page() -> None:
    content: dict[str, Any] = {
        "b": [1.0, 1e-05, 1e16, 0.0001, -3, 10**20],
        "ä": 'a\n"\\\u007fé😀\x00',
        "digest": "",
    }
    content |= {"a": {"z": None, "y": [True, False], "x": {}}}
    rest = {key: value for key, value in content.items() if key != "digest"}
    assert canonical(rest) == json.dumps(rest, sort_keys=True, separators=(",", ":"))
    assert digest_of(content) == hashlib.sha256(canonical(rest).encode()).hexdigest()

"""Files of words with tags: columns, tokens and tags, text and spans; what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bmc import data as datasets
from bmc.data import Dataset, brown
from bmc.errors import BmcError, DataError

ROWS = [
    (("Ada", "left", "New", "York", "."), ("B-PER", "O", "B-LOC", "I-LOC", "O")),
    (("she", "saw", "Alan", "Turing"), ("O", "O", "B-PER", "I-PER")),
    (("rain", "fell"), ("O", "O")),
]


def columns(folder: Path, rows: Any = ROWS, name: str = "names.conll") -> str:
    """Write copies of rows as columns; a number in each row keeps the copies apart."""
    blocks: list[str] = []
    for copy in range(8):
        for words, tags in rows:
            lines = [f"{word} x {tag}" for word, tag in zip(words, tags, strict=True)]
            blocks.append("\n".join([*lines, f"{copy}{len(blocks)} x {rows[-1][1][-1]}"]))
    path = folder / name
    path.write_text("-DOCSTART- x O\n\n" + "\n\n\n".join(blocks) + "\n")
    return str(path)


def load(reference: str, **settings: Any) -> Dataset:
    return datasets.load(reference, task="tokens", **settings)


def test_columns_are_rows_of_words_with_tags(tmp_path: Path) -> None:
    data = load(columns(tmp_path))
    assert data.labels == ("B-LOC", "B-PER", "I-LOC", "I-PER", "O")
    assert data.kind == "words"
    assert sum(map(len, (data.train, data.validation, data.test))) == 24
    words, tags = data.train.rows[0], data.train.labels[0]
    assert len(words) == len(tags)
    assert np.array(data.test.labels).shape == (sum(map(len, data.test.rows)), 2)
    assert "BIO tags of 2 types of spans (LOC, PER)" in data.summary.notes[0]


def test_txt_and_a_named_column_read_the_same(tmp_path: Path) -> None:
    whole = load(columns(tmp_path))
    named = load(columns(tmp_path, name="names.txt"), label_column="3")
    assert named.fingerprint == whole.fingerprint


def test_tokens_and_spans_of_characters_give_the_same_rows(tmp_path: Path) -> None:
    tagged, marked = [], []
    for copy in range(12):
        words, tags = (*ROWS[0][0], str(copy)), (*ROWS[0][1], "O")
        tagged.append({"tokens": words, "tags": tags})
        text = f"Ada left New York . {copy}"
        marked.append(
            {"text": text, "spans": [{"start": 9, "end": 17, "label": "LOC"}, [0, 3, "PER"]]}
        )
    for name, records in (("a.jsonl", tagged), ("b.jsonl", marked)):
        (tmp_path / name).write_text("\n".join(map(json.dumps, records)))
    first, second = (load(str(tmp_path / name)) for name in ("a.jsonl", "b.jsonl"))
    assert first.fingerprint == second.fingerprint


def test_plain_tags_are_allowed(tmp_path: Path) -> None:
    rows = [(("a", "dog"), ("DET", "NOUN")), (("it", "barks"), ("PRON", "VERB"))]
    data = load(columns(tmp_path, rows))
    assert data.labels == ("DET", "NOUN", "PRON", "VERB")
    assert "4 plain tags" in data.summary.notes[0]


BROKEN = {
    "I after O": (
        ["Ada I-PER"],
        r"names.conll: line 1: the tag 'I-PER' follows the beginning of the row, which breaks BIO: "
        "the first word of a span has B-PER",
    ),
    "no end": (
        ["Ada B-PER", "left O", "", "he S-PER"],
        "line 2: the tag 'O' follows B-PER, whose span has no E-PER, which breaks IOBES: a span",
    ),
    "mixed": (["Ada B-PER", "left VERB"], "line 2: the tag 'VERB' has no prefix, and others have"),
    "no tag": (["Ada B-PER", "left"], r"line 2 has 1 column\(s\), and the first has 2"),
    "numbered words": (["1\tAda\tPROPN", "2\tleft\tVERB"], "the first column numbers the words"),
    "one column": (["Ada"], "a word needs its tag: write the word, white space and its tag"),
    "one tag": (["a O"], "has only the tag 'O'"),
    "empty": ([""], "has no rows"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_columns_that_break_are_refused_with_line_and_tag(tmp_path: Path, name: str) -> None:
    lines, message = BROKEN[name]
    path = tmp_path / "names.conll"
    path.write_text("\n".join(lines))
    with pytest.raises(BmcError, match=message):
        load(str(path))


REFUSED: dict[str, tuple[Any, str]] = {
    "other numbers": ({"tokens": ["a", "b"], "tags": ["O"]}, "has 2 tokens and 1 tags"),
    "no words": ({"tokens": [], "tags": []}, "the row has no words; remove it"),
    "white space": ({"tokens": ["a b"], "tags": ["O"]}, "the word 'a b' or its tag 'O'"),
    "numbers": ({"tokens": ["a"], "tags": [1]}, "tags is .1.; it must be a list of texts"),
    "keys": ({"words": ["a"]}, "it needs tokens and tags, or text and spans"),
    "empty text": ({"text": " ", "spans": []}, "an empty text, or none"),
    "beyond": ({"text": "Ada", "spans": [[0, 9, "PER"]]}, "0..9 .PER. is outside of the text"),
    "reversed": ({"text": "Ada", "spans": [[2, 1, "PER"]]}, "2..1 .PER. is outside of the text"),
    "overlap": (
        {"text": "Ada King", "spans": [[0, 8, "PER"], [4, 8, "LOC"]]},
        "4..8 .LOC. overlaps the span that ends at 8",
    ),
    "inside": ({"text": "Ada", "spans": [[1, 3, "PER"]]}, "does not begin at the beginning of a"),
    "no label": ({"text": "Ada", "spans": [[0, 3, ""]]}, "has the label ''; name one"),
    "form": ({"text": "Ada", "spans": [[0, 3]]}, "a span is .*; write .start, end, label."),
}


@pytest.mark.parametrize("name", REFUSED)
def test_objects_that_break_are_refused_with_their_line(tmp_path: Path, name: str) -> None:
    record, message = REFUSED[name]
    path = tmp_path / "names.jsonl"
    path.write_text(json.dumps(record))
    with pytest.raises(BmcError, match=f"names.jsonl: line 1.*{message}"):
        load(str(path))


def test_other_tasks_files_and_columns_are_refused_with_the_way_out(tmp_path: Path) -> None:
    path = columns(tmp_path)
    with pytest.raises(BmcError, match="read it with --task tokens"):
        datasets.load(path)
    (tmp_path / "names.csv").write_text("text,label\n")
    with pytest.raises(BmcError, match=r"reads .conll, .txt, .jsonl, .ndjson"):
        load(str(tmp_path / "names.csv"))
    with pytest.raises(BmcError, match="give the number of the tags' column"):
        load(path, label_column="tag")
    with pytest.raises(BmcError, match="has 3 columns"):
        load(path, label_column="4")
    with pytest.raises(BmcError, match="holds text rows; --task tokens reads words"):
        load("movie-reviews")


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("nn-tl-hl", "NOUN"),
        ("bedz*", "VERB"),
        ("ppss+ber-nc", "PRON"),
        ("np$", "NOUN"),
        ("pp$", "DET"),
        ("pp$$-tl", "PRON"),
        ("*", "ADV"),
        ("---hl", "."),
        ("fw-at+nn-tl", "X"),
    ],
)
def test_browns_tags_have_universal_ones(tag: str, expected: str) -> None:
    assert brown.universal(tag) == expected


def test_a_tag_that_brown_does_not_have_is_refused() -> None:
    with pytest.raises(BmcError, match="Brown's tag 'zz' is unknown"):
        brown.universal("zz")


def test_words_of_spans_keep_the_text_that_they_are_from(tmp_path: Path) -> None:
    texts = [f"Ada,  {copy}" for copy in range(12)]
    records = [{"text": text, "spans": [[0, 3, "PER"]]} for text in texts]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, records)))
    data = load(str(tmp_path / "a.jsonl"))
    rows = [*data.train.rows, *data.validation.rows, *data.test.rows]
    assert sorted(row.text for row in rows) == sorted(texts)
    assert sorted(rows) == sorted(("Ada", ",", str(copy)) for copy in range(12))


@pytest.mark.parametrize("key", ["tokens", "text"])
def test_half_a_surrogate_pair_is_refused_with_its_line(tmp_path: Path, key: str) -> None:
    half = chr(0xD83D)
    record = {"tokens": [half], "tags": ["O"]} if key == "tokens" else {"text": half, "spans": []}
    (tmp_path / "a.jsonl").write_text(json.dumps(record))
    with pytest.raises(DataError, match=r"line 1 holds half of a surrogate pair"):
        load(str(tmp_path / "a.jsonl"))


def test_white_space_around_a_tag_makes_no_other_tag(tmp_path: Path) -> None:
    path = tmp_path / "tagged.jsonl"
    rows = [
        {"tokens": ["a", f"dog{n}"], "tags": ["DET", "NOUN " if n % 2 else "NOUN"]}
        for n in range(40)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    assert load(str(path)).labels == ("DET", "NOUN")


def test_a_data_set_of_a_hub_is_refused_with_the_way_out() -> None:
    with pytest.raises(DataError, match=r"hf:conll2003 is none: save its rows as \.jsonl"):
        load("hf:conll2003", text_columns=("tokens",), label_column="ner_tags")

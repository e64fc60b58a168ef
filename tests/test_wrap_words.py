"""A network of the caller's own that tags words: every verb works on it, misuse is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas
import pytest
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

import bmc
from bmc.data import words_in_memory
from bmc.errors import BmcError
from bmc.models.tokens import train_tokenizer

TAGS = ("B-LOC", "B-PER", "I-LOC", "O")
NAMES = {"ada": "B-PER", "alan": "B-PER", "paris": "B-LOC", "oslo": "B-LOC"}
QUICK: dict[str, Any] = {
    "precision": "fp32",
    "device": "cpu",
    "learning_rate": 0.02,
    "batch_size": 8,
}
TEXT = "ada saw paris, and left new york."


class Tagger(nn.Module):
    """Adds the vector of the token before, where there is one."""

    def __init__(self, tokens: int, tags: int = len(TAGS)) -> None:
        super().__init__()
        self.embed = nn.Embedding(tokens, 24)
        self.before = nn.Linear(24, 24)
        self.hidden = nn.Linear(24, 32)
        self.output = nn.Linear(32, tags)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        words = self.embed(ids) * mask[:, :, None]
        before = nn.functional.pad(words[:, :-1], (0, 0, 1, 0))
        logits: Tensor = self.output(torch.relu(self.hidden(words + self.before(before))))
        return logits


def rows() -> tuple[list[list[str]], list[list[str]]]:
    generator = np.random.default_rng(0)
    choices = [*NAMES, "saw", "left", "and", ".", ",", "new york"]
    words: list[list[str]] = []
    tags: list[list[str]] = []
    for _ in range(120):
        parts = [str(part) for part in generator.choice(choices, 4)]
        words.append([word for part in parts for word in part.split()])
        tags.append([tag for part in parts for tag in tags_of(part)])
    return words, tags


def tags_of(part: str) -> list[str]:
    return ["B-LOC", "I-LOC"] if part == "new york" else [NAMES.get(part, "O")]


def saved_rows(folder: Path) -> Path:
    path = folder / "people.conll"
    blocks = (zip(*pair, strict=True) for pair in zip(*rows(), strict=True))
    path.write_text("\n\n".join("\n".join(map(" ".join, block)) for block in blocks))
    return path


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer([(" ".join(words),) for words in rows()[0]] * 2, 100)


def network(tokenizer: Tokenizer, tags: int = len(TAGS)) -> Tagger:
    torch.manual_seed(0)
    return Tagger(tokenizer.get_vocab_size(), tags)


def test_every_verb_works_on_a_wrapped_tagger(
    workspace: Path, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    model = bmc.wrap(
        *(network(tokenizer), rows()), task="tokens", tokenizer=tokenizer, max_length=16
    )
    assert model.labels == TAGS
    trained = bmc.train(model, epochs=4, **QUICK)
    assert trained.scores["validation"]["span_f1"]["value"] > 0.9
    (tmp_path / "more.txt").write_text("oslo saw alan\nparis left\n")
    student = bmc.wrap(
        *(network(tokenizer), rows()), task="tokens", tokenizer=tokenizer, name="student"
    )
    more = str(tmp_path / "more.txt")
    taught = bmc.distill(trained, student=student, transfer=more, epochs=3, **QUICK)
    assert taught.scores["validation"]["span_f1"]["value"] > 0.8
    pruned = bmc.prune(trained, ratio=0.25, epochs=1, tuning=QUICK)
    shared = bmc.share(pruned, "cluster", values=16, epochs=0)
    assert shared.steps == ("prune/structured", "share/cluster")
    small = bmc.quantize(pruned, samples=64)
    expected = [(TEXT[span.start : span.end], span.label) for span in small.predict(TEXT)]
    assert ("ada", "PER") in expected
    for bundle in small.to("onnx", "openvino", "tensorrt", allow_slower=True):
        assert bundle.parity["agreement"] > 0.97
        if bundle.path.name.endswith("tensorrt"):
            continue  # it runs on a GPU alone
        spans = bundle.predict(TEXT)
        assert [(TEXT[span.start : span.end], span.label) for span in spans] == expected


def test_words_with_tags_are_read_in_every_form(
    workspace: Path, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    words, tags = rows()
    path = saved_rows(tmp_path)
    numbers = [[TAGS.index(tag) for tag in row] for row in tags]
    named = datasets.Features(
        {
            "tokens": datasets.Sequence(datasets.Value("string")),
            "ner_tags": datasets.Sequence(datasets.ClassLabel(names=list(TAGS))),
        }
    )
    hub = datasets.Dataset.from_dict({"tokens": words, "ner_tags": numbers}, named)
    forms: list[tuple[Any, dict[str, Any]]] = [
        ((words, tags), {}),
        (path, {}),
        ({"tokens": words, "tags": tags}, {}),
        (pandas.DataFrame({"tokens": words, "own": tags}), {"label_column": "own"}),
        (hub, {}),
        ((words, numbers), {"labels": TAGS}),
    ]
    for number, (data, options) in enumerate(forms):
        named_model = {"task": "tokens", "tokenizer": tokenizer, "name": f"m{number}", **options}
        assert bmc.wrap(network(tokenizer), data, **named_model).labels == TAGS


def test_labels_are_the_tags_in_the_order_of_the_outputs(
    workspace: Path, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    order = TAGS[::-1]
    options: dict[str, Any] = {"task": "tokens", "tokenizer": tokenizer}
    model = bmc.wrap(network(tokenizer), rows(), labels=order, name="my.net", **options)
    assert model.labels == order
    with pytest.raises(BmcError, match=r"has outputs for O, I-LOC.* leave the data out"):
        bmc.share(model, "cluster", epochs=0, data=str(saved_rows(tmp_path)))
    with pytest.raises(BmcError, match=r"B-ORG is in only one of the two"):
        bmc.wrap(network(tokenizer, 5), rows(), labels=[*order, "B-ORG"], name="b", **options)


def test_a_tokenizer_is_an_object_or_a_file(
    workspace: Path, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    from transformers import PreTrainedTokenizerFast

    tokenizer.save(str(tmp_path / "tokenizer.json"))
    fast: Any = PreTrainedTokenizerFast
    for_transformers = fast(tokenizer_object=tokenizer, pad_token="[PAD]")
    for number, form in enumerate((for_transformers, tmp_path, str(tmp_path / "tokenizer.json"))):
        options: dict[str, Any] = {"task": "tokens", "tokenizer": form, "name": f"m{number}"}
        assert bmc.wrap(network(tokenizer), rows(), **options).labels == TAGS


class OfRows(Tagger):
    """Returns one output for each row."""

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return super().forward(ids, mask).mean(1)


class Padded(Tagger):
    """Lets the padding change the other tokens."""

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return super().forward(ids, torch.ones_like(mask)).roll(1, dims=1)


class Mean(Tagger):
    """Adds the mean of all tokens, with the padding."""

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        logits = super().forward(ids, mask)
        every: Tensor = self.output(torch.relu(self.hidden(self.embed(ids))))
        return logits + every.mean(1, keepdim=True)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (Tagger, {"tokenizer": None}, r"tokenizer is missing; task='tokens' needs the one"),
        (Tagger, {"tokenizer": 7}, r"tokenizer is int; task='tokens' needs the one"),
        (Tagger, {"tokenizer": "none.json"}, r"no tokenizer 'none.json'"),
        (Tagger, {"loss": nn.CrossEntropyLoss()}, r"loss is not for task='tokens'"),
        (Tagger, {"inputs": ["ids"]}, r"inputs is not for task='tokens'"),
        (Tagger, {"task": "classification"}, r"tokenizer is for task='tokens'"),
        (OfRows, {}, r"returns shape \(3, 4\); 3 rows of 17 tokens with 4 tags need shape"),
        (Mean, {}, r"depend on the padding after them"),
        (Padded, {}, r"depend on the padding after them"),
    ],
)
def test_misuse_is_refused_with_what_to_do(
    workspace: Path, tokenizer: Tokenizer, kind: type[Tagger], options: Any, message: str
) -> None:
    module = kind(tokenizer.get_vocab_size())
    arguments: dict[str, Any] = {"task": "tokens", "tokenizer": tokenizer, **options}
    with pytest.raises(BmcError, match=message):
        bmc.wrap(module, rows(), **arguments)


@pytest.mark.parametrize(
    ("words", "tags", "message"),
    [
        ([["a"]], [["O"], ["O"]], "1 rows of words and 2 rows of tags"),
        ([["a", "b"]], [["O"]], "row 1 has 2 tokens and 1 tags"),
        ([["a b"]], [["O"]], "row 1: the word 'a b'"),
        (["ab"], [["O"]], "row 1: tokens is 'ab'; it must be a list of texts"),
        ([["a"]], [[4]], "row 1 has the tag 4; there are 4 names, from 0"),
        ([["a"]], [7], "row 1: tags is 7; it must be a list of texts"),
        ([["\ud800"]], [["O"]], "row 1 .*surrogate"),
    ],
)
def test_malformed_rows_in_memory_are_refused(words: Any, tags: Any, message: str) -> None:
    with pytest.raises(BmcError, match=message):
        words_in_memory(words, tags, TAGS)

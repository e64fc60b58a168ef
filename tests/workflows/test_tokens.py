"""Tags of words through every step: one prediction a word, spans with places in the text."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForTokenClassification

import bmc
from bmc import artifact, cli
from bmc import bundle as bundles
from bmc import data as datasets
from bmc.label_names import SEPARATOR
from bmc.manifest import digest_of
from bmc.models.tokens import train_tokenizer
from bmc.predictions import Span
from bmc.report.read import read_all
from bmc.training.batches import Rows
from bmc.workflows.floor import floor_of

Run = Callable[..., tuple[int, str, str]]
NAMES = {"PER": ("ada", "alan", "grace hopper", "kurt"), "LOC": ("paris", "new york", "oslo")}
FILLERS = ("saw", "the", "in", "from", "and", "a", "left", "quickly", ".", ",")
TEXT = "Grace Hopper left New York, and ada saw paris."
TAGS = ("B-LOC", "B-PER", "I-LOC", "I-PER", "O")


def rows() -> list[tuple[list[str], list[str]]]:
    """Return 120 rows of words with tags; 20 have more words than the model reads at once."""
    generator = random.Random(0)
    made = []
    for count in [*[30] * 20, *(generator.randint(2, 6) for _ in range(100))]:
        words, tags = list[str](), list[str]()
        for _ in range(count):
            kind = generator.choice(["O", "O", *NAMES])
            parts = generator.choice(NAMES.get(kind, FILLERS)).split()
            words += parts
            tags += [
                "O" if kind == "O" else f"{'BI'[part > 0]}-{kind}" for part in range(len(parts))
            ]
        made.append((words, tags))
    return made


def folder_of(folder: Path, texts: list[tuple[str]]) -> Path:
    """Write a Hugging Face folder of a small BERT for tokens, whose head knows two of the tags."""
    folder.mkdir()
    tokenizer = train_tokenizer(texts, 100)
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(0)
    tags = ("O", "B-PER", "B-ORG")
    names: dict[str, Any] = {"id2label": dict(enumerate(tags))}
    names |= {"label2id": {name: number for number, name in enumerate(tags)}}
    sizes: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    sizes |= {"intermediate_size": 64, "max_position_embeddings": 40}
    config = BertConfig(vocab_size=tokenizer.get_vocab_size(), **sizes, **names)
    BertForTokenClassification(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a workspace: a teacher, its student, the teacher in 8 bits and cut; bundles."""
    folder = tmp_path_factory.mktemp("tokens")
    blocks = ["\n".join(f"{word} {tag}" for word, tag in zip(*row, strict=True)) for row in rows()]
    (folder / "people.conll").write_text("\n\n".join(blocks))
    pretrained = folder_of(folder / "bert", [(" ".join(words),) for words, _ in rows()] * 2)
    data = ("--data", str(folder / "people.conll"), "--task", "tokens", "--quiet")
    fast = ("--learning-rate", "0.01", "--batch-size", "16", "--max-length", "16")
    small = ("--set=hidden=16", "--set=layers=1", "--set=heads=1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BMC_HOME", str(folder / "runs"))
        for command in (
            ["train", str(pretrained), *data, *fast, "--epochs", "3", "-o", "runs/teacher"],
            [
                "distill",
                "--teacher",
                "teacher",
                "--student",
                "tiny",
                *small,
                *data,
                "--epochs",
                "2",
            ],
            ["prune", "teacher", "--ratio", "0.3", "--epochs", "1", "--distill", "--quiet"],
            ["quantize", "teacher", "--quiet"],
            ["export", "teacher", "--target", "onnx,openvino,pytorch", "--quiet"],
            ["export", "teacher-static", "--target=tensorrt", "--quiet"],
            ["export", "tiny-people", "--target", "pytorch", "--quiet"],
        ):
            typed = [word.replace("runs/", f"{folder}/runs/") for word in command]
            assert cli.run(typed) == 0, command
    return folder


@pytest.fixture
def place(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of that workspace; the data stays where it is."""
    copy = shutil.copytree(made / "runs", tmp_path / "workspace")
    monkeypatch.setenv("BMC_HOME", str(copy))
    return copy


def test_every_step_is_scored_by_the_f1_of_spans(place: Path) -> None:
    for name in ("teacher", "tiny-people", "teacher-structured", "teacher-static"):
        model = artifact.load(place / name)
        assert (model.task, model.labels) == ("tokens", TAGS)
        assert model.scores["validation"]["span_f1"]["value"] > 0.5
        assert set(model.scores["validation"]["by_type"]) == {"LOC", "PER"}
        assert "validation_span_f1" in model.scores
    taught = artifact.load(place / "tiny-people").origin["teacher"]["validation"]
    assert taught["unit"] == "words"
    assert 0 < taught["agreement"]["value"] <= 1


def test_the_head_of_a_folder_is_kept_by_the_names_of_its_tags(place: Path) -> None:
    decided = artifact.load(place / "teacher").origin["pretrained"]
    assert decided["rows"] == [None, 1, None, None, 0]
    spec = json.loads((place / "teacher" / "config.json").read_text())
    assert spec["architectures"] == ["BertForTokenClassification"]


@pytest.mark.parametrize(
    "name",
    [f"teacher-{target}" for target in ("onnx", "openvino", "pytorch")]
    + ["teacher-static-tensorrt", "tiny-people-pytorch"],
)
def test_a_bundle_has_an_output_for_each_word_and_agrees_with_pytorch(
    place: Path, made: Path, name: str
) -> None:
    bundle = bundles.read(place / name)
    assert bundle.manifest.failure is None
    assert bundle.manifest.outputs[0].shape == ("batch", "sequence", len(TAGS))
    assert bundle.manifest.parity["agreement"] > 0.97
    stand_in = bundle.manifest.stand_in
    scores = stand_in.scores if stand_in else bundle.manifest.scores
    test = datasets.load(str(made / "people.conll"), task="tokens").test
    assert scores["rows"] == sum(map(len, test.rows))
    assert scores["span_f1"]["value"] > 0.5


def test_a_bundle_finds_spans_by_their_places_in_the_text(place: Path) -> None:
    with bmc.load(place / "teacher-onnx") as pipeline:
        spans, *others = pipeline([TEXT, tuple(TEXT.split()), "the"])
        alone = pipeline(TEXT)
    assert all(isinstance(span, Span) and 0 < span.score <= 1 for span in spans)
    found = {TEXT[span.start : span.end]: span.label for span in spans}
    assert found.items() >= {"Grace Hopper": "PER", "New York": "LOC"}.items()
    assert [(span.label, span.start) for span in alone] == [(s.label, s.start) for s in spans]
    assert others[1] == ()
    in_pytorch = bmc.open(place / "teacher").predict(TEXT)
    assert [(span.label, span.start, span.end) for span in in_pytorch] == [
        (span.label, span.start, span.end) for span in spans
    ]


def test_a_text_longer_than_the_model_has_a_prediction_for_every_word(place: Path) -> None:
    words = ("ada", "left", "new", "york", "and", "alan", "saw", "paris") * 10
    with bmc.load(place / "teacher-onnx") as pipeline:
        assert pipeline.outputs([words, words[:3]]).shape == (len(words) + 3, len(TAGS))
        spans = pipeline(" ".join(words))
    assert spans[-1].end > 16 * 10
    assert sum(span.label == "PER" for span in spans) > 10


def test_a_bundle_answers_without_torch_and_without_seqeval(place: Path) -> None:
    code = (
        "import sys, bmc\n"
        f"print(type(bmc.load({str(place / 'teacher-onnx')!r})({TEXT!r})[0]).__name__)\n"
        "print({'torch', 'sklearn', 'seqeval'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "Span\nset()\n"


def test_predict_prints_spans_and_check_compares_the_tags_of_golden_rows(
    place: Path, bmc: Run
) -> None:
    code, out, err = bmc("predict", place / "teacher-onnx", TEXT)
    assert code == 0, err
    assert out.startswith("'Grace Hopper' PER 0.")
    code, out, err = bmc("check", place / "teacher-onnx")
    assert code == 0, err
    assert "golden rows and their labels too" in out


def test_golden_rows_are_read_at_once_so_that_their_tags_are_those_of_all_words(
    place: Path, made: Path
) -> None:
    validation = datasets.load(str(made / "people.conll"), task="tokens").validation
    assert len(validation.rows[0]) > 16, "a short first row proves nothing"
    golden = bundles.read(place / "teacher-onnx").golden_rows()
    assert golden is not None
    tags = [len(label.split(SEPARATOR)) for label in golden.labels]
    assert tags == [len(row) for row in golden.rows]


def test_check_refuses_other_tags_for_golden_rows(place: Path, bmc: Run) -> None:
    path = place / "teacher-onnx" / "manifest.json"
    content = json.loads(path.read_text())
    content["labels"].reverse()
    path.write_text(json.dumps({**content, "digest": digest_of(content)}))
    code, _, err = bmc("check", place / "teacher-onnx")
    assert code == 1
    assert "for golden row" in err


def test_tables_of_texts_are_predicted_too(place: Path, bmc: Run, tmp_path: Path) -> None:
    table = tmp_path / "texts.csv"
    table.write_text(f'text\n"{TEXT}"\nthe\n')
    code, out, err = bmc("predict", place / "teacher-onnx", table, "--json")
    assert code == 0, err
    first, second = json.loads(out)["answers"]
    assert {TEXT[span["start"] : span["end"]] for span in first} >= {"Grace Hopper", "New York"}
    assert second == []


def test_a_report_compares_bundles_by_the_f1_of_spans(place: Path, bmc: Run) -> None:
    code, out, err = bmc("report", "--no-bench", "--no-floor", "--json", "-o", place / "page")
    assert code == 0, err
    lines = {line["name"]: line for line in json.loads(out)["lines"]}
    student = lines["tiny-people-pytorch"]
    assert (student["measure"], student["unit"]) == ("span_f1", "words")
    assert student["accuracy"]["value"] == student["scores"]["span_f1"]["value"]
    assert 0 < student["agreement"]["value"] <= 1
    assert student["kept"]["value"] > 0.5
    page = (place / "page" / "index.html").read_text()
    assert "span F1" in page
    assert "<th>spans</th>" in page
    assert " words)" in (place / "page" / "report.md").read_text()


def test_the_floor_has_majority_tags_and_a_linear_model_of_words_in_sentences(
    place: Path,
) -> None:
    evaluated, _ = read_all([place / "teacher-onnx"])
    floor = floor_of(evaluated)
    assert floor.folders == {}
    majority, linear = floor.notes
    assert "people.conll: the most frequent tag of each word" in majority
    assert "a linear model of words, endings and neighbors" in linear
    scored = r"has span F1 [01]\.\d+ \[.*\] on the \d+ held-out words, trained in"
    for note in floor.notes:
        assert re.search(scored, note)
    assert floor_of(evaluated).notes == floor.notes


def test_inspect_measures_layers_by_the_f1_of_spans(place: Path, bmc: Run) -> None:
    code, out, err = bmc("inspect", place / "teacher", "--json")
    assert code == 0, err
    inspection = json.loads(out)
    assert inspection["measure"] == "span_f1"
    assert inspection["importance"] == []


def test_a_batch_has_the_tags_of_its_words_in_order(place: Path, made: Path) -> None:
    model = artifact.load(place / "teacher")
    part = datasets.load(str(made / "people.conll"), task="tokens").train
    encoded = Rows([*part.rows, ("ada", "left")], part.labels, model.encoder)
    row = next(row for row in range(len(part)) if len(part.labels[row]) < 4)
    first = int((encoded.labels[:, 1] == row).nonzero()[0])
    window = next(index for index in range(len(encoded)) if first in encoded.outputs.at([index]))
    batch = encoded.batch([len(encoded) - 1, window])
    outputs = torch.rand(*batch.inputs["input_ids"].shape, len(TAGS))
    assert batch.selected(outputs).shape == (len(batch.labels), len(TAGS))
    assert batch.labels[:2, 0].tolist() == [-1, -1]
    assert tuple(batch.labels[2:, 0].tolist()) == part.labels[row]
    known = encoded.labels[:-2].numpy()
    assert np.array_equal(known, np.array(part.labels))


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("train", "textcnn"), "textcnn takes text; 'people' holds words: name other data"),
        (("distill", "--teacher", "teacher", "--student", "ngram"), "ngram takes text"),
        (
            ("train", "FOLDER", "--max-length", "16", "--augment", "word-swap"),
            "word-swap changes the words of a row, which have a tag each: leave word-swap out",
        ),
        (
            ("distill", "--teacher", "teacher", "--student", "tiny", "--augment-texts", "2"),
            "--augment-texts 2 is for text, and 'people' holds words rows: leave it out",
        ),
    ],
)
def test_what_is_for_rows_of_one_label_is_refused_by_name(
    place: Path, made: Path, bmc: Run, command: tuple[str, ...], message: str
) -> None:
    typed = [str(made / "bert") if word == "FOLDER" else word for word in command]
    output = ("--output", place / "other")
    code, _, err = bmc(*typed, "--data", made / "people.conll", "--task", "tokens", *output)
    assert code == 2
    assert message in err


@pytest.mark.parametrize("name", ["transformer", "lstm"])
def test_networks_without_pretrained_weights_learn_words_and_are_taught(
    place: Path, made: Path, bmc: Run, name: str
) -> None:
    data = ("--data", made / "people.conll", "--task", "tokens")
    sizes = {"transformer": ("layers=1", "hidden=16", "heads=2"), "lstm": ("hidden=8",)}[name]
    typed = [f"--set={size}" for size in (*sizes, "vocabulary=100", "max_length=16")]
    fast = ("--learning-rate", "0.02", "--batch-size", "16", "--epochs", "5")
    code, _, err = bmc("train", name, *data, *typed, *fast, "-o", place / name)
    assert code == 0, err
    assert artifact.load(place / name).scores["validation"]["span_f1"]["value"] > 0.5
    taught = ("distill", "--teacher", "teacher", "--student", name, *data, *typed, *fast)
    code, _, err = bmc(*taught, "-o", place / "taught")
    assert code == 0, err
    assert bmc("quantize", "taught")[0] == 0
    for model, target in ((name, "onnx"), ("taught-static", "pytorch")):
        code, _, err = bmc("export", model, "--target", target)
        assert code == 0, err
        assert bundles.read(place / f"{model}-{target}").manifest.scores["span_f1"]["value"] > 0.5


def test_texts_without_tags_teach_a_student(
    place: Path, made: Path, bmc: Run, tmp_path: Path
) -> None:
    texts = tmp_path / "more.txt"
    texts.write_text("\n".join(f"{name} saw oslo, and ada left." for name in ("kurt", "alan")))
    code, _, err = bmc(
        *("distill", "--teacher", "teacher", "--student", "tiny", "--epochs", "1"),
        *("--set=hidden=16", "--set=layers=1", "--set=heads=1", "--transfer", texts),
        *("--data", made / "people.conll", "--task", "tokens", "-o", place / "taught"),
    )
    assert code == 0, err
    transfer = artifact.load(place / "taught").origin["transfer"]
    assert (transfer["rows"], transfer["found"]) == (2, 2)


def test_folds_and_plain_tags_are_scored_by_accuracy(
    workspace: Path, made: Path, bmc: Run, tmp_path: Path
) -> None:
    plain = tmp_path / "plain.conll"
    lines = (made / "people.conll").read_text().splitlines()
    plain.write_text("\n".join(line.replace("B-", "").replace("I-", "") for line in lines))
    data = ("--data", plain, "--task", "tokens", "--max-length", "16", "--epochs", "1")
    code, out, err = bmc("train", made / "bert", *data, "--folds", "2", "--json")
    assert code == 0, err
    pooled = json.loads(out)["pooled"]
    assert pooled["accuracy"]["low"] <= pooled["accuracy"]["value"]
    assert "span_f1" not in pooled


def test_words_and_tags_under_other_keys_are_found_again(
    workspace: Path, made: Path, bmc: Run, tmp_path: Path
) -> None:
    path = tmp_path / "named.jsonl"
    content = [{"words": words, "ner": tags} for words, tags in rows()]
    path.write_text("\n".join(map(json.dumps, content)))
    named = ("--data", path, "--text-column", "words", "--label-column", "ner")
    options = ("--task", "tokens", "--max-length", "16", "--epochs", "1")
    code, _, err = bmc("train", made / "bert", *named, *options, "-o", workspace / "named")
    assert code == 0, err
    code, _, err = bmc("export", "named", "--target", "onnx")
    assert code == 0, err
    code, _, err = bmc("predict", "named-onnx", TEXT)
    assert code == 0, err

"""A folder's texts become the ids that transformers makes of them, and are scored alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, pipeline

import bmc
from bmc import artifact
from bmc.data import Dataset, Examples
from bmc.errors import ArtifactError
from bmc.inputs.text import TextEncoder, TextSettings
from bmc.model import Model
from bmc.models import bert, mpnet
from tests.faults import _folders
from tests.models import _bundles

MAX_LENGTH = 24
LABELS = tuple(reversed(_folders.LABELS))  # in the data's order, which is the alphabet's
ODD = (
    *("film", "Film", "THE FILM", "café", "CAFÉ", "cafe\u0301", "naïve", "the  film", " film "),
    *(
        "the\nfilm",
        "the\tfilm",
        "film\r\n",
        "\u3000film",
        "the\u00a0film",
        "fil\u200bm",
        "fi\u00adlm",
    ),
    *("film\x00", "\ufefffilm", "漢字映画", "the漢film", "กขคง้า", "film!!!", "don't", "#1 film"),
    *("[PAD]", "the [PAD] film", "<pad>", "the <pad> film", "[SEP] film", "[CLS][MASK]", "[mask]"),
    *(
        "<ent> newword two words Newword",
        "a<br />b",
        "x" * 130,
        "the film " * 40,
        "\U0001f600",
        "…",
    ),
)
assert len(ODD) == 37


@pytest.fixture(scope="module", params=_folders.FOLDERS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _folders.FOLDERS[request.param](tmp_path_factory.mktemp("folder") / request.param)


def loaded(folder: Path, columns: int = 1) -> Model:
    family: Any = mpnet if folder.name == "of_mpnet" else bert
    model: Model = family.pretrained(str(folder), LABELS, TextSettings(MAX_LENGTH, columns))
    return model


def pairs() -> list[tuple[str, str]]:
    return list(zip(ODD, reversed(ODD), strict=True))


def length_of(model: Model) -> int:
    return model.encoder.longest()["sequence"]


def assert_same_ids(model: Model, tokenizer: Any, rows: list[Any]) -> None:
    """Check the ids, and the types where the model takes them, of every row."""
    result = model.encoder.encode(rows)
    for index, row in enumerate(rows):
        texts = (row,) if isinstance(row, str) else row
        reference = tokenizer(*texts, truncation=True, max_length=length_of(model))
        arrays = model.encoder.batch(result, [index])
        assert arrays["input_ids"][0].tolist() == reference["input_ids"], row
        if "token_type_ids" in arrays:
            expected = reference.get("token_type_ids", [0] * len(reference["input_ids"]))
            assert arrays["token_type_ids"][0].tolist() == expected, row


def their_scores(folder: Path, rows: list[Any], length: int) -> np.ndarray[Any, Any]:
    """Return the probability of each label (rows, labels) in transformers' own pipeline."""
    classify: Any = pipeline("text-classification", model=str(folder), dtype=torch.float32)
    asked = [row if isinstance(row, str) else {"text": row[0], "text_pair": row[1]} for row in rows]
    scores = []
    for item in asked:
        predictions = classify(item, top_k=None, truncation=True, max_length=length)
        by_label = {prediction["label"]: prediction["score"] for prediction in predictions}
        scores.append([by_label[label] for label in LABELS])
    return np.array(scores)


def our_scores(model: Model, rows: list[Any]) -> np.ndarray[Any, Any]:
    encoded = model.encoder.encode(rows)
    logits = [
        _bundles.module_answers(model, model.encoder.batch(encoded, [index]))[0]
        for index in range(len(rows))
    ]
    return torch.tensor(np.array(logits)).softmax(dim=1).numpy()


@pytest.mark.parametrize("columns", [1, 2])
def test_ids_and_scores_are_those_of_transformers(
    folder: Path, columns: int, tmp_path: Path
) -> None:
    if folder.name == "of_mpnet" and columns == 2:
        pytest.skip("MPNet takes no pairs here")
    rows: list[Any] = pairs() if columns == 2 else list(ODD)
    model = loaded(folder, columns)
    reference = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    assert_same_ids(model, reference, rows)
    expected = their_scores(folder, rows, length_of(model))
    np.testing.assert_allclose(our_scores(model, rows), expected, atol=1e-5)
    again = artifact.load(artifact.save(model, tmp_path / "model"))
    assert_same_ids(again, reference, rows)
    np.testing.assert_allclose(our_scores(again, rows), expected, atol=1e-5)


def test_a_saved_model_directory_reads_texts_in_transformers_as_it_does_here(
    folder: Path, tmp_path: Path
) -> None:
    model = loaded(folder)
    artifact.save(model, tmp_path / "model")
    reference = AutoTokenizer.from_pretrained(tmp_path / "model", local_files_only=True)
    assert_same_ids(model, reference, list(ODD))
    if reference.pad_token is not None:
        assert isinstance(model.encoder, TextEncoder)
        assert reference.pad_token_id == model.encoder.settings.pad_id
    expected = their_scores(tmp_path / "model", list(ODD), length_of(model))
    np.testing.assert_allclose(our_scores(model, list(ODD)), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "columns", "target"),
    [("in_conflict", 1, "pytorch"), ("added", 2, "onnx"), ("pad_is_7", 1, "onnx")],
)
def test_a_bundle_scores_texts_as_transformers_does(
    name: str, columns: int, target: str, reviews: Dataset, tmp_path: Path
) -> None:
    source = _folders.FOLDERS[name](tmp_path / name)
    model = loaded(source, columns)
    data = reviews
    rows: list[Any] = pairs() if columns == 2 else list(ODD)
    model.data = {"reference": data.name, "fingerprint": data.fingerprint}
    if columns == 2:
        data = in_pairs(reviews)
    folder = artifact.save(model, tmp_path / "model")
    bundle = _bundles.exported(folder, data, target, tmp_path / "bundle")
    assert_same_ids(
        Model(model.module, "", {}, LABELS, bundle.encoder),
        AutoTokenizer.from_pretrained(source, local_files_only=True),
        rows,
    )
    with bmc.load(bundle.path) as prediction:
        predictions = prediction(rows)
    expected = their_scores(source, rows, length_of(model))
    assert [item.label for item in predictions] == [
        LABELS[best] for best in expected.argmax(axis=1)
    ]
    np.testing.assert_allclose([one.score for one in predictions], expected.max(axis=1), atol=1e-5)


def in_pairs(data: Dataset) -> Dataset:
    """Return reviews as pairs of a review and the next one."""

    def paired(part: Examples) -> Examples:
        texts = [row[0] for row in part.rows]
        return Examples(list(zip(texts, texts[1:] + texts[:1], strict=True)), part.labels)

    return replace(
        data,
        columns=("first", "second"),
        train=paired(data.train),
        validation=paired(data.validation),
        test=paired(data.test),
    )


# what is decided is said


def test_what_was_decided_is_said_and_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = loaded(_folders.in_conflict(tmp_path / "folder"))
    err = capsys.readouterr().err
    assert "BertTokenizer keeps case and keeps accents" in err
    assert "cut to 20 tokens, which its model_max_length says, not to 24" in err
    assert "cut at their left end" in err
    recorded = model.origin["pretrained"]
    assert recorded["tokenizer"] == "BertTokenizer"
    assert "keeps case" in recorded["case"]
    half = bert.pretrained(str(_folders.half(tmp_path / "half")), LABELS, TextSettings(MAX_LENGTH))
    assert "weights of float16 are read as float32" in capsys.readouterr().err
    assert half.module.dtype == torch.float32


# what no device could read


def not_resized(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(_folders.uncased(folder))
    tokenizer.add_tokens(["newword"])
    tokenizer.save_pretrained(folder)


def without_tokenizer(folder: Path) -> None:
    _folders.uncased(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()


def not_json(folder: Path) -> None:
    (_folders.uncased(folder) / "tokenizer_config.json").write_text("{")


def config(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: _folders.changed(
        _folders.uncased(folder) / "tokenizer_config.json", **changes
    )


REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "an embedding that was not resized": (
        not_resized,
        r"'newword' has the id \d+, but the model's table has \d+ rows: .*resize_token_embeddings",
    ),
    "no tokenizer": (without_tokenizer, "has no tokenizer: save it next to the model"),
    "special tokens that are split": (config(split_special_tokens=True), "split_special_tokens"),
    "a file elsewhere": (config(merges_file="/etc/passwd"), "merges_file is set"),
    "a tokenizer in Python": (config(tokenizer_class="BertJapaneseTokenizer"), "tokenizer"),
    "a model_max_length of 1": (config(model_max_length=1), "max length is 1"),
    "no JSON": (
        not_json,
        "not readable JSON",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_tokenizer_that_does_not_fit_is_refused_with_the_way_out(
    name: str, tmp_path: Path
) -> None:
    make, message = REFUSED[name]
    make(tmp_path / "folder")
    with pytest.raises(ArtifactError, match=message):
        loaded(tmp_path / "folder")


def test_a_mask_that_transformers_adds_behind_the_table_is_no_token(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = _folders.uncased(tmp_path / "folder")
    words = _folders.vocabulary(_folders.BERT_SPECIAL[:-1])
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    _folders.bert(len(words)).save_pretrained(folder)
    model = loaded(folder)
    assert "[MASK] has no embedding in the model" in capsys.readouterr().err
    (tokens,) = model.encoder.encode(["the [MASK] film"])
    assert max(tokens.ids) < len(words)


def test_a_directory_of_an_older_version_with_a_token_too_many_is_refused(tmp_path: Path) -> None:
    model = loaded(_folders.uncased(tmp_path / "folder"))
    assert isinstance(model.encoder, TextEncoder)
    old = replace(model.encoder.settings, vocabulary=0)
    artifact.save(replace(model, encoder=TextEncoder(model.encoder.tokenizer, old)), tmp_path / "a")
    model.encoder.tokenizer.add_tokens(["newword"])
    with pytest.raises(ArtifactError, match=r"'newword' has the id .*resize_token_embeddings"):
        artifact.save(
            replace(model, encoder=TextEncoder(model.encoder.tokenizer, old)), tmp_path / "b"
        )

"""Token classifiers of every family of encoders: small folders against transformers' answers."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray
from transformers import AutoModelForTokenClassification, AutoTokenizer, pipeline

import bmc
from bmc import artifact, assets
from bmc.compress.prune.structured import Structured
from bmc.compress.prune.vocabulary import Vocabulary
from bmc.compress.quantize.static import Static
from bmc.compress.share.lowrank import LowRank
from bmc.data import Dataset, split, words_in_memory
from bmc.export import ExportOptions, flow
from bmc.export.source import source_of
from bmc.inference.form import inference_form
from bmc.inference.quantized_layers import QuantizedLayer
from bmc.inference.run import outputs_on_rows
from bmc.model import AppliedStep, Model, Step, Work, output_of
from bmc.models import bert
from bmc.training.settings import TrainingSettings
from bmc.training.work import work_for
from bmc.workflows import baselines
from bmc.workflows.scoring import predict_in_pytorch
from tests.models import _bundles, _encoders

FAMILIES = (*_encoders.ENCODERS, "mpnet")
TAGS = ("B-LOC", "B-PER", "I-LOC", "I-PER", "O")
MAX_LENGTH = 40
SPACED = ("a great film with a bad ending", "the new york film was great")
TEXTS = (*SPACED, "great films, not good!")
LONG = "the great film " * 30
EXPORTED = ("modernbert", "roberta")  # the others are exported by slow tests
QUICK = TrainingSettings(epochs=1, precision="fp32", device="cpu", learning_rate=1e-3)

every_family = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture(scope="module")
def people() -> Dataset:
    """Return 60 rows of words with tags."""
    generator = np.random.default_rng(0)
    words = ["the", "great", "film", "new", "york", "bad", "ending", "good", "actors"]
    rows = [[words[index] for index in generator.integers(0, 9, 5)] for _ in range(60)]
    tags = [["B-PER", "I-PER", "O", "B-LOC", "I-LOC"] for _ in rows]
    return split(words_in_memory(rows, tags), "people", task="tokens")


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that saves a small folder of a family, once."""
    parent = tmp_path_factory.mktemp("taggers")

    def folder(family: str) -> Path:
        path = parent / family
        return path if path.exists() else saved(family, path)

    return folder


def saved(family: str, folder: Path) -> Path:
    """Save a small folder of transformers' own token classifier, with lively weights."""
    fast: Any = transformers.PreTrainedTokenizerFast
    if family == "mpnet":
        path = assets.fetch("mpnet") / "tokenizer.json"
        tokenizer = fast(
            tokenizer_file=str(path),
            model_input_names=["input_ids", "attention_mask"],
            **{"pad_token": "<pad>", "unk_token": "[UNK]"},
        )
        names: Any = {"id2label": dict(enumerate(TAGS))}
        names |= {"label2id": {tag: number for number, tag in enumerate(TAGS)}}
        rows = {"vocab_size": len(tokenizer), "pad_token_id": 1}
        kind: Any = transformers.MPNetConfig
        config = kind(**_encoders.SIZES, **rows, **names)
    else:
        tokenizer = _encoders.ENCODERS[family].tokenizer()
        config = _encoders.spec_of(family, len(tokenizer), TAGS)
    torch.manual_seed(0)
    auto: Any = AutoModelForTokenClassification
    _encoders.lively(auto.from_config(config)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def loaded(folder: Path, data: Dataset) -> Model:
    """Load a folder as `bmc train` does."""
    chosen = baselines.choose(str(folder), {"max_length": str(MAX_LENGTH)})
    return baselines.built(chosen, data)


def probabilities(model: Model, text: str) -> NDArray[Any]:
    """Return the probability of each tag of each word, (words, tags)."""
    logits = outputs_on_rows(model.module, model.encoder, [text], 1)
    return torch.from_numpy(logits).softmax(dim=1).numpy()


def work_of(data: Dataset, folder: Path) -> Work:
    return work_for(data, (), QUICK, folder, folder, lambda name: artifact.load(Path(name)), run="")


@every_family
def test_ids_tags_and_spans_are_those_of_transformers(
    family: str, folder_of: Callable[[str], Path], people: Dataset, tmp_path: Path
) -> None:
    folder = folder_of(family)
    model = _bundles.saved(loaded(folder, people), tmp_path / "model")
    assert (model.family, model.task, model.labels) == (family, "tokens", TAGS)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    encoded: Any = model.encoder.encode(TEXTS)
    assert [window.ids.tolist() for window in encoded] == tokenizer(list(TEXTS))["input_ids"]
    tag: Any = pipeline("token-classification", model=str(folder), dtype=torch.float32)
    for text, window in zip(TEXTS, encoded, strict=True):
        by_token = {entity["index"]: entity for entity in tag(text, ignore_labels=[])}
        expected = [by_token[first] for first in window.firsts.tolist()]
        ours = probabilities(model, text)
        assert [TAGS[index] for index in ours.argmax(1)] == [item["entity"] for item in expected]
        scores = [item["score"] for item in expected]
        np.testing.assert_allclose(ours.max(1), scores, atol=1e-5)
    for text in SPACED:
        with warnings.catch_warnings():  # the pipeline guesses the words of most tokenizers
            warnings.simplefilter("ignore")
            groups = tag(text, aggregation_strategy="first")
        theirs = [(item["entity_group"], text[item["start"] : item["end"]]) for item in groups]
        spans = predict_in_pytorch(model, [text])[0]
        assert [(span.label, text[span.start : span.end]) for span in spans] == [
            (label, words.strip()) for label, words in theirs
        ]


@every_family
def test_the_inference_form_answers_long_and_short_rows_as_the_module(
    family: str, folder_of: Callable[[str], Path], people: Dataset
) -> None:
    model = loaded(folder_of(family), people)
    encoded = model.encoder.encode([*TEXTS, LONG])
    arrays = model.encoder.batch(encoded, range(len(encoded)))
    inputs = {name: torch.from_numpy(array) for name, array in arrays.items()}
    is_token = inputs["attention_mask"].bool()
    assert len(set(is_token.sum(1).tolist())) > 1, "padding of many lengths"
    with torch.inference_mode():
        expected = output_of(model.module, inputs)
        result = output_of(inference_form(model), inputs)
    assert expected.shape == (*is_token.shape, len(TAGS))
    torch.testing.assert_close(result[is_token], expected[is_token], atol=1e-5, rtol=0)


@every_family
def test_a_folder_is_trained_and_teaches_a_small_bert_that_reads_its_tokens(
    family: str, folder_of: Callable[[str], Path], people: Dataset, tmp_path: Path
) -> None:
    chosen = baselines.choose(str(folder_of(family)), {"max_length": str(MAX_LENGTH)})
    before = loaded(folder_of(family), people).module.state_dict()
    teacher = baselines.trained(chosen, people, QUICK, tmp_path)
    assert teacher.origin["pretrained"]["rows"] == [0, 1, 2, 3, 4]
    after = teacher.module.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert "classifier.weight" in changed
    assert any("layer" in name for name in changed)
    student = bert.student(teacher, bert.Size(layers=1, hidden=8, heads=2), people)
    assert student.spec["architectures"] == ["BertForTokenClassification"]
    assert student.encoder.to_json() == teacher.encoder.to_json()
    assert probabilities(student, TEXTS[0]).shape == (7, len(TAGS))


STEPS: dict[str, Step] = {
    "prune/structured": Structured(ratio=0.5),
    "prune/vocabulary": Vocabulary(margin=0, max_split=1),
    "share/lowrank": LowRank(energy=0.5),
    "quantize/static": Static(samples=16),
}
COMPRESSED = [
    *(
        (method, family)
        for method in ("prune/structured", "quantize/static")
        for family in FAMILIES
    ),
    *(("prune/vocabulary", family) for family in ("distilbert", "roberta", "xlm-roberta")),
    *(("share/lowrank", family) for family in ("albert", "modernbert")),
]


@pytest.mark.parametrize(("method", "family"), COMPRESSED)
def test_it_is_compressed_saved_and_loaded(
    method: str,
    family: str,
    folder_of: Callable[[str], Path],
    people: Dataset,
    tmp_path: Path,
) -> None:
    step, model = STEPS[method], loaded(folder_of(family), people)
    row = people.train.rows[0]
    before = outputs_on_rows(model.module, model.encoder, [row], 1)
    record = step.apply(model, work_of(people, tmp_path))
    model.steps.append(AppliedStep(method, asdict(step), record, 0, 0.0))
    model = _bundles.saved(model, tmp_path / "model")
    after = outputs_on_rows(model.module, model.encoder, [row], 1)
    assert after.shape == (len(row), len(TAGS))
    if method == "prune/vocabulary":  # the tokens that rows have stay
        assert len(model.encoder.tokenizer.get_vocab()) < model.spec["vocab_size"]  # type: ignore[attr-defined]
        np.testing.assert_allclose(after, before, atol=1e-5)
    if method == "quantize/static":
        layers = [part for part in model.module.modules() if isinstance(part, QuantizedLayer)]
        assert len(layers) >= 5, "the layers and the head"
        assert 0 < np.abs(after - before).max() < 0.5 * np.abs(before).max()


@pytest.mark.parametrize(
    "family",
    [pytest.param(name, marks=() if name in EXPORTED else pytest.mark.slow) for name in FAMILIES],
)
def test_bundles_of_every_target_answer_as_the_model(
    family: str, folder_of: Callable[[str], Path], people: Dataset, tmp_path: Path
) -> None:
    model = loaded(folder_of(family), people)
    model.data = {"reference": people.name, "fingerprint": people.fingerprint, "task": "tokens"}
    artifact.save(model, tmp_path / "model")
    expected = predict_in_pytorch(model, list(TEXTS))
    needed = {"onnx": "onnxruntime", "openvino": "openvino", "tensorrt": "tensorrt_rtx"}
    with source_of(tmp_path / "model", people, ExportOptions(max_batch=8)) as source:
        for target, package in needed.items():
            if importlib.util.find_spec(package) is None:
                continue
            bundle = flow.export(source, target, tmp_path / target, force=False)
            assert bundle.manifest.failure is None
            assert bundle.manifest.parity["agreement"] > 0.99
            if target == "tensorrt":
                continue  # it runs on a GPU alone
            with bmc.load(bundle.path) as answer:
                spans = answer(list(TEXTS))
            assert [[span.label for span in row] for row in spans] == [
                [span.label for span in row] for row in expected
            ]

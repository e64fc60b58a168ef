"""MPNet: its inference form, its folder, its bundles; a small one with the real tokenizer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from bmc.bundle import Bundle
from bmc.data import Dataset
from bmc.errors import ArtifactError, SettingError
from bmc.inputs.text import TextEncoder, TextSettings
from bmc.model import Model
from bmc.models import bert, mpnet
from bmc.workflows import baselines
from tests._tokenizers import built_in_tokenizer
from tests.models import _bundles

LABELS = ("negative", "positive")
MAX_LENGTH = 40


def small(layers: int = 2) -> Model:
    """Build an untrained MPNet, 16 wide, whose attention is sharp; always the same one."""
    spec = {
        "model_type": "mpnet",
        "architectures": ["MPNetForSequenceClassification"],
        "vocab_size": 30527,
        "hidden_size": 16,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "intermediate_size": 24,
        "max_position_embeddings": 66,
        "pad_token_id": 1,
        "id2label": {"0": "negative", "1": "positive"},
        "label2id": {"negative": 0, "positive": 1},
    }
    module = mpnet.build(spec)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in module.parameters():
            noise = torch.randn(value.shape, generator=generator)
            value.copy_(value + 0.2 * noise if value.dim() == 1 else noise / 2)
    encoder = TextEncoder(built_in_tokenizer("mpnet"), TextSettings(MAX_LENGTH, pad_id=1))
    return Model(module, "mpnet", spec, LABELS, encoder)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory, reviews: Dataset) -> Path:
    """Return a model directory of the small model, as if it were trained on the reviews."""
    model = small()
    model.data = {"reference": reviews.name, "fingerprint": reviews.fingerprint}
    path = tmp_path_factory.mktemp("mpnet") / "small"
    _bundles.saved(model, path)
    return path


@pytest.fixture(scope="module")
def bundle(folder: Path, reviews: Dataset) -> Iterator[Callable[[str], Bundle]]:
    """Return a function that exports that directory to a target, once."""
    with _bundles.exporting(folder, reviews) as export:
        yield export


def difference(model: Model) -> float:
    """Return how far the form's answers lie from the module's, on ragged rows of many lengths."""
    form = mpnet.inference_form(model).eval()
    results = []
    for rows, length in (*_bundles.SHAPES, (2, MAX_LENGTH)):
        arrays = _bundles.texts(model, rows, length)
        expected = _bundles.module_answers(model, arrays)
        with torch.inference_mode():
            predictions = form(**{name: torch.from_numpy(array) for name, array in arrays.items()})
        results.append(float(np.abs(predictions.numpy() - expected).max()))
    return max(results)


def test_the_form_answers_like_the_module() -> None:
    assert difference(small()) < 1e-5


@pytest.mark.parametrize("target", ["pytorch", "onnx", "openvino"])
def test_a_padding_token_inside_a_text_has_the_paddings_position(
    target: str, bundle: Callable[[str], Bundle]
) -> None:
    model = small()
    arrays = _bundles.texts(model, 2, 12)
    arrays["input_ids"][0, [3, 7]] = 1
    expected = _bundles.module_answers(model, arrays)
    (predictions,) = _bundles.answers_of(bundle(target), [arrays])
    np.testing.assert_allclose(predictions, expected, atol=5e-5)


def test_distance_counts_beyond_the_exact_buckets() -> None:
    model = small()
    with torch.no_grad():
        model.module.get_parameter("mpnet.encoder.relative_attention_bias.weight").mul_(4)
    before = _bundles.module_answers(small(), _bundles.texts(model, 1, MAX_LENGTH))
    after = _bundles.module_answers(model, _bundles.texts(model, 1, MAX_LENGTH))
    assert np.abs(before - after).max() > 1e-3
    assert difference(model) < 1e-5


def test_a_layer_that_stands_twice_is_emitted_once() -> None:
    model = small()
    layers: Any = model.module.get_submodule("mpnet.encoder.layer")
    layers[1] = layers[0]
    form: Any = mpnet.inference_form(model)
    fused = form.layers[0].attention.project.linear
    last = form.layers[1].attention  # of its first row alone, with parts of the same weights
    assert last.query.whole is last.project.whole is fused
    assert difference(model) < 1e-5


@pytest.mark.parametrize("target", ["onnx", "openvino"])
def test_a_bundle_answers_like_the_module(target: str, bundle: Callable[[str], Bundle]) -> None:
    model, created = small(), bundle(target)
    inputs = [_bundles.texts(model, rows, length) for rows, length in _bundles.SHAPES]
    for arrays, output in zip(inputs, _bundles.answers_of(created, inputs), strict=True):
        np.testing.assert_allclose(output, _bundles.module_answers(model, arrays), atol=5e-5)
    if target == "onnx":
        kinds = [node.op_type for node in onnx.load(created.model_path).graph.node]
        assert kinds.count("Attention") == 2
        assert not {"IsNaN", "Where", "Log"} & set(kinds)


def test_tensorrt_builds_an_engine(bundle: Callable[[str], Bundle]) -> None:
    pytest.importorskip("tensorrt_rtx")
    assert bundle("tensorrt").model_path.stat().st_size > 0


def test_a_saved_mpnet_is_a_hugging_face_folder(folder: Path) -> None:
    reference = AutoModelForSequenceClassification.from_pretrained(folder, local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model, texts = small(), ["An uneven but Charming film", "no"]
    inputs = tokenizer(texts, return_tensors="pt", padding=True)
    assert set(inputs) == {"input_ids", "attention_mask"}
    rows = model.encoder.encode([(text,) for text in texts])
    ours = model.encoder.batch(rows, [0, 1])
    assert inputs["input_ids"].tolist() == ours["input_ids"].tolist()
    assert tokenizer.pad_token_id == 1
    with torch.inference_mode():
        logits = reference.eval()(**inputs).logits.numpy()
    np.testing.assert_allclose(logits, _bundles.module_answers(model, ours), atol=1e-6)


def test_a_folder_is_fine_tuned_with_its_weights(
    folder: Path, reviews: Dataset, tmp_path: Path
) -> None:
    assert baselines.choose(str(folder), {}).network is mpnet.NETWORK
    loaded = mpnet.pretrained(str(folder), ("a", "b", "c"), TextSettings(16))
    reference, ours = small().module.state_dict(), loaded.module.state_dict()
    kept = [name for name in reference if not name.startswith("classifier.out_proj")]
    assert all(torch.equal(ours[name], reference[name]) for name in kept)
    assert ours["classifier.out_proj.weight"].shape == (3, 16)
    assert loaded.encoder.to_json()["pad_id"] == 1
    mpnet.build(json.loads(json.dumps(loaded.spec))).load_state_dict(ours, strict=True)


def test_without_labels_a_folder_answers_one_number(folder: Path) -> None:
    loaded = mpnet.pretrained(str(folder), (), TextSettings(16))
    assert loaded.task == "regression"
    assert _bundles.module_answers(loaded, _bundles.texts(loaded, 3, 7)).shape == (3, 1)


def test_more_tokens_than_positions_are_refused(folder: Path) -> None:
    with pytest.raises(SettingError, match="64 positions"):
        mpnet.pretrained(str(folder), LABELS, TextSettings(max_length=65))


def test_pairs_are_refused(folder: Path) -> None:
    with pytest.raises(SettingError, match="sentence pairs need two"):
        mpnet.pretrained(str(folder), LABELS, TextSettings(16, columns=2))


def test_another_kind_of_model_is_refused(hf_folder: Path) -> None:
    with pytest.raises(ArtifactError, match="'bert'"):
        mpnet.pretrained(str(hf_folder), LABELS, TextSettings(16))


def test_parts_name_real_modules() -> None:
    module = small().module
    parts = mpnet.parts(module)
    assert parts.layers == ("mpnet.encoder.layer.0", "mpnet.encoder.layer.1")
    assert dict(parts.heads) == {f"{layer}.attention.attn": 2 for layer in parts.layers}
    find: Callable[[str], Any] = module.get_submodule
    assert [find(name).out_features for name in parts.outputs] == [2]


def test_a_student_learns_to_read_what_its_mpnet_reads(tmp_path: Path, reviews: Dataset) -> None:
    teacher = small()
    student = bert.student(teacher, bert.Size(layers=1, hidden=8, heads=2), reviews)
    assert student.encoder.to_json() == teacher.encoder.to_json()
    entry = student.module.get_parameter("bert.embeddings.position_embeddings.weight")
    assert len(entry) == 64, "the teacher's first two positions are no text's"
    reference = teacher.module.get_parameter("mpnet.embeddings.position_embeddings.weight")[2:]
    words = "embeddings.word_embeddings.weight"
    pairs = [
        tuple(part.module.get_parameter(f"{part.family}.{words}") for part in (student, teacher)),
        (entry, reference),
    ]
    basis = torch.linalg.lstsq(pairs[0][1], pairs[0][0]).solution
    for ours, teacher_data in pairs:  # one projection for both
        torch.testing.assert_close(teacher_data @ basis, ours, atol=2e-3, rtol=2e-3)
    assert _bundles.saved(student, tmp_path / "student").family == "bert"


def test_a_student_of_an_mpnet_answers_the_same_in_its_bundles(
    tmp_path: Path, reviews: Dataset
) -> None:
    student = bert.student(small(), bert.Size(layers=1, hidden=8, heads=2), reviews)
    student.data = {"reference": reviews.name, "fingerprint": reviews.fingerprint}
    _bundles.saved(student, tmp_path / "student")
    created = _bundles.exported(tmp_path / "student", reviews, "onnx", tmp_path / "bundle")
    assert created.manifest.parity["max_error"] < 1e-4

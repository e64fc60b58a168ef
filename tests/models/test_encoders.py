"""Families of encoders that transformers builds: small folders against its own answers."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from bmc import artifact
from bmc.compress.quantize.static import Static
from bmc.compress.share.layers import Layers
from bmc.contracts import families
from bmc.data import Dataset
from bmc.errors import ArtifactError, SettingError, UsageError
from bmc.export import ExportOptions, flow
from bmc.export.source import source_of
from bmc.inference.form import inference_form
from bmc.inference.quantized_layers import QuantizedLayer
from bmc.inputs.text import TextSettings
from bmc.model import AppliedStep, Model, Parts, Work, output_of
from bmc.models import bert, hugging_face
from bmc.training.settings import TrainingSettings
from bmc.training.work import work_for
from bmc.workflows import baselines, students
from tests.faults import _folders
from tests.models import _bundles, _encoders

FAMILIES = tuple(_encoders.ENCODERS)
LONG = "the great film " * 30
ROWS: dict[int, list[Any]] = {
    1: [*_encoders.TEXTS, LONG],
    2: [*_encoders.PAIRS, (LONG, "no"), ("no", LONG), ("no", "a film")],
}
TARGETS = ("onnx", "openvino", "tensorrt")
TWO_LAYERS = ("deberta-v2", "modernbert")  # all layers but the last compute every token
EXPORTED = (
    "albert",
    "deberta-v2",
    "modernbert",
    "roberta",
)  # the others are exported by slow tests
NEEDED = {"onnx": "onnxruntime", "openvino": "openvino", "tensorrt": "tensorrt_rtx"}

every_family = pytest.mark.parametrize("family", FAMILIES)


def _parts(family: str) -> Parts:
    return families.network(family).parts(_encoders.small(family).module)


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that saves a small folder of a family, once."""
    parent = tmp_path_factory.mktemp("encoders")

    def folder(family: str) -> Path:
        path = parent / family
        return path if path.exists() else _encoders.saved(family, path)

    return folder


def their_scores(folder: Path, rows: list[Any]) -> NDArray[Any]:
    """Return the probability of each label (rows, labels) in transformers' own pipeline."""
    classify: Any = pipeline("text-classification", model=str(folder), dtype=torch.float32)
    scores = []
    for row in rows:
        text = row if isinstance(row, str) else {"text": row[0], "text_pair": row[1]}
        outputs = classify(text, top_k=None, truncation=True, max_length=_encoders.MAX_LENGTH)
        by_label = {output["label"]: output["score"] for output in outputs}
        scores.append([by_label[label] for label in _encoders.LABELS])
    return np.array(scores)


def our_scores(model: Model, rows: list[Any]) -> NDArray[Any]:
    encoded = model.encoder.encode(rows)
    batches = [model.encoder.batch(encoded, [index]) for index in range(len(rows))]
    logits = [_bundles.module_answers(model, batch)[0] for batch in batches]
    return torch.tensor(np.array(logits)).softmax(dim=1).numpy()


def inputs_of(model: Model, rows: list[Any]) -> dict[str, Tensor]:
    arrays = model.encoder.batch(model.encoder.encode(rows), range(len(rows)))
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


@pytest.mark.parametrize("columns", [1, 2])
@every_family
def test_ids_and_scores_are_those_of_transformers(
    family: str, columns: int, folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    folder, rows = folder_of(family), ROWS[columns]
    model = _encoders.loaded(folder, columns)
    assert model.family == family
    tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    encoded = model.encoder.encode(rows)
    for index, row in enumerate(rows):
        texts = (row,) if isinstance(row, str) else row
        expected = tokenizer(*texts, truncation=True, max_length=_encoders.MAX_LENGTH)
        assert encoded[index].ids.tolist() == expected["input_ids"], row
        if "token_type_ids" in model.encoder.batch(encoded, [index]):
            assert encoded[index].types.tolist() == expected["token_type_ids"], row
    scores = their_scores(folder, rows)
    assert scores.std() > 0.01, "answers that do not differ prove nothing"
    np.testing.assert_allclose(our_scores(model, rows), scores, atol=1e-5)
    saved = _bundles.saved(model, tmp_path / "model")
    np.testing.assert_allclose(our_scores(saved, rows), scores, atol=1e-5)


@pytest.mark.parametrize("columns", [1, 2])
@every_family
def test_the_inference_form_answers_real_texts_as_the_module(family: str, columns: int) -> None:
    model = _encoders.small(family, columns)
    inputs = inputs_of(model, ROWS[columns])
    form = inference_form(model)
    assert len(set(inputs["attention_mask"].sum(1).tolist())) > 1, "padding of many lengths"
    with torch.inference_mode():
        expected = output_of(model.module, inputs)
        torch.testing.assert_close(output_of(form, inputs), expected, atol=1e-5, rtol=0)


@every_family
def test_a_saved_model_is_a_hugging_face_folder(family: str, tmp_path: Path) -> None:
    model = _encoders.small(family)
    artifact.save(model, tmp_path / "model")
    reference: Any = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model")
    inputs = inputs_of(model, ROWS[1])
    with torch.inference_mode():
        expected, result = output_of(model.module, inputs), reference.eval()(**inputs).logits
    torch.testing.assert_close(result, expected, atol=1e-5, rtol=0)


@every_family
def test_a_folder_without_a_head_gets_a_fresh_one(
    family: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = _encoders.saved(family, tmp_path / "headless", headless=True)
    model = _encoders.loaded(folder, labels=("a", "b", "c"))
    assert "a fresh head: the folder has none" in capsys.readouterr().err
    stored, ours = load_file(folder / "model.safetensors"), model.module.state_dict()
    words = _encoders.described(family).words.partition(".")[2]
    assert torch.equal(
        ours[_encoders.described(family).words + ".weight"], stored[f"{words}.weight"]
    )
    assert len(ours[f"{_encoders.described(family).kind.output}.weight"]) == 3
    regression = _encoders.loaded(folder, labels=())
    assert regression.task == "regression"


@every_family
def test_distillation_reads_states_attentions_and_projections(family: str) -> None:
    model = _encoders.small(family)
    inputs = inputs_of(model, ROWS[1])
    with torch.no_grad():
        expected = output_of(model.module, inputs)
        view = families.network(family).view(model.module, inputs)  # type: ignore[misc]
    torch.testing.assert_close(view.logits, expected, atol=1e-5, rtol=0)
    assert [len(part) for part in (view.hidden, view.attentions, view.queries)] == [3, 2, 2]
    rows, length = inputs["input_ids"].shape
    with torch.no_grad():
        theirs: Any = model.module(**inputs, output_hidden_states=True)
    for ours, state in zip(view.hidden, theirs.hidden_states, strict=True):
        torch.testing.assert_close(ours, state, atol=1e-5, rtol=0)
    assert view.hidden[1].shape == view.keys[0].shape == (rows, length, 16)
    assert view.attentions[0].shape == (rows, 2, length, length)
    kept = view.attentions[0].sum(-1)[inputs["attention_mask"].bool()[:, None].expand(-1, 2, -1)]
    torch.testing.assert_close(kept, torch.ones_like(kept))


@every_family
def test_a_family_teaches_a_small_bert_that_reads_its_tokens(family: str, reviews: Dataset) -> None:
    teacher = _encoders.small(family)
    student = bert.student(teacher, bert.Size(layers=1, hidden=8, heads=2), reviews)
    assert student.family == "bert"
    assert student.encoder.to_json() == teacher.encoder.to_json()
    words: Any = teacher.module.get_submodule(_encoders.described(family).words)
    ours = student.module.get_parameter("bert.embeddings.word_embeddings.weight")
    basis = torch.linalg.lstsq(words.weight, ours).solution
    torch.testing.assert_close(words.weight @ basis, ours, atol=2e-3, rtol=2e-3)
    form = inference_form(student)
    inputs = inputs_of(student, ROWS[1])
    with torch.inference_mode():
        expected = output_of(student.module, inputs)
        torch.testing.assert_close(output_of(form, inputs), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", ["albert", "electra"])
def test_a_student_may_be_wider_than_its_teachers_tables(family: str, reviews: Dataset) -> None:
    teacher = _encoders.small(family)
    student = bert.student(teacher, bert.Size(layers=1, hidden=16, heads=2), reviews)
    table = student.module.get_parameter("bert.embeddings.word_embeddings.weight")
    assert table[:, :12].abs().sum(0).all()
    assert not table[:, 12:].any()
    with pytest.raises(SettingError, match="hidden 24 exceeds its teacher's 16"):
        bert.student(teacher, bert.Size(layers=1, hidden=24, heads=2), reviews)


@every_family
def test_a_folder_is_trained_and_is_a_student(
    family: str, folder_of: Callable[[str], Path], reviews: Dataset, tmp_path: Path
) -> None:
    options = {"max_length": str(_encoders.MAX_LENGTH)}
    chosen = students.choose(str(folder_of(family)), options)
    student = students.untrained(chosen, _encoders.small(family), reviews, seed=0)
    assert student.family == family
    before = student.module.state_dict()
    settings = TrainingSettings(epochs=1, precision="fp32", device="cpu", learning_rate=1e-3)
    after = baselines.trained(chosen, reviews, settings, tmp_path).module.state_dict()
    assert before.keys() == after.keys()
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert any("layer" in name for name in changed)
    assert f"{_encoders.described(family).kind.output}.weight" in changed


@pytest.mark.parametrize(
    "family",
    [
        pytest.param(name, marks=() if name in EXPORTED else pytest.mark.slow)
        for name in _encoders.ENCODERS
    ],
)
def test_a_bundle_answers_as_the_model(family: str, reviews: Dataset, tmp_path: Path) -> None:
    layers = 2 if family in TWO_LAYERS else 1
    model = _encoders.small(family, layers=layers)
    model.data = {"reference": reviews.name, "fingerprint": reviews.fingerprint}
    artifact.save(model, tmp_path / "model")
    inputs = [_bundles.texts(model, *shape) for shape in _bundles.SHAPES if max(shape) < 24]
    expected = [_bundles.module_answers(model, arrays) for arrays in inputs]
    with source_of(tmp_path / "model", reviews, ExportOptions(max_batch=8)) as source:
        for target in TARGETS:
            if importlib.util.find_spec(NEEDED[target]) is None:
                continue
            bundle = flow.export(source, target, tmp_path / target, force=False)
            if target == "tensorrt":
                continue  # it runs on a GPU alone
            for result, reference in zip(
                _bundles.answers_of(bundle, inputs), expected, strict=True
            ):
                np.testing.assert_allclose(result, reference, atol=1e-4)


@every_family
def test_its_layers_are_quantized(family: str, reviews: Dataset, tmp_path: Path) -> None:
    model = _encoders.small(family)
    inputs = inputs_of(model, ROWS[1])
    with torch.inference_mode():
        expected = output_of(model.module, inputs)
    settings = TrainingSettings(epochs=1, precision="fp32", device="cpu")
    work: Work = work_for(
        reviews, (), settings, tmp_path, tmp_path, lambda name: artifact.load(Path(name)), run=""
    )
    Static(samples=16).apply(model, work)
    layers = [part for part in model.module.modules() if isinstance(part, QuantizedLayer)]
    assert len(layers) >= 7, "the layers and the head"
    with torch.inference_mode():
        result = output_of(model.module.eval(), inputs)
    assert 0 < (result - expected).abs().max() < 0.3 * expected.abs().max()


@pytest.mark.slow
@pytest.mark.parametrize("family", TWO_LAYERS)
def test_a_quantized_bundle_answers_as_the_quantized_model(
    family: str, reviews: Dataset, tmp_path: Path
) -> None:
    model = _encoders.small(family)
    model.data = {"reference": reviews.name, "fingerprint": reviews.fingerprint}
    settings = TrainingSettings(epochs=1, precision="fp32", device="cpu")
    work = work_for(
        reviews, (), settings, tmp_path, tmp_path, lambda name: artifact.load(Path(name)), run=""
    )
    record = Static(samples=16).apply(model, work)
    model.steps.append(AppliedStep("quantize/static", {}, record, 0, 0.0))
    artifact.save(model, tmp_path / "model")
    with source_of(tmp_path / "model", reviews, ExportOptions(allow_slower=True)) as source:
        for target in TARGETS[:2]:
            bundle = flow.export(source, target, tmp_path / target, force=False)
            assert bundle.manifest.parity["agreement"] >= 0.99


# folders that cannot be loaded


def test_an_unknown_type_is_refused_with_the_types_that_are_possible(tmp_path: Path) -> None:
    folder = _encoders.saved("distilbert", tmp_path / "unknown")
    _folders.changed(folder / "config.json", model_type="gpt2")
    with pytest.raises(
        ArtifactError, match=r"'gpt2' model; .* types albert, bert, .*distilbert, .*mpnet"
    ):
        baselines.choose(str(folder), {})


def test_a_config_without_a_type_is_refused_with_the_types_that_are_possible(
    tmp_path: Path,
) -> None:
    folder = _encoders.saved("distilbert", tmp_path / "untyped")
    _folders.changed(folder / "config.json", model_type=None, architectures=None)
    with pytest.raises(ArtifactError, match=r"has no model_type; write one of .*distilbert"):
        baselines.choose(str(folder), {})


def test_a_config_without_architectures_is_enough(tmp_path: Path) -> None:
    folder = _encoders.saved("distilbert", tmp_path / "plain")
    _folders.changed(folder / "config.json", architectures=None)
    assert _encoders.loaded(folder).labels == _encoders.LABELS


@every_family
def test_weights_of_another_size_are_refused(family: str, tmp_path: Path) -> None:
    folder = _encoders.saved(family, tmp_path / "wider")
    encoder = _encoders.described(family)
    weights = load_file(folder / "model.safetensors")
    name = f"{encoder.words}.weight"
    weights[name] = weights[name][:-1].clone()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ArtifactError, match=r"weights do not fit its config.json.*has shape"):
        _encoders.loaded(folder)


@every_family
def test_a_folder_without_a_tokenizer_is_refused(family: str, tmp_path: Path) -> None:
    folder = _encoders.saved(family, tmp_path / "mute")
    for path in folder.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(ArtifactError, match="has no tokenizer: save it next to the model"):
        _encoders.loaded(folder)


@every_family
def test_a_size_out_of_range_is_refused(family: str, tmp_path: Path) -> None:
    folder = _encoders.saved(family, tmp_path / "deep")
    encoder = _encoders.described(family)
    _folders.changed(folder / "config.json", **{encoder.kind.keys.name("num_hidden_layers"): 10**6})
    with pytest.raises(ArtifactError, match=r"it must be a whole number in 1\.\.256"):
        _encoders.loaded(folder)


def test_layers_of_another_family_are_not_copied(reviews: Dataset) -> None:
    size = bert.Size(layers=1, hidden=16, heads=2, start="teacher")
    with pytest.raises(UsageError, match="is a distilbert, whose layers are no BERT's"):
        bert.student(_encoders.small("distilbert"), size, reviews)


def test_token_types_are_an_input_only_of_models_that_read_them() -> None:
    reads = TextSettings(16, columns=2)
    assert TextSettings.from_json(reads.to_json()) == reads
    names = [info.name for info in _encoders.small("distilbert", columns=2).encoder.tensors()]
    assert names == ["input_ids", "attention_mask"]


def test_entries_that_modernbert_ignores_are_read_and_others_are_refused(tmp_path: Path) -> None:
    folder = _encoders.saved("modernbert", tmp_path / "mmbert")
    _folders.changed(folder / "config.json", position_embedding_type="sans_pos", rope_scaling=None)
    expected = their_scores(folder, ROWS[1])
    np.testing.assert_allclose(our_scores(_encoders.loaded(folder), ROWS[1]), expected, atol=1e-5)
    _folders.changed(folder / "config.json", rope_scaling={"type": "linear", "factor": 2.0})
    with pytest.raises(ArtifactError, match=r"rope_scaling is .*, which bmc does not build"):
        _encoders.loaded(folder)


@pytest.mark.parametrize("family", ["distilbert", "modernbert"])
def test_an_entry_for_token_types_gives_no_types_to_a_network_without_them(
    family: str, tmp_path: Path
) -> None:
    folder = _encoders.saved(family, tmp_path / family)
    _folders.changed(folder / "config.json", type_vocab_size=2)
    path = folder / "tokenizer_config.json"
    _folders.changed(path, model_input_names=["input_ids", "token_type_ids", "attention_mask"])
    model = _encoders.loaded(folder, columns=2)
    names = [info.name for info in model.encoder.tensors()]
    assert names == ["input_ids", "attention_mask"]
    assert output_of(model.module, inputs_of(model, ROWS[2])).shape == (len(ROWS[2]), 2)


def test_positions_of_a_roberta_begin_after_the_id_of_its_padding(tmp_path: Path) -> None:
    folder = _encoders.saved("roberta", tmp_path / "roberta")
    _folders.changed(folder / "config.json", pad_token_id=50)  # of 66 positions 15 remain
    kind = _encoders.described("roberta").kind
    with pytest.raises(SettingError, match=r"has 15 positions: take --max-length 15 or less"):
        hugging_face.pretrained(str(folder), str(folder), _encoders.LABELS, TextSettings(16), kind)


DROPPING = [family for family in FAMILIES if family != "modernbert"]
SHARING = [family for family in DROPPING if _parts(family).attention and family != "albert"]


@pytest.mark.parametrize("family", SHARING)
def test_layers_that_share_their_attention_have_attentions_of_their_own(family: str) -> None:
    model = _encoders.small(family)
    record = {"what": "attention", "groups": [list(_parts(family).layers)]}
    Layers.rebuild(model, record)
    with torch.no_grad():
        view = families.network(family).view(model.module, inputs_of(model, ROWS[1]))  # type: ignore[misc]
    sizes = [len(part) for part in (view.hidden, view.attentions, view.queries, view.values)]
    assert sizes == [3, 2, 2, 2]
    assert not torch.equal(view.attentions[0], view.attentions[1])


@pytest.mark.parametrize("family", DROPPING)
def test_attentions_that_are_compared_have_no_dropout_and_training_has_it_again(
    family: str,
) -> None:
    model = _encoders.small(family)
    probabilities = [part.p for part in model.module.modules() if isinstance(part, nn.Dropout)]
    inputs = inputs_of(model, ROWS[1])
    view = families.network(family).view(model.module.train(), inputs)  # type: ignore[misc]
    sums = view.attentions[0].sum(-1)[inputs["attention_mask"].bool()[:, None].expand(-1, 2, -1)]
    torch.testing.assert_close(sums, torch.ones_like(sums))
    assert probabilities == [
        part.p for part in model.module.modules() if isinstance(part, nn.Dropout)
    ]
    assert any(probabilities)

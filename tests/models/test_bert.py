"""The BERT family: building, students, parts, and forms that only a BERT has."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bmc.data import Dataset
from bmc.errors import ArtifactError, SettingError, UnknownError, UsageError
from bmc.inputs.text import TextSettings
from bmc.model import Model
from bmc.models import bert

LABELS = ("negative", "positive")
EMBEDDING_SCALE = 20.0  # of a student, against its teacher's


def logits_of(module: Any, inputs: dict[str, Tensor]) -> Tensor:
    with torch.inference_mode():
        return module.eval()(**inputs).logits  # type: ignore[no-any-return]


def unused_positions(model: Model) -> int:
    """Return the numbers of the positions that no row is long enough for."""
    table = model.module.get_parameter("bert.embeddings.position_embeddings.weight")
    return table[model.encoder.longest()["sequence"] :].numel()


def numbers_in(module: nn.Module) -> int:
    """Count parameters, each once."""
    return sum(value.numel() for value in module.parameters())


# inference form


def test_the_form_does_not_change_the_module(make_lively: Callable[..., Model]) -> None:
    model, same = make_lively(), make_lively()
    bert.inference_form(model)
    before, after = same.module.state_dict(), model.module.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_form_answers_real_text_as_the_module(
    make_lively: Callable[..., Model], reviews: Any
) -> None:
    model = make_lively()
    encoder = model.encoder
    arrays = encoder.batch(encoder.encode(reviews.test.rows[:16]), range(16))
    inputs = {name: torch.from_numpy(array) for name, array in arrays.items()}
    assert len(set(inputs["attention_mask"].sum(dim=1).tolist())) > 4, "padding of many lengths"
    with torch.inference_mode():
        result = bert.inference_form(model)(**inputs)
    torch.testing.assert_close(result, logits_of(model.module, inputs), atol=1e-5, rtol=0)


def test_the_form_of_pairs_reads_the_token_types(make_lively: Callable[..., Model]) -> None:
    model = make_lively(2)
    form = bert.inference_form(model).eval()
    inputs = bert.examples(model.module)[0]
    zeros = torch.zeros_like(inputs["input_ids"])
    with torch.inference_mode():
        first = form(**inputs, token_type_ids=zeros)
        second = form(**inputs, token_type_ids=zeros + 1)
    assert (first - second).abs().max() > 0.01


@pytest.mark.parametrize("places", [(0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 1)])
@pytest.mark.parametrize("columns", [1, 2])
def test_a_layer_that_stands_twice_is_emitted_once(
    make_lively: Callable[..., Model], places: tuple[int, ...], columns: int
) -> None:
    model = make_lively(columns)
    layers = model.module.get_submodule("bert.encoder.layer")
    assert isinstance(layers, nn.ModuleList)
    entry = list(layers)
    model.module.get_submodule("bert.encoder").layer = nn.ModuleList(
        entry[index] for index in places
    )
    form = bert.inference_form(model).eval()
    for inputs in bert.examples(model.module):
        if columns == 2:
            inputs["token_type_ids"] = torch.ones_like(inputs["input_ids"])
        with torch.inference_mode():
            result = form(**inputs)
        torch.testing.assert_close(result, logits_of(model.module, inputs), atol=1e-5, rtol=0)
    # The form adds one segment vector to the position table and holds the types no longer.
    types = (
        0
        if columns == 2
        else model.module.get_parameter("bert.embeddings.token_type_embeddings.weight").numel()
    )
    left_out = types + unused_positions(model)
    assert numbers_in(form) == numbers_in(model.module) - left_out


def test_attention_that_two_layers_share_is_emitted_once(
    make_lively: Callable[..., Model],
) -> None:
    model = make_lively()
    first, second = model.module.get_submodule("bert.encoder.layer").children()
    second.attention.self = first.attention.self  # type: ignore[union-attr]
    form = bert.inference_form(model).eval()
    types = model.module.get_parameter("bert.embeddings.token_type_embeddings.weight").numel()
    left_out = types + unused_positions(model)
    assert numbers_in(form) == numbers_in(model.module) - left_out
    for inputs in bert.examples(model.module):
        with torch.inference_mode():
            result = form(**inputs)
        torch.testing.assert_close(result, logits_of(model.module, inputs), atol=1e-5, rtol=0)


def test_layers_of_other_head_counts_keep_their_own(make_lively: Callable[..., Model]) -> None:
    """As head pruning leaves it: one layer has one head of the two, its linears are thinner."""
    model = make_lively()
    layer = model.module.get_submodule("bert.encoder.layer.0.attention")
    inner: Any = layer.get_submodule("self")
    inner.num_attention_heads, inner.all_head_size = 1, 16
    with torch.no_grad():
        for name in ("query", "key", "value"):
            thin, old = nn.Linear(32, 16), getattr(inner, name)
            thin.weight.copy_(old.weight[:16])
            thin.bias.copy_(old.bias[:16])
            setattr(inner, name, thin)
        output: Any = layer.get_submodule("output")
        wide, output.dense = output.dense, nn.Linear(16, 32)
        output.dense.weight.copy_(wide.weight[:, :16])
    form = bert.inference_form(model).eval()
    for inputs in bert.examples(model.module):
        with torch.inference_mode():
            result = form(**inputs)
        torch.testing.assert_close(result, logits_of(model.module, inputs), atol=1e-5, rtol=0)


# students


def test_student_sizes_are_what_their_names_say() -> None:
    sizes = {name: (size.layers, size.hidden) for name, size in bert.STUDENTS.items()}
    assert sizes == {"tiny": (2, 128), "mini": (4, 256), "small": (4, 384)}


@pytest.mark.parametrize(
    ("layers", "hidden", "heads"), [(0, 8, 2), (1, 0, 2), (1, 8, -1), (-1, 8, 2), (1, 9, 2)]
)
def test_a_size_that_cannot_be_is_refused(layers: int, hidden: int, heads: int) -> None:
    with pytest.raises(SettingError):
        bert.Size(layers, hidden, heads)


def test_a_width_that_does_not_divide_gets_the_nearest_that_does() -> None:
    with pytest.raises(SettingError, match=r"try 128$"):
        bert.Size(2, 130, 4)


def test_a_student_has_the_size_that_was_asked_for(
    make_lively: Callable[..., Model], reviews: Dataset
) -> None:
    teacher = make_lively()
    student = bert.student(teacher, bert.Size(layers=1, hidden=16, heads=4), reviews)
    parts = bert.parts(student.module)
    assert parts.layers == ("bert.encoder.layer.0",)
    assert dict(parts.heads) == {"bert.encoder.layer.0.attention.self": 4}
    assert student.module.get_parameter("bert.embeddings.word_embeddings.weight").shape[1] == 16
    assert student.module.get_parameter("bert.encoder.layer.0.intermediate.dense.weight").shape == (
        64,
        16,
    )
    assert student.labels == teacher.labels
    assert student.encoder.to_json() == teacher.encoder.to_json()
    rebuilt = bert.build(json.loads(json.dumps(student.spec)))
    rebuilt.load_state_dict(student.module.state_dict(), strict=True)


def test_a_teacher_of_another_family_is_refused_with_what_can_be_done(
    model: Model, reviews: Dataset
) -> None:
    with pytest.raises(
        UsageError, match=r"is a transformer.*no embeddings of words.*start=minilm-l3"
    ):
        bert.student(
            replace(model, family="transformer"), bert.Size(layers=1, hidden=8, heads=2), reviews
        )


def test_a_student_wider_than_its_teacher_is_refused(model: Model, reviews: Dataset) -> None:
    with pytest.raises(SettingError, match="exceeds its teacher's 32"):
        bert.student(model, bert.Size(layers=1, hidden=64, heads=2, start="embeddings"), reviews)


def test_a_students_embeddings_are_the_best_low_rank_view_of_the_teachers(
    model: Model, reviews: Dataset
) -> None:
    tables = {
        name: model.module.get_parameter(f"bert.embeddings.{name}_embeddings.weight")
        for name in ("word", "position", "token_type")
    }
    torch.manual_seed(0)
    turn = torch.linalg.qr(torch.randn(32, 32)).Q
    with torch.no_grad():  # a spectrum that falls, so that the best view is one and no other
        for table in tables.values():
            table.copy_(torch.randn_like(table) * 0.8 ** torch.arange(32) @ turn)
    student = bert.student(
        model, bert.Size(layers=1, hidden=8, heads=2, start="embeddings"), reviews
    )
    right = torch.linalg.svd(tables["word"].detach(), full_matrices=False).Vh[:8]
    for name, table in tables.items():
        ours = student.module.get_parameter(f"bert.embeddings.{name}_embeddings.weight").detach()
        assert ours.shape == (len(table), 8)
        # Both are W V, up to each column's sign and one factor for all.
        expected = EMBEDDING_SCALE * table.detach() @ right.T
        torch.testing.assert_close(ours.abs(), expected.abs(), atol=1e-2, rtol=1e-3)


def test_all_embeddings_of_a_student_are_turned_by_the_same_basis(
    model: Model, reviews: Dataset
) -> None:
    """At full width the view is a rotation: inner products across tables stay as they were."""
    student = bert.student(
        model, bert.Size(layers=1, hidden=32, heads=2, start="embeddings"), reviews
    )

    def products(module: nn.Module) -> Tensor:
        tables = [
            module.get_parameter(f"bert.embeddings.{name}_embeddings.weight").detach()[:2]
            for name in ("word", "position", "token_type")
        ]
        table = torch.cat(tables)
        return table @ table.T

    scaled = EMBEDDING_SCALE**2 * products(model.module)
    torch.testing.assert_close(products(student.module), scaled)


# parts, examples


def test_parts_name_real_modules(model: Model) -> None:
    parts = bert.parts(model.module)
    assert parts.layers == ("bert.encoder.layer.0", "bert.encoder.layer.1")
    assert dict(parts.heads) == {f"{layer}.attention.self": 2 for layer in parts.layers}
    assert len(parts.embeddings) == 3
    for name in parts.embeddings:
        assert isinstance(model.module.get_submodule(name), nn.Embedding)
    outputs = [model.module.get_submodule(name) for name in parts.outputs]
    assert [getattr(output, "out_features", None) for output in outputs] == [len(LABELS)]


def test_examples_differ_in_shape_and_have_padding(model: Model) -> None:
    first, second = bert.examples(model.module)
    assert first["input_ids"].shape[0] != second["input_ids"].shape[0]
    assert first["input_ids"].shape[1] != second["input_ids"].shape[1]
    for example in (first, second):
        assert 0 < int(example["attention_mask"].sum()) < example["attention_mask"].numel()
        logits_of(model.module, example)


# pretrained


def test_a_local_hugging_face_folder_is_taken_with_its_weights(
    hf_folder: Path, make_lively: Callable[..., Model]
) -> None:
    loaded = bert.pretrained(str(hf_folder), ("a", "b", "c"), TextSettings(max_length=16))
    reference = make_lively().module.state_dict()
    ours = loaded.module.state_dict()
    kept = [name for name in reference if not name.startswith("classifier")]
    assert all(torch.equal(ours[name], reference[name]) for name in kept)
    assert ours["classifier.weight"].shape == (3, 32)
    assert loaded.module.config.id2label == {0: "a", 1: "b", 2: "c"}  # type: ignore[union-attr]
    bert.build(json.loads(json.dumps(loaded.spec))).load_state_dict(ours, strict=True)


def copied(folder: Path, to: Path, **config: Any) -> Path:
    to.mkdir()
    for file in folder.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    whole = json.loads((to / "config.json").read_text())
    (to / "config.json").write_text(json.dumps({**whole, **config}))
    return to


def test_pickled_weights_are_not_read(hf_folder: Path, tmp_path: Path) -> None:
    folder = copied(hf_folder, tmp_path / "pickled")
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(ArtifactError, match="pickled weights are not read"):
        bert.pretrained(str(folder), LABELS, TextSettings())


def test_damaged_weights_are_refused(hf_folder: Path, tmp_path: Path) -> None:
    folder = copied(hf_folder, tmp_path / "damaged")
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(ArtifactError, match="damaged"):
        bert.pretrained(str(folder), LABELS, TextSettings())


def test_a_config_that_is_no_json_is_refused(hf_folder: Path, tmp_path: Path) -> None:
    folder = copied(hf_folder, tmp_path / "damaged")
    (folder / "config.json").write_text("{")
    with pytest.raises(ArtifactError, match=r"config.json"):
        bert.pretrained(str(folder), LABELS, TextSettings())


def test_another_kind_of_model_is_refused(hf_folder: Path, tmp_path: Path) -> None:
    folder = copied(hf_folder, tmp_path / "gpt", model_type="gpt2")
    with pytest.raises(ArtifactError, match="'gpt2'"):
        bert.pretrained(str(folder), LABELS, TextSettings())


def test_more_tokens_than_positions_are_refused(hf_folder: Path) -> None:
    with pytest.raises(SettingError, match="128 positions"):
        bert.pretrained(str(hf_folder), LABELS, TextSettings(max_length=129))


def test_a_folder_without_config_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(UnknownError, match=r"it has no config.json"):
        bert.pretrained(str(tmp_path), LABELS, TextSettings())


def with_types(hf_folder: Path, to: Path, rows: int) -> Path:
    """Copy the folder as one of a single token type, whose table has some rows."""
    folder = copied(hf_folder, to, type_vocab_size=1)
    weights = load_file(folder / "model.safetensors")
    name = "bert.embeddings.token_type_embeddings.weight"
    weights[name] = weights[name][:rows].clone()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_pairs_need_a_model_with_two_token_types(hf_folder: Path, tmp_path: Path) -> None:
    folder = with_types(hf_folder, tmp_path / "one-type", rows=1)
    created = bert.pretrained(str(folder), LABELS, TextSettings(columns=1))
    assert created.encoder.to_json()["columns"] == 1
    with pytest.raises(SettingError, match="sentence pairs need two"):
        bert.pretrained(str(folder), LABELS, TextSettings(columns=2))


def test_weights_that_do_not_fit_their_config_are_refused(hf_folder: Path, tmp_path: Path) -> None:
    folder = with_types(hf_folder, tmp_path / "one-type", rows=2)
    with pytest.raises(ArtifactError, match="token_type_embeddings"):
        bert.pretrained(str(folder), LABELS, TextSettings())


def test_weights_that_lack_a_layer_are_refused(hf_folder: Path, tmp_path: Path) -> None:
    folder = copied(hf_folder, tmp_path / "deeper", num_hidden_layers=3)
    with pytest.raises(ArtifactError, match=r"encoder.layer.2"):
        bert.pretrained(str(folder), LABELS, TextSettings())


def test_a_tokenizer_file_whose_own_steps_transformers_replaces_is_said_with_the_way_out(
    hf_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(hf_folder, tmp_path / "folder"))
    bert.pretrained(str(folder), ("a", "b"), TextSettings(24))
    assert "in another way" not in capsys.readouterr().err
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    replacing = {"type": "Replace", "pattern": {"String": "Great"}, "content": "fine"}
    content["normalizer"] = {"type": "Sequence", "normalizers": [replacing, content["normalizer"]]}
    path.write_text(json.dumps(content))
    bert.pretrained(str(folder), ("a", "b"), TextSettings(24))
    said = " ".join(capsys.readouterr().err.split())
    assert "splits 'A Great film' in another way than its tokenizer.json does" in said
    config = folder / "tokenizer_config.json"
    settings = json.loads(config.read_text()) if config.exists() else {}
    config.write_text(json.dumps({**settings, "tokenizer_class": "PreTrainedTokenizerFast"}))
    model = bert.pretrained(str(folder), ("a", "b"), TextSettings(24))
    assert "in another way" not in capsys.readouterr().err
    encoder = model.encoder
    great, fine = (encoder.encode([(f"a {word} film",)])[0].ids for word in ("Great", "fine"))
    assert great == fine

"""Students that start from layers of a larger BERT, cut to size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bmc import artifact
from bmc.data import Dataset
from bmc.errors import SettingError, UsageError
from bmc.inference.form import become_inference_form
from bmc.inputs.text import TextEncoder
from bmc.model import AppliedStep, Model, output_of
from bmc.models import bert, ngram
from bmc.models.bert_students import layers_of
from bmc.training.batches import Rows
from bmc.training.loop import outputs_of
from bmc.workflows import students

Make = Callable[..., Model]
WHOLE = bert.Size(layers=2, hidden=32, intermediate=64, start="teacher")


def logits_of(model: Model, data: Dataset) -> Tensor:
    rows = Rows(data.validation.rows, data.validation.labels, model.encoder)
    return torch.from_numpy(outputs_of(model.module, rows))


def test_a_student_of_its_teachers_size_answers_as_the_teacher_does(
    make_lively: Make, reviews: Dataset
) -> None:
    """Nothing is cut: projections are the identity, and fitted norms are the teacher's own."""
    teacher = make_lively()
    student = bert.student(teacher, WHOLE, reviews)
    torch.testing.assert_close(
        logits_of(student, reviews), logits_of(teacher, reviews), atol=1e-3, rtol=0
    )


def test_a_narrower_student_starts_nearer_to_its_teacher_than_a_fresh_one(
    make_lively: Make, reviews: Dataset
) -> None:
    teacher = make_lively()
    expected = logits_of(teacher, reviews)

    def distance(start: str) -> float:
        torch.manual_seed(0)
        size = replace(WHOLE, hidden=16, heads=1, intermediate=48, start=start)
        return float((logits_of(bert.student(teacher, size, reviews), reviews) - expected).std())

    assert distance("teacher") < distance("embeddings")


def test_the_mean_over_a_narrow_streams_axes_is_zero(make_lively: Make, reviews: Dataset) -> None:
    """A layer norm takes that mean away, which would be a part of what the projection kept."""
    student = bert.student(make_lively(), replace(WHOLE, hidden=16, heads=1), reviews)
    words: Any = student.module.get_submodule("bert.embeddings.word_embeddings")
    table = words.weight.detach()
    assert float(table.mean(1).abs().max()) < 1e-5 * float(table.abs().max())


def test_a_student_keeps_its_teachers_classes_in_the_datas_order(
    make_lively: Make, reviews: Dataset
) -> None:
    teacher = make_lively()
    turned = replace(reviews, labels=tuple(reversed(reviews.labels)))
    student = bert.student(teacher, WHOLE, turned)
    expected = logits_of(teacher, reviews).flip(1)
    torch.testing.assert_close(logits_of(student, reviews), expected, atol=1e-3, rtol=0)


def test_a_student_that_was_cut_loads_again(
    make_lively: Make, reviews: Dataset, tmp_path: Any
) -> None:
    student = bert.student(make_lively(), replace(WHOLE, layers=1, hidden=16), reviews)
    loaded = artifact.load(artifact.save(student, tmp_path / "student"))
    expected = logits_of(student, reviews)
    torch.testing.assert_close(logits_of(loaded, reviews), expected, atol=1e-5, rtol=0)


def test_a_regressions_student_keeps_the_units_of_its_teacher(
    make_lively: Make, reviews: Dataset
) -> None:
    """A fresh head is moved to where the labels are; the teacher's is there already."""
    teacher = make_lively()
    spec = {**teacher.spec, "id2label": {"0": "value"}, "label2id": {"value": 0}}
    module = bert.build(spec)
    teacher = replace(teacher, module=module, spec=spec, labels=(), task="regression")
    train = replace(reviews.train, labels=[1000.0 + index for index in range(len(reviews.train))])
    data = replace(reviews, labels=(), task="regression", train=train)
    chosen = students.choose("tiny", {"start": "teacher", "hidden": 32, "intermediate": 64})
    student = students.untrained(chosen, teacher, data, seed=0)
    inputs, _ = bert.examples(teacher.module)
    with torch.inference_mode():
        expected = output_of(teacher.module.eval(), inputs)
        torch.testing.assert_close(output_of(student.module, inputs), expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("copied", "words"),
    [(("0", "6"), "0 to 5"), (("-1", "0"), "0 to 5"), (("a", "b"), "0 to 5"), (("1",), "1 layers")],
)
def test_a_layer_map_that_cannot_be_is_refused(copied: tuple[str, ...], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        layers_of(bert.Size(layers=2, copied=copied), 6)


@pytest.mark.parametrize(
    ("layers", "there", "expected"),
    [(2, 6, [2, 5]), (3, 6, [1, 3, 5]), (4, 6, [1, 2, 3, 5]), (6, 6, [0, 1, 2, 3, 4, 5])],
)
def test_copied_layers_are_spaced_evenly_and_end_with_the_last(
    layers: int, there: int, expected: list[int]
) -> None:
    assert layers_of(bert.Size(layers=layers), there) == expected


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"layers": 3}, "3 layers cannot be copied from 2"),
        ({"hidden": 64}, "exceeds its teacher's 32"),
        ({"hidden": 24, "heads": 3}, "3 heads of hidden 24 are not of 16 units"),
        ({"intermediate": 65}, "intermediate 65 exceeds the 64"),
    ],
)
def test_a_student_larger_than_what_is_copied_is_refused(
    change: dict[str, Any], words: str, make_lively: Make, reviews: Dataset
) -> None:
    with pytest.raises(SettingError, match=words):
        bert.student(make_lively(), replace(WHOLE, **change), reviews)


def test_a_teacher_whose_layers_were_changed_is_refused_with_other_starts(
    make_lively: Make, reviews: Dataset
) -> None:
    teacher = make_lively()
    teacher.steps = [AppliedStep("prune/structured", {}, {"bert": {"out": 1}}, 0, 1.0)]
    with pytest.raises(UsageError, match=r"changed by prune/structured.*start=embeddings"):
        bert.student(teacher, WHOLE, reviews)


def test_a_teacher_of_another_family_has_no_layers_to_copy(
    make_lively: Make, reviews: Dataset
) -> None:
    with pytest.raises(UsageError, match="is a mpnet, whose layers are no BERT's"):
        bert.student(replace(make_lively(), family="mpnet"), WHOLE, reviews)


def test_a_student_can_start_from_a_checkpoint_of_the_users(
    make_lively: Make, hf_folder: Any, reviews: Dataset
) -> None:
    size = bert.Size(layers=1, hidden=16, intermediate=32, start=str(hf_folder))
    student = bert.student(make_lively(), size, reviews)
    assert student.labels == reviews.labels
    assert student.module.get_parameter("bert.pooler.dense.weight").shape == (16, 16)


def test_a_checkpoint_without_a_tokenizer_is_refused(
    make_lively: Make, hf_folder: Any, reviews: Dataset, tmp_path: Any
) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("config.json", "model.safetensors"):
        (bare / name).write_bytes((hf_folder / name).read_bytes())
    with pytest.raises(Exception, match="tokenizer"):
        bert.student(make_lively(), replace(WHOLE, start=str(bare)), reviews)


def test_a_student_starts_from_its_teachers_layers_where_they_fit_and_says_where_not(
    make_lively: Make, reviews: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher = make_lively()
    fits = replace(WHOLE, start="auto")
    torch.testing.assert_close(
        logits_of(bert.student(teacher, fits, reviews), reviews),
        logits_of(teacher, reviews),
        atol=1e-3,
        rtol=0,
    )
    assert "embeddings alone" not in capsys.readouterr().err
    student = bert.student(teacher, replace(fits, layers=3), reviews)
    assert len(bert.parts(student.module).layers) == 3
    assert "embeddings alone (3 layers cannot be copied from 2)" in capsys.readouterr().err


def test_named_layers_that_are_not_there_are_refused(make_lively: Make, reviews: Dataset) -> None:
    with pytest.raises(SettingError, match="0 to 1"):
        bert.student(make_lively(), bert.Size(layers=1, hidden=16, copied=("2",)), reviews)


def test_a_student_of_ngrams_starts_from_a_pretrained_bert(
    hf_folder: Path, reviews: Dataset
) -> None:
    teacher = ngram.baseline("ngram", reviews, ngram.Settings(buckets=50))
    size = bert.Size(layers=1, hidden=16, heads=1, intermediate=8, start=str(hf_folder))
    student = bert.student(teacher, size, reviews)
    assert isinstance(student.encoder, TextEncoder)
    assert student.labels == reviews.labels


def test_the_layers_of_ngrams_are_refused_with_the_start_that_remains(reviews: Dataset) -> None:
    teacher = ngram.baseline("ngram", reviews, ngram.Settings(buckets=50))
    with pytest.raises(UsageError, match=r"whose layers are no BERT's: --set start=minilm-l3$"):
        bert.student(teacher, replace(WHOLE, start="teacher"), reviews)


def test_a_start_is_measured_on_a_bounded_number_of_tokens_however_long_the_rows_are(
    make_lively: Make, reviews: Dataset
) -> None:
    teacher, tokens = make_lively(), list[int]()
    long_rows = tuple((f"{text} " * 20,) for (text,) in reviews.train.rows) * 3
    long_data = replace(reviews, train=replace(reviews.train, rows=long_rows))

    def count(_: Any, __: Any, inputs: dict[str, Tensor]) -> None:
        tokens.append(int(inputs["attention_mask"].sum()))

    teacher.module.register_forward_pre_hook(count, with_kwargs=True)
    bert.student(teacher, WHOLE, long_data)
    encoder = teacher.encoder
    assert sum(encoder.lengths(encoder.encode(long_rows[:512]))) > 20_000
    assert 15_000 < sum(tokens) <= 16_384


def test_a_quantized_teacher_has_no_weights_to_start_from(
    make_lively: Make, reviews: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher = make_lively()
    become_inference_form(teacher)
    for start in ("teacher", "embeddings"):
        with pytest.raises(UsageError, match=r"name that model, or --set start=minilm-l3$"):
            bert.student(teacher, replace(WHOLE, start=start), reviews)
    with pytest.raises(UsageError, match="a start with layers for this student"):
        bert.student(teacher, bert.Size(layers=8, hidden=128, start="auto"), reviews)
    for layers, start in ((2, "minilm-l3"), (4, "minilm")):
        size = bert.Size(layers=layers, hidden=128, start="auto")
        student = bert.student(teacher, size, reviews)
        assert f"the student starts from {start} (" in capsys.readouterr().err
        assert logits_of(student, reviews).isfinite().all()

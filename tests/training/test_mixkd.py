"""Mixed texts: what is mixed, what student and teacher compute, and who cannot compute it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bmc.compress.distill.logits import Logits
from bmc.data import Dataset, Examples
from bmc.errors import UsageError
from bmc.inputs.text import TextEncoder
from bmc.model import Model, Work, output_of
from bmc.models import bert, ngram
from bmc.training.batches import Batch, Rows
from bmc.training.bundle_network import load_bundle
from bmc.training.loop import logits_of
from bmc.training.mixkd import MixedTexts, check_models, mixed_inputs
from bmc.training.settings import TrainingSettings
from bmc.training.work import work_for

Make = Callable[..., Model]
SETTINGS = TrainingSettings(
    epochs=4, learning_rate=3e-3, batch_size=16, precision="fp32", device="cpu", augment=("mixkd",)
)


def inputs_of(lengths: tuple[int, ...]) -> dict[str, Tensor]:
    """Return padded rows of these lengths; the ids say row and position, the padding is 0."""
    longest = max(lengths)
    ids = torch.arange(longest) + 100 * torch.arange(1, len(lengths) + 1)[:, None]
    mask = (torch.arange(longest) < torch.tensor(lengths)[:, None]).long()
    return {"input_ids": ids * mask, "attention_mask": mask}


def test_where_one_of_two_texts_has_ended_the_other_stands_alone() -> None:
    inputs = inputs_of((5, 2, 3))
    torch.manual_seed(0)
    mixed = mixed_inputs(inputs)
    partners = mixed.mixing.partners.tolist()
    assert sorted(partners) == [0, 1, 2]
    lengths = inputs["attention_mask"].sum(dim=1).tolist()
    for row, partner in enumerate(partners):
        own, other = (inputs["input_ids"][index, : lengths[index]] for index in (row, partner))
        longest = max(len(own), len(other))
        assert int(mixed.inputs["attention_mask"][row].sum()) == longest
        for position in range(longest):
            first = own if position < len(own) else other
            second = other if position < len(other) else own
            assert mixed.inputs["input_ids"][row, position] == first[position]
            assert mixed.others[row, position] == second[position]
    assert 0 <= mixed.mixing.share <= 1


def test_the_types_of_a_pair_follow_the_words() -> None:
    inputs = inputs_of((4, 2))
    inputs["token_type_ids"] = torch.tensor([[0, 0, 1, 1], [0, 1, 0, 0]])
    torch.manual_seed(1)
    mixed = mixed_inputs(inputs)
    assert mixed.mixing.partners.tolist() == [1, 0]
    assert mixed.inputs["token_type_ids"].tolist() == [[0, 0, 1, 1], [0, 1, 1, 1]]


def test_a_seed_decides_and_most_mixtures_are_mainly_one_text() -> None:
    inputs, shares = inputs_of((3, 4)), []
    for seed in range(200):
        torch.manual_seed(seed)
        shares.append(mixed_inputs(inputs).mixing.share)
    torch.manual_seed(199)
    assert mixed_inputs(inputs).mixing.share == shares[-1]
    assert sum(not 0.2 < share < 0.8 for share in shares) > 100


def of_embeddings(model: Model, mixed: Any) -> Tensor:
    """Return the outputs of a BERT that is given the mixed word embeddings themselves."""
    module: Any = model.module
    words, share = module.bert.embeddings.word_embeddings, mixed.mixing.share
    with torch.no_grad():
        vectors = share * words(mixed.inputs["input_ids"]) + (1 - share) * words(mixed.others)
        mask = mixed.inputs["attention_mask"]
        result: Tensor = module.eval()(inputs_embeds=vectors, attention_mask=mask).logits
    return result


def test_student_and_teacher_compute_the_same_mixture_and_later_texts_as_they_are(
    make_lively: Make,
) -> None:
    student, teacher = make_lively(layers=1), make_lively()
    inputs = inputs_of((6, 4, 2))
    plain = [output_of(model.module.eval(), inputs).detach() for model in (student, teacher)]
    rows = torch.arange(3)
    with MixedTexts(student, "cpu") as texts:
        answers = texts.answers_of("teacher", teacher)
        torch.manual_seed(3)
        outputs = texts.outputs(inputs).detach()
        mixed = texts.batch(Batch(inputs, rows, rows))
        torch.manual_seed(3)
        expected = mixed_inputs(inputs)
        torch.testing.assert_close(outputs, of_embeddings(student, expected), atol=1e-5, rtol=0)
        torch.testing.assert_close(
            answers(mixed), of_embeddings(teacher, expected), atol=0.06, rtol=0.02
        )  # bf16
        assert mixed.mixing is not None
        assert mixed.mixing.share == expected.mixing.share
        assert (outputs - plain[0]).abs().max() > 0.05
        between = output_of(student.module.eval(), inputs).detach()  # as when an epoch is scored
        torch.testing.assert_close(between, plain[0])
    for model, before in zip((student, teacher), plain, strict=True):
        torch.testing.assert_close(output_of(model.module.eval(), inputs).detach(), before)
        tables = [part for part in model.module.modules() if isinstance(part, torch.nn.Embedding)]
        assert not any(table._forward_hooks for table in tables)


def few(data: Dataset) -> Dataset:
    return replace(data, train=Examples(data.train.rows[:64], data.train.labels[:64]))


def work_with(data: Dataset, path: Path, models: dict[str, Model]) -> Work:
    return work_for(few(data), (), SETTINGS, path / "run", path / "cache", models.__getitem__, "")


def test_a_student_comes_nearer_to_two_teachers_that_answer_every_mixture(
    make_lively: Make, reviews: Dataset, tmp_path: Path
) -> None:
    teachers = {"a": make_lively(), "b": make_lively()}
    with torch.no_grad():
        teachers["b"].module.get_parameter("classifier.bias").add_(0.1)
    torch.manual_seed(0)
    size = bert.Size(layers=1, hidden=16, heads=2, start="embeddings")
    student = bert.student(teachers["a"], size, reviews)
    step = Logits("a", "0" * 64, hard=0.25, more_teachers=(("b", "1" * 64),))

    def distance() -> float:
        rows = Rows(few(reviews).train.rows, (), student.encoder)
        indices = list(range(len(rows)))
        ours, theirs = (
            logits_of(model.module, rows, indices, "fp32", "cpu")
            for model in (student, teachers["a"])
        )
        return step.soft_loss(ours, theirs).item()

    before = distance()
    assert step.apply(student, work_with(reviews, tmp_path, teachers)) == {}
    assert distance() < 0.9 * before
    assert not list((tmp_path / "cache").glob("teacher-*"))


def test_a_bundle_cannot_teach_mixtures(
    make_lively: Make, bundle_of: Callable[[str], Path]
) -> None:
    bundle = load_bundle(bundle_of("onnx"))
    with pytest.raises(UsageError, match=r"teacher some-bundle is a bundle, which takes token ids"):
        check_models(make_lively(), "some-bundle", bundle)


def test_a_teacher_of_other_tokens_or_lengths_is_refused(make_lively: Make) -> None:
    teacher, student = make_lively(), make_lively()
    assert isinstance(teacher.encoder, TextEncoder)
    shorter = replace(teacher.encoder.settings, max_length=32)
    teacher.encoder = TextEncoder(teacher.encoder.tokenizer, shorter)
    with pytest.raises(UsageError, match=r"teacher long reads other tokens, or texts of another l"):
        check_models(student, "long", teacher)


def test_a_model_without_plain_word_embeddings_is_refused(
    make_lively: Make, reviews: Dataset
) -> None:
    hashed = ngram.baseline("ngram", reviews, ngram.Settings(buckets=64))
    with pytest.raises(UsageError, match=r"this ngram has none that are plain.*leave mixkd out"):
        MixedTexts(hashed, "cpu")
    size = bert.Size(layers=1, hidden=16, heads=1, ngrams=64)
    student = bert.student(make_lively(), size, reviews)
    with pytest.raises(UsageError, match=r"this bert has n-grams.*or train without ngrams"):
        check_models(student, "teacher", make_lively())

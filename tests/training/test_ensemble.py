"""Several teachers as one: means and weights with known values, and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bmc import data as datasets
from bmc.contracts import families
from bmc.data import Examples
from bmc.errors import UsageError
from bmc.inputs.image import ImageEncoder, ImageSettings
from bmc.model import Model
from bmc.training.augment import augmented_batch
from bmc.training.batches import Rows
from bmc.training.ensemble import Ensemble, weights_of_classes, weights_of_values
from bmc.training.settings import TrainingSettings
from bmc.training.work import work_for

TEACHERS = (("a", "a" * 64), ("b", "b" * 64))
LOGITS = [torch.tensor([[math.log(3), 0.0]]), torch.tensor([[0.0, math.log(3)]])]


def test_the_mean_of_probabilities_equals_a_value_computed_by_hand() -> None:
    """With weights 3/4 and 1/4, probabilities (3/4, 1/4) and (1/4, 3/4) have mean (5/8, 3/8)."""
    mean = Ensemble(TEACHERS).combined(LOGITS, torch.tensor([0.75, 0.25]))
    torch.testing.assert_close(mean.softmax(1), torch.tensor([[0.625, 0.375]]))


def test_the_mean_of_logits_is_their_mean() -> None:
    mean = Ensemble(TEACHERS, average="logits").combined(LOGITS, torch.tensor([0.75, 0.25]))
    expected = torch.tensor([[0.75 * math.log(3), 0.25 * math.log(3)]])
    torch.testing.assert_close(mean, expected)


def test_the_mean_of_values_is_weighted_also_where_probabilities_are_the_default() -> None:
    values = [torch.tensor([[1.0]]), torch.tensor([[5.0]])]
    mean = Ensemble(TEACHERS).combined(values, torch.tensor([0.75, 0.25]))
    assert mean.tolist() == [[2.0]]


def test_the_weights_make_the_labels_most_likely() -> None:
    """Four rows, of which the first teacher gives three, and the second one, probability 0.9.

    The likelihood (0.1 + 0.8 w)^3 (0.9 - 0.8 w) is largest at w = 0.8125.
    """
    sure = math.log(9)
    first = torch.tensor([[sure, 0.0]] * 3 + [[0.0, sure]])
    weights = weights_of_classes(torch.stack([first, -first]), torch.zeros(4, dtype=torch.int64))
    torch.testing.assert_close(weights, torch.tensor([0.8125, 0.1875]), atol=1e-3, rtol=0)


def test_values_are_weighted_by_the_inverse_of_their_squared_errors() -> None:
    values = torch.tensor([[[1.0], [3.0]], [[2.0], [4.0]]])
    weights = weights_of_values(values, torch.tensor([0.0, 2.0]))
    torch.testing.assert_close(weights, torch.tensor([0.8, 0.2]))


def network(seed: int, labels: tuple[str, ...] | None = None) -> Model:
    torch.manual_seed(seed)
    data = datasets.load("digits")
    data = replace(data, labels=labels or data.labels)
    return families.network("mlp").baseline("mlp", data, families.family("mlp").settings(width=8))


def test_logits_are_ordered_as_the_students_classes_and_cached_by_teacher(tmp_path: Path) -> None:
    data = datasets.load("digits")
    few = replace(data, train=Examples(data.train.rows[:8], data.train.labels[:8]))
    turned = tuple(reversed(data.labels))
    models = {"a": network(1), "b": network(2, turned)}
    settings = TrainingSettings(precision="fp32", device="cpu")
    work = work_for(few, (), settings, tmp_path, tmp_path, models.__getitem__, run="")
    answers = Ensemble(TEACHERS, average="logits").answers(network(0), work, ())
    batch = Rows(few.train.rows, few.train.labels, models["a"].encoder).batch(range(8))
    with torch.no_grad():
        first, second = (models[name].module(**batch.inputs) for name in "ab")
    expected = (first + second.flip(1)) / 2
    torch.testing.assert_close(answers(batch), expected, atol=0.05, rtol=0)  # bf16
    assert sorted(path.name for path in tmp_path.glob("teacher-*")) == [
        "teacher-aaaaaaaaaaaaaaaa",
        "teacher-bbbbbbbbbbbbbbbb",
    ]


def test_a_teacher_of_augmented_images_gets_the_normalization_of_its_own_encoder(
    tmp_path: Path,
) -> None:
    data = datasets.load("digits")
    few = replace(data, train=Examples(data.train.rows[:8], data.train.labels[:8]))
    teacher, student = network(1), network(0)
    teacher.encoder = ImageEncoder(ImageSettings(8, 8, 1, (0.9,), (0.1,)))
    settings = TrainingSettings(precision="fp32", device="cpu", augment=("flip",))
    work = work_for(few, (), settings, tmp_path, tmp_path, lambda _: teacher, run="")
    answers = Ensemble(TEACHERS[:1]).answers(student, work, ())
    batches = [
        Rows(few.train.rows, few.train.labels, each.encoder).batch(range(8))
        for each in (student, teacher)
    ]
    with torch.no_grad():
        expected = teacher.module(**batches[1].inputs)
    torch.testing.assert_close(answers(batches[0]), expected, atol=0.05, rtol=0.02)  # bf16


def test_a_teacher_answers_the_mixed_images_that_its_student_sees(tmp_path: Path) -> None:
    data = datasets.load("digits")
    few = replace(data, train=Examples(data.train.rows[:8], data.train.labels[:8]))
    teacher, student = network(1), network(0)
    names = ("mixup", "cutmix")
    settings = TrainingSettings(precision="fp32", device="cpu", augment=names)
    work = work_for(few, (), settings, tmp_path, tmp_path, lambda _: teacher, run="")
    answers = Ensemble(TEACHERS[:1]).answers(student, work, ())
    batch = Rows(few.train.rows, few.train.labels, student.encoder).batch(range(8))
    mixed = augmented_batch(batch, names)
    with torch.no_grad():
        expected, unmixed = (teacher.module(**each.inputs) for each in (mixed, batch))
    torch.testing.assert_close(answers(mixed), expected, atol=0.05, rtol=0.02)  # bf16
    assert (expected - unmixed).abs().max() > 0.1
    assert not list(tmp_path.glob("teacher-*"))


def test_a_teacher_of_other_classes_is_refused_by_name(tmp_path: Path) -> None:
    data = datasets.load("digits")
    others = tuple(f"digit {label}" for label in data.labels)
    models = {"a": network(1), "b": network(2, others)}
    settings = TrainingSettings(device="cpu")
    work = work_for(data, (), settings, tmp_path, tmp_path, models.__getitem__, run="")
    with pytest.raises(UsageError, match=r"the teacher b answers digit 0.*same classes"):
        Ensemble(TEACHERS).answers(network(0), work, ())

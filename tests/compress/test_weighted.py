"""Distillation from several signals: what is compared, what is refused, what is left afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bmc import artifact
from bmc.compress.distill.weighted import Weighted, layer_map, names
from bmc.contracts import families
from bmc.contracts.signals import signal
from bmc.data import Dataset, Examples
from bmc.errors import SettingError, UnknownError, UsageError
from bmc.inputs.text import TextEncoder
from bmc.model import Model, Work
from bmc.models import bert
from bmc.training.settings import TrainingSettings
from bmc.training.work import work_for
from bmc.workflows.tuning import Distillation

Make = Callable[..., Model]
QUICK = TrainingSettings(
    epochs=10, learning_rate=1e-2, batch_size=16, precision="fp32", device="cpu", keep="last"
)


def step(**settings: Any) -> Weighted:
    return Weighted("teacher", "0" * 64, **settings)


def work_with(teacher: Model, data: Dataset, place: Path) -> Work:
    train = Examples(data.train.rows[:64], data.train.labels[:64])
    few = replace(data, train=train)
    return work_for(few, (), QUICK, place, place, lambda name: teacher, run="")


def student_of(teacher: Model, data: Dataset) -> Model:
    torch.manual_seed(0)
    return bert.student(teacher, bert.Size(layers=1, hidden=16, heads=2, start="embeddings"), data)


def distance(name: str, student: Model, teacher: Model, work: Work) -> float:
    """Return a signal without parameters on the first training rows."""
    view = families.network("bert").view
    assert view is not None
    encoded = student.encoder.encode(work.data.train.rows)
    arrays = student.encoder.batch(encoded, range(16))
    inputs = {key: torch.from_numpy(array) for key, array in arrays.items()}
    with torch.no_grad():
        views = [view(model.module.eval(), inputs) for model in (student, teacher)]
        return float(signal(name).bind(views[0], views[1], [1])(*views))


@pytest.mark.parametrize("name", ["attention", "relation"])
def test_a_student_comes_nearer_to_its_teacher_in_what_is_compared(
    name: str, make_lively: Make, reviews: Dataset, tmp_path: Path
) -> None:
    teacher = make_lively()
    student, work = student_of(teacher, reviews), work_with(teacher, reviews, tmp_path)
    before = distance(name, student, teacher, work)
    assert step(weights={name: 1.0}).apply(student, work) == {}
    assert distance(name, student, teacher, work) < 0.97 * before


def test_what_is_learned_beside_the_student_is_gone_afterwards(
    make_lively: Make, reviews: Dataset, tmp_path: Path
) -> None:
    teacher = make_lively()
    student = student_of(teacher, reviews)
    before = set(student.module.state_dict())
    weights = {"hidden": 1.0, "embedding": 0.5, "logits": 1.0}
    step(weights=weights, epochs=1).apply(student, work_with(teacher, reviews, tmp_path))
    assert set(student.module.state_dict()) == before
    artifact.load(artifact.save(student, tmp_path / "student"))


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({"hidden": 0.0, "logits": 0.0}, "weights of all signals are 0"),
        ({"hidden": -1.0}, "weight of hidden is -1.0"),
        ({"relation": float("nan")}, "weight of relation is nan"),
    ],
)
def test_weights_that_make_no_loss_are_refused(weights: dict[str, float], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        step(weights=weights)


def test_an_unknown_signal_is_refused_with_the_nearest() -> None:
    assert names() == ["logits", "attention", "embedding", "hidden", "relation"]
    with pytest.raises(UnknownError, match=r"no signal named 'hiden'.*'hidden'"):
        step(weights={"hiden": 1.0})


def test_a_student_of_a_family_without_hidden_states_is_told_which_signals_remain(
    make_lively: Make, reviews: Dataset, tmp_path: Path
) -> None:
    teacher = make_lively()
    settings = families.family("transformer").settings(hidden=8, heads=2, feed_forward=8)
    student = families.network("transformer").baseline("transformer", reviews, settings)
    with pytest.raises(UsageError, match=r"signal hidden .* this transformer.*possible: logits$"):
        step(weights={"hidden": 1.0}).apply(student, work_with(teacher, reviews, tmp_path))


def test_a_student_that_reads_other_tokens_is_told_which_signals_remain(
    make_lively: Make, reviews: Dataset, tmp_path: Path
) -> None:
    teacher = make_lively()
    student = student_of(teacher, reviews)
    encoder: Any = student.encoder
    student.encoder = TextEncoder(encoder.tokenizer, replace(encoder.settings, max_length=16))
    with pytest.raises(UsageError, match=r"other tokens\); possible: logits$"):
        step(weights={"relation": 1.0}).apply(student, work_with(teacher, reviews, tmp_path))


@pytest.mark.parametrize(
    ("layers", "expected"), [("uniform", [2, 5]), ("last", [4, 5]), ("0,3", [0, 3])]
)
def test_a_layer_map_says_which_of_the_teachers_layers_are_learned(
    layers: str, expected: list[int]
) -> None:
    assert layer_map(layers, student=2, teacher=6) == expected


@pytest.mark.parametrize("layers", ["0,6", "1", "first", "-1,2", ""])
def test_a_layer_map_that_cannot_be_is_refused_with_those_that_can(layers: str) -> None:
    with pytest.raises(SettingError, match=r"uniform, last, or 2 indices in 0 to 5"):
        layer_map(layers, student=2, teacher=6)


def test_a_student_with_more_layers_needs_a_map_of_its_own() -> None:
    with pytest.raises(SettingError, match="3 layers cannot learn from 2"):
        layer_map("uniform", student=3, teacher=2)
    assert layer_map("0,0,1", student=3, teacher=2) == [0, 0, 1]


def test_signals_are_typed_as_names_and_weights() -> None:
    assert Distillation(signals="hidden=0.5, relation").weights() == {
        "hidden": 0.5,
        "relation": 1.0,
    }
    with pytest.raises(SettingError, match="must look like hidden=1"):
        Distillation(signals="hidden=much")

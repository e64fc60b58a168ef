"""Distillation from several signals: what is compared, what is refused, what is left afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from bmc import artifact
from bmc import data as datasets
from bmc.compress.distill.weighted import Weighted, layer_map, layers_of, names
from bmc.contracts import families
from bmc.contracts.signals import View, signal
from bmc.data import Dataset, Examples
from bmc.errors import SettingError, UnknownError, UsageError
from bmc.inputs.text import TextEncoder
from bmc.model import Model, Work
from bmc.models import bert, feature_maps
from bmc.training.settings import TrainingSettings
from bmc.training.work import work_for
from bmc.workflows.tuning import Distillation
from tests.faults import nets

Make = Callable[..., Model]
QUICK = TrainingSettings(
    epochs=10, learning_rate=1e-2, batch_size=16, precision="fp32", device="cpu", keep="last"
)


def step(**settings: Any) -> Weighted:
    return Weighted("teacher", "0" * 64, **settings)


def work_with(teacher: Model, data: Dataset, path: Path) -> Work:
    train = Examples(data.train.rows[:64], data.train.labels[:64])
    few = replace(data, train=train)
    return work_for(few, (), QUICK, path, path, lambda name: teacher, run="")


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
    assert names() == [
        "logits",
        "attention",
        "embedding",
        "features",
        "hidden",
        "relation",
        "self",
        "spatial-attention",
    ]
    with pytest.raises(UnknownError, match=r"no signal named 'hiden'.*'hidden'"):
        step(weights={"hiden": 1.0})


def test_a_student_of_a_family_without_hidden_states_is_told_which_signals_remain(
    make_lively: Make, reviews: Dataset, tmp_path: Path
) -> None:
    teacher = make_lively()
    settings = families.family("transformer").settings(hidden=8, heads=2, feed_forward=8)
    student = families.network("transformer").baseline("transformer", reviews, settings)
    with pytest.raises(UsageError, match=r"signal hidden .* this transformer.*: logits, self$"):
        step(weights={"hidden": 1.0}).apply(student, work_with(teacher, reviews, tmp_path))


def test_a_student_that_reads_other_tokens_is_told_which_signals_remain(
    make_lively: Make, reviews: Dataset, tmp_path: Path
) -> None:
    teacher = make_lively()
    student = student_of(teacher, reviews)
    encoder: Any = student.encoder
    student.encoder = TextEncoder(encoder.tokenizer, replace(encoder.settings, max_length=16))
    with pytest.raises(UsageError, match=r"other tokens\); possible: logits, self$"):
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
    with pytest.raises(SettingError, match=r"auto, uniform, last, or 2 indices in 0 to 5"):
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


# images


def images(path: Path, augment: tuple[str, ...] = (), epochs: int = 4) -> Work:
    """Return the work on 128 digits, whose teacher is a wider network that was trained on them."""
    data = datasets.load("digits")
    few = replace(data, train=Examples(data.train.rows[:128], data.train.labels[:128]))
    settings = replace(QUICK, epochs=epochs, learning_rate=5e-3, augment=augment)
    teacher = image_network(6, seed=1)
    return work_for(few, (), settings, path, path, lambda name: teacher, run="")


def image_network(width: int, seed: int, name: str = "cnn", **settings: Any) -> Model:
    torch.manual_seed(seed)
    family = families.of_baseline(name)
    every = {"width": width, **settings}
    data = datasets.load("digits")
    return families.network(family).baseline(name, data, families.family(family).settings(**every))


@pytest.mark.parametrize("name", ["features", "spatial-attention"])
def test_a_convolutional_student_comes_nearer_to_its_teachers_feature_maps(
    name: str, tmp_path: Path
) -> None:
    work, student = images(tmp_path, augment=("flip",)), image_network(4, seed=0)
    names = set(student.module.state_dict())
    assert step(weights={name: 1.0}).apply(student, work) == {}
    losses = [epoch[f"training_loss_{name}"] for epoch in student.origin["history"]]
    assert losses[-1] < 0.9 * losses[0]
    assert set(student.module.state_dict()) == names
    assert not student.module._forward_hooks


def test_feature_maps_are_found_beside_a_scripted_activation() -> None:
    network = nets.scripted_activation(10, 1, 8, 8).eval()
    view = feature_maps.view(network, {"input": torch.rand(2, 1, 8, 8)})
    assert [tuple(part.shape[1:]) for part in view.maps] == [(8, 3, 3)]


def test_maps_learn_from_the_teachers_of_the_nearest_size() -> None:
    views = [view_of(each) for each in (image_network(4, 0), image_network(4, 0, "resnet18"))]
    assert layers_of("auto", *views) == [0, 1, 2]
    assert layers_of("0,0,1", *views) == [0, 0, 1]
    with pytest.raises(SettingError, match="3 indices in 0 to 2"):
        layers_of("0,1,3", *views)


def view_of(model: Model) -> View:
    network = families.network(model.family)
    assert network.view is not None
    return network.view(model.module, network.examples(model.module)[0])


def test_a_student_without_feature_maps_is_told_which_signals_remain(tmp_path: Path) -> None:
    data = datasets.load("digits")
    student = families.network("mlp").baseline("mlp", data, families.family("mlp").settings())
    with pytest.raises(UsageError, match=r"no maps\); possible: logits, self$"):
        step(weights={"features": 1.0}).apply(student, images(tmp_path))


def test_a_student_of_other_pixels_is_told_which_signals_remain(tmp_path: Path) -> None:
    student = image_network(4, seed=0, image_size=16)
    with pytest.raises(UsageError, match=r"other pixels\); possible: logits, self$"):
        step(weights={"features": 1.0}).apply(student, images(tmp_path))


# the student's earlier epochs


def test_signals_are_learned_for_an_epoch_at_least() -> None:
    with pytest.raises(SettingError, match="signal epochs is 0; it must be 1 or more"):
        Distillation(signals="hidden=1", signal_epochs=0)


def test_self_needs_the_logits_beside_it() -> None:
    with pytest.raises(SettingError, match="the signal self needs the logits beside it"):
        step(weights={"self": 1.0})


def test_self_is_learned_also_where_student_and_teacher_read_other_tokens(
    make_lively: Make, reviews: Dataset, tmp_path: Path
) -> None:
    teacher = make_lively()
    settings = families.family("transformer").settings(hidden=8, heads=2, feed_forward=8)
    student = families.network("transformer").baseline("transformer", reviews, settings)
    weights = {"logits": 1.0, "self": 0.5}
    step(weights=weights, epochs=2).apply(student, work_with(teacher, reviews, tmp_path))
    first, second = student.origin["history"]
    assert first["training_loss_self"] == 0 < second["training_loss_self"]
    assert 0 <= second["training_agreement"] <= 1


def test_a_run_with_self_that_was_stopped_ends_with_the_same_weights(tmp_path: Path) -> None:
    weights = {"logits": 1.0, "self": 0.5}
    expected = image_network(4, seed=0)
    step(weights=weights).apply(expected, images(tmp_path / "whole"))
    stopped = image_network(4, seed=0)
    work = images(tmp_path / "stopped")
    with pytest.raises(KeyboardInterrupt):
        step(weights=weights).apply(stopped, replace(work, fit=interrupted(work.fit, after=0.6)))
    resumed = image_network(4, seed=0)
    step(weights=weights).apply(resumed, work)
    for name, value in expected.module.state_dict().items():
        assert torch.equal(value, resumed.module.state_dict()[name]), name
    assert resumed.origin["history"] == expected.origin["history"]


def test_a_run_with_mixed_images_that_was_stopped_ends_with_the_same_weights(
    tmp_path: Path,
) -> None:
    weights, augment = {"logits": 1.0, "features": 0.5}, ("mixup", "cutmix")
    expected = image_network(4, seed=0)
    step(weights=weights).apply(expected, images(tmp_path / "whole", augment))
    stopped, work = image_network(4, seed=0), images(tmp_path / "stopped", augment)
    with pytest.raises(KeyboardInterrupt):
        step(weights=weights).apply(stopped, replace(work, fit=interrupted(work.fit, after=0.6)))
    resumed = image_network(4, seed=0)
    step(weights=weights).apply(resumed, work)
    assert resumed.origin["history"] == expected.origin["history"]


def interrupted(fit: Any, after: float) -> Any:
    """Return a `Work.fit` that is interrupted when a share of the steps is done."""

    def stop(module: Any, done: float) -> None:
        if done >= after:
            raise KeyboardInterrupt

    return partial(fit, after_step=stop)


def test_what_is_learned_does_not_depend_on_what_was_drawn_before(
    make_lively: Make, reviews: Dataset, tmp_path: Path
) -> None:
    teacher = make_lively()
    students = []
    for draws in (0, 5):
        work = work_with(teacher, reviews, tmp_path / str(draws))
        student = student_of(teacher, reviews)
        torch.rand(draws)  # such as pretraining, which may be cached
        step(weights={"hidden": 1.0}, epochs=1).apply(student, work)
        students.append(student.module.state_dict())
    assert all(torch.equal(students[0][name], students[1][name]) for name in students[0])


def test_a_teacher_reads_the_whole_text_beside_signals(
    make_lively: Make, reviews: Dataset, tmp_path: Path
) -> None:
    teacher = make_lively()
    student = student_of(teacher, reviews)
    work = replace(work_with(teacher, reviews, tmp_path), augment=("word-drop",))
    step(weights={"hidden": 1.0, "logits": 1.0}, epochs=1).apply(student, work)
    assert list(tmp_path.glob("**/teacher-*/*.npy"))

"""The training loop: settings, determinism, and which weights are left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bmc.data import Dataset, Examples, Table, split
from bmc.errors import MissingError, SettingError
from bmc.model import Model
from bmc.training.batches import Batch
from bmc.training.loop import TrainingSettings, _schedule
from bmc.training.work import fit_model, work_for

SETTINGS = TrainingSettings(epochs=2, learning_rate=1e-3, precision="fp32", device="cpu")
STEPS = 3


@pytest.fixture
def few(reviews: Dataset) -> Dataset:
    """Return the reviews with a training part of three batches."""
    rows = STEPS * SETTINGS.batch_size - 5
    train = Examples(reviews.train.texts[:rows], reviews.train.labels[:rows])
    return replace(reviews, train=train)


def weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in module.named_parameters()}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first | second)


@pytest.mark.parametrize(
    "bad",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"checkpoint_every": 0},
        {"learning_rate": 0.0},
        {"learning_rate": 1.0},
        {"learning_rate": float("nan")},
        {"warmup": -0.1},
        {"warmup": 1.0},
        {"clip": 0.0},
        {"weight_decay": -0.1},
        {"precision": "fp16"},
        {"device": "tpu"},
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(bad: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match=next(iter(bad)).replace("_", ".")):
        TrainingSettings(**bad)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_said_to_be_missing(
    model: Model, few: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(MissingError, match="--device cpu"):
        fit_model(model, few, replace(SETTINGS, device="cuda"), tmp_path)


def test_the_rate_rises_to_its_peak_and_falls_to_zero() -> None:
    rates = [_schedule(step, total=100, warmup=0.1) for step in range(101)]
    assert rates[:10] == sorted(rates[:10])
    assert max(rates) == rates[9] == rates[10] == 1.0
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < rates[0] <= 0.1
    assert rates[99] > rates[100] == 0


def test_the_same_seed_gives_the_same_bits_and_another_seed_other_ones(
    make_model: Callable[..., Model], few: Dataset, tmp_path: Path
) -> None:
    models = [make_model() for _ in range(3)]
    for number, (model, seed) in enumerate(zip(models, (0, 0, 1), strict=True)):
        torch.manual_seed(number)  # what went on before must not matter
        fit_model(model, few, replace(SETTINGS, seed=seed), tmp_path / str(number))
    first, second, third = (weights(model.module) for model in models)
    assert same(first, second)
    assert not same(first, third)


def test_a_word_that_tells_the_class_is_learned(
    make_lively: Callable[..., Model], tmp_path: Path
) -> None:
    words = {"good": "positive", "bad": "negative"}
    rows = [(f"a {word} film, number {number}",) for number in range(60) for word in words]
    data = split(Table(rows, [*words.values()] * 60), "words", ("text",))
    settings = replace(SETTINGS, epochs=6, batch_size=8, learning_rate=3e-3)
    assert fit_model(make_lively(), data, settings, tmp_path).accuracy == 1


def test_after_step_is_called_after_each_step_with_the_changed_module(
    model: Model, few: Dataset, tmp_path: Path
) -> None:
    seen = [weights(model.module)]

    def after(module: nn.Module) -> None:
        assert module is model.module
        seen.append(weights(module))

    fit_model(model, few, SETTINGS, tmp_path, after_step=after)
    assert len(seen) == 1 + STEPS * SETTINGS.epochs
    assert not any(same(*pair) for pair in pairwise(seen))


def test_what_after_step_sets_is_what_the_model_has(
    model: Model, few: Dataset, tmp_path: Path
) -> None:
    def mask(module: nn.Module) -> None:
        with torch.no_grad():
            module.get_parameter("bert.pooler.dense.weight")[:, ::2] = 0

    fit_model(model, few, SETTINGS, tmp_path, after_step=mask)
    left = model.module.get_parameter("bert.pooler.dense.weight")
    assert int((left[:, ::2] != 0).sum()) == 0
    assert int((left[:, 1::2] != 0).sum()) > 0


def test_the_weights_of_the_best_epoch_are_the_ones_left(
    model: Model, few: Dataset, tmp_path: Path
) -> None:
    """From the second epoch on, the classifier always gives the rarer answer."""
    ends: list[dict[str, Tensor]] = []
    labels = few.validation.labels
    common = int(sum(labels) * 2 > len(labels))
    steps = 0

    def after(module: nn.Module) -> None:
        nonlocal steps
        steps += 1
        answer = common if steps <= STEPS else 1 - common
        with torch.no_grad():
            module.get_parameter("classifier.weight").zero_()
            module.get_parameter("classifier.bias").zero_()[answer] = 1
        if steps % STEPS == 0:
            ends.append(weights(module))

    assert sum(labels) * 2 != len(labels)
    fitted = fit_model(model, few, SETTINGS, tmp_path, after_step=after)
    assert fitted.best_epoch == 1
    assert fitted.accuracy == fitted.history[0] > fitted.history[1]
    assert same(weights(model.module), ends[0])
    assert not same(ends[0], ends[1])
    assert not model.module.training


def test_frozen_parameters_stay_as_they_are(model: Model, few: Dataset, tmp_path: Path) -> None:
    before = weights(model.module)
    model.module.get_submodule("bert.embeddings").requires_grad_(requires_grad=False)
    fit_model(model, few, SETTINGS, tmp_path)
    after = weights(model.module)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert not any(name.startswith("bert.embeddings") for name in changed)


def test_unlabelled_texts_are_trained_on_after_the_labelled_rows(
    model: Model, few: Dataset, tmp_path: Path
) -> None:
    labels: dict[int, int] = {}

    def loss(logits: Tensor, batch: Batch) -> Tensor:
        labels.update(zip(batch.rows.tolist(), batch.labels.tolist(), strict=True))
        return logits.square().mean()

    texts = (("a first text",), ("a second text",))
    fit_model(model, few, replace(SETTINGS, epochs=1), tmp_path, loss=loss, texts=texts)
    ordered = [labels[place] for place in range(len(few.train) + 2)]
    assert ordered == [*few.train.labels, -1, -1]


def test_a_step_is_given_no_test_rows(few: Dataset, tmp_path: Path) -> None:
    assert len(few.test) > 0
    work = work_for(few, (), SETTINGS, tmp_path, tmp_path, load=never, run="")
    assert len(work.data.test) == 0
    assert work.data.train == few.train
    assert work.data.validation == few.validation


def never(reference: str) -> Model:
    raise AssertionError(f"{reference} was loaded")

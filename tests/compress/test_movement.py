"""Movement pruning: what scores learn, what is left of them, and runs that go on."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from bmc import data as datasets
from bmc.compress.prune.movement import (
    Movement,
    add_scores,
    mask_lowest,
    parametrizations_of,
    remove_scores,
)
from bmc.compress.prune.unstructured import Unstructured
from bmc.data import Dataset, Examples
from bmc.errors import SettingError, UnknownError
from bmc.model import AppliedStep, Model, Work
from bmc.models import cnn, recurrent
from bmc.training.settings import TrainingSettings
from bmc.training.work import work_for

SETTINGS = TrainingSettings(
    epochs=2,
    learning_rate=1e-2,
    batch_size=16,
    precision="fp32",
    device="cpu",
    checkpoint_every=3,
)


class _KilledError(Exception):
    """Stands for a kill: the process goes on, the run does not."""


@pytest.fixture(scope="module")
def digits() -> Dataset:
    data = datasets.load("digits")
    few = Examples(data.train.rows[:128], data.train.labels[:128])
    return replace(data, train=few)


@pytest.fixture
def network(digits: Dataset) -> Model:
    torch.manual_seed(0)
    return cnn.baseline("cnn", digits, cnn.Settings(width=8, hidden=16))


@pytest.fixture
def work(digits: Dataset, tmp_path: Path) -> Work:
    return make_work(digits, tmp_path)


def make_work(data: Dataset, folder: Path) -> Work:
    def never(reference: str) -> Model:
        raise AssertionError(f"{reference} was loaded")

    return work_for(data, (), SETTINGS, folder, folder, never, run="")


def weights_of(model: Model) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.module.named_parameters()}


def scored(weight: Tensor) -> nn.Linear:
    """Return a linear layer with this weight, and scores."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    with torch.no_grad():
        layer.weight.copy_(weight)
    add_scores(layer, dict(layer.named_parameters()))
    return layer


def test_a_score_falls_where_the_gradient_moves_its_weight_towards_zero() -> None:
    layer = scored(torch.tensor([[2.0, -2.0, 0.5]]))
    inputs = parametrizations_of(layer, "weight")
    out = layer(torch.tensor([[1.0, 1.0, -3.0]]))
    out.sum().backward()
    scores: Any = inputs[0].scores
    # Sanh et al. 2020, equation 3: dL/dS = dL/dW * W; with dL/dW = the inputs 1, 1, -3.
    assert scores.grad.tolist() == [[2.0, -2.0, -1.5]]
    assert inputs.original.grad is not None
    assert inputs.original.grad.tolist() == [[1.0, 1.0, -3.0]]


def test_a_masked_weight_stays_and_its_score_changes() -> None:
    layer = scored(torch.tensor([[2.0, -2.0]]))
    inputs = parametrizations_of(layer, "weight")
    scores: Any = inputs[0].scores
    with torch.no_grad():
        scores.copy_(torch.tensor([[-1.0, 1.0]]))
    mask_lowest(inputs, 0.5)
    assert layer.weight.tolist() == [[0.0, -2.0]]
    layer(torch.tensor([[3.0, 5.0]])).sum().backward()
    assert inputs.original.grad is not None
    assert inputs.original.grad.tolist() == [[0.0, 5.0]]
    assert scores.grad.tolist() == [[6.0, -10.0]]


def test_large_weights_of_low_scores_are_pruned_and_small_weights_of_high_scores_stay() -> None:
    layer = scored(torch.tensor([[5.0, 4.0, 0.1, 0.2]]))
    inputs = parametrizations_of(layer, "weight")
    scores: Any = inputs[0].scores
    with torch.no_grad():
        scores.copy_(torch.tensor([[-1.0, -2.0, 1.0, 2.0]]))
    mask_lowest(inputs, 0.5)
    remove_scores(layer, "weight")
    assert layer.weight.tolist() == [pytest.approx([0.0, 0.0, 0.1, 0.2])]
    assert type(layer) is nn.Linear


def test_each_parameter_ends_with_its_share_of_zeros_and_no_parametrization(
    network: Model, work: Work
) -> None:
    before = weights_of(network)
    kinds = [type(layer) for layer in network.module.modules()]
    record = Movement(ratio=0.75, epochs=1).apply(network, work)
    after = weights_of(network)
    assert record["parameters"].keys() == {
        "features.0.weight",
        "features.3.weight",
        "hidden.weight",
    }
    for name, share in record["parameters"].items():
        assert share == pytest.approx(0.75, abs=0.01)
        assert (after[name] == 0).float().mean().item() == pytest.approx(share, abs=1e-6)
        kept = after[name] != 0
        assert not torch.equal(after[name][kept], before[name][kept]), "it was trained"
    assert {name: value.shape for name, value in after.items()} == {
        name: value.shape for name, value in before.items()
    }
    assert [type(layer) for layer in network.module.modules()] == kinds


def test_the_weights_with_the_best_scores_in_training_are_left(network: Model, work: Work) -> None:
    seen: list[float] = []

    def fit(*args: Any, **options: Any) -> dict[str, float]:
        result = work.fit(*args, **options)
        seen.append(work.score(network))
        return result

    Movement(ratio=0.6, epochs=2).apply(network, replace(work, fit=fit))
    assert work.score(network) == seen[0]


def test_a_killed_run_resumes_with_bit_identical_weights(
    digits: Dataset, network: Model, tmp_path: Path
) -> None:
    step = Movement(ratio=0.8, epochs=2)
    whole, stopped, resumed = network, copy.deepcopy(network), copy.deepcopy(network)
    expected = step.apply(whole, make_work(digits, tmp_path / "whole"))
    work = make_work(digits, tmp_path / "stopped")
    steps_taken = iter(range(8))

    def killed(*args: Any, **options: Any) -> dict[str, float]:
        callback = options["after_step"]

        def after(module: nn.Module, done: float) -> None:
            callback(module, done)
            if next(steps_taken, None) is None:
                raise _KilledError

        return work.fit(*args, **{**options, "after_step": after})

    with pytest.raises(_KilledError):
        step.apply(stopped, replace(work, fit=killed))
    assert list((tmp_path / "stopped").rglob("checkpoint.safetensors"))
    assert step.apply(resumed, work) == expected
    after, after_step = weights_of(resumed), weights_of(whole)
    assert all(torch.equal(after[name], after_step[name]) for name in after_step)


def test_a_weight_that_two_layers_share_has_one_score_and_stays_shared(
    network: Model, work: Work
) -> None:
    module: Any = network.module
    module.hidden = nn.Sequential(module.hidden, nn.Linear(16, 16), nn.Linear(16, 16))
    module.hidden[2].weight = module.hidden[1].weight
    record = Movement(ratio=0.5, epochs=1, layers=("hidden.*",)).apply(network, work)
    assert record["parameters"] == {"hidden.0.weight": 0.5, "hidden.1.weight": 0.5}
    assert module.hidden[2].weight is module.hidden[1].weight
    assert int((module.hidden[1].weight == 0).sum()) == 128


def test_zeros_of_an_earlier_step_count_and_stay(network: Model, work: Work) -> None:
    record = Unstructured(ratio=0.5, scope="layer").apply(network, work)
    network.steps.append(AppliedStep("prune/unstructured", {}, record, 0, 0.0))
    zeros = {name: value == 0 for name, value in weights_of(network).items()}
    Movement(ratio=0.7, epochs=1).apply(network, work)
    for name in record["parameters"]:
        after = network.module.get_parameter(name).detach() == 0
        assert bool(after[zeros[name]].all())
        assert after.float().mean().item() == pytest.approx(0.7, abs=0.01)


def test_recurrent_weights_are_pruned_in_both_directions(tmp_path: Path) -> None:
    series = datasets.load("japanese-vowels")
    series = replace(series, train=Examples(series.train.rows[:32], series.train.labels[:32]))
    torch.manual_seed(0)
    model = recurrent.baseline("lstm", series, recurrent.Settings(hidden=8))
    before = weights_of(model)
    record = Movement(ratio=0.5, epochs=1).apply(model, make_work(series, tmp_path))
    assert len(record["parameters"]) == 4
    after = weights_of(model)
    for name in record["parameters"]:
        assert (after[name] == 0).float().mean().item() == pytest.approx(0.5, abs=0.01)
        kept = after[name] != 0
        assert not torch.equal(after[name][kept], before[name][kept]), "it was trained"
    assert not any(parametrize.is_parametrized(layer) for layer in model.module.modules())
    inputs = recurrent.examples(model.module)[0]
    with torch.inference_mode():  # the layer computes with the new weights, not with copies
        sparse = model.module(**inputs)
        for name in record["parameters"]:
            model.module.get_parameter(name).zero_()
        assert not torch.allclose(model.module(**inputs), sparse)


def test_bert_is_trained_with_scores_through_its_training_form(
    make_lively: Callable[..., Model], reviews: Dataset, tmp_path: Path
) -> None:
    few = replace(reviews, train=Examples(reviews.train.rows[:32], reviews.train.labels[:32]))
    model = make_lively()
    query = "bert.encoder.layer.0.attention.self.query"
    work = make_work(few, tmp_path)
    record = Movement(ratio=0.5, epochs=1, layers=(query,)).apply(model, work)
    assert record == {"parameters": {f"{query}.weight": 0.5}}


@pytest.mark.parametrize("ratio", [0.0, 1.0, -1.0, float("nan")])
def test_a_ratio_out_of_range_is_refused(ratio: float) -> None:
    with pytest.raises(SettingError, match="ratio"):
        Movement(ratio=ratio)


def test_no_epochs_are_refused() -> None:
    with pytest.raises(SettingError, match="epochs is 0"):
        Movement(epochs=0)


def test_a_ratio_that_would_empty_a_layer_is_refused(network: Model, work: Work) -> None:
    with pytest.raises(SettingError, match=r"'features\.0\.weight'"):
        Movement(ratio=0.999).apply(network, work)


def test_an_unknown_layer_is_refused_with_the_nearest(network: Model, work: Work) -> None:
    with pytest.raises(UnknownError, match=r"Did you mean 'features\.3'"):
        Movement(layers=("feature.3",)).apply(network, work)

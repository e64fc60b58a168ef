"""Unstructured pruning: which weights become zero, how they stay so, and what is refused."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bmc import data as datasets
from bmc.compress.prune.unstructured import Unstructured
from bmc.compress.share.lowrank import LowRank
from bmc.data import Dataset, Examples
from bmc.errors import ArtifactError, SettingError, UnknownError, UsageError
from bmc.model import AppliedStep, Model, Work
from bmc.models import bert, cnn
from bmc.structure import zeros
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
PRUNED = ["features.0.weight", "features.3.weight", "hidden.weight"]


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


def killed_after(work: Work, steps: int) -> Work:
    """Return work whose training is killed in the `after_step` of the given step."""
    steps_taken: Iterator[int] = iter(range(steps))

    def fit(*args: Any, **options: Any) -> dict[str, float]:
        after_step = options.get("after_step")

        def after(module: nn.Module, done: float) -> None:
            if after_step:
                after_step(module, done)
            if next(steps_taken, None) is None:
                raise _KilledError

        return work.fit(*args, **{**options, "after_step": after})

    return replace(work, fit=fit)


def test_the_smallest_weights_of_all_layers_become_zero(network: Model, work: Work) -> None:
    before = weights_of(network)
    record = Unstructured(ratio=0.6).apply(network, work)
    together = torch.cat([before[name].abs().flatten() for name in PRUNED])
    limit = together.sort().values[round(0.6 * len(together)) - 1]
    after = weights_of(network)
    for name in PRUNED:
        expected = before[name].masked_fill(before[name].abs() <= limit, 0.0)
        assert torch.equal(after[name], expected)
        share = (expected == 0).float().mean().item()
        assert record["parameters"][name] == pytest.approx(share, abs=1e-6)
    assert list(record["parameters"]) == PRUNED
    assert len({round(share, 2) for share in record["parameters"].values()}) > 1


def test_with_scope_layer_each_layer_has_the_same_share_of_zeros(
    network: Model, work: Work
) -> None:
    record = Unstructured(ratio=0.75, scope="layer").apply(network, work)
    assert record["parameters"] == dict.fromkeys(PRUNED, 0.75)


def test_biases_norms_embeddings_and_outputs_are_not_pruned(
    make_lively: Callable[..., Model], work: Work
) -> None:
    model = make_lively()
    before = weights_of(model)
    record = Unstructured(ratio=0.5).apply(model, work)
    layers = {f"{name}.weight" for name in names_of(model.module, nn.Linear)}
    assert set(record["parameters"]) == layers - {"classifier.weight"}
    after = weights_of(model)
    for name in before.keys() - record["parameters"].keys():
        assert torch.equal(after[name], before[name])


def names_of(module: nn.Module, kind: type[nn.Module]) -> list[str]:
    return [name for name, layer in module.named_modules() if isinstance(layer, kind)]


def test_an_embedding_and_an_output_that_are_named_are_pruned(
    make_lively: Callable[..., Model], work: Work
) -> None:
    model = make_lively()
    patterns = ("*.word_embeddings", "classifier")
    record = Unstructured(ratio=0.5, scope="layer", layers=patterns).apply(model, work)
    (table,) = [name for name in bert.parts(model.module).embeddings if "word" in name]
    assert record["parameters"] == {f"{table}.weight": 0.5, "classifier.weight": 0.5}


def test_a_weight_that_two_layers_share_is_pruned_once_for_both(network: Model, work: Work) -> None:
    module: Any = network.module
    module.hidden = nn.Sequential(module.hidden, nn.Linear(16, 16), nn.Linear(16, 16))
    module.hidden[2].weight = module.hidden[1].weight
    record = Unstructured(ratio=0.5, scope="layer", layers=("hidden.2",)).apply(network, work)
    assert record["parameters"] == {"hidden.1.weight": 0.5}
    assert module.hidden[2].weight is module.hidden[1].weight
    assert int((module.hidden[2].weight == 0).sum()) == 128


def test_gradual_pruning_follows_the_cubic_curve_and_zeros_stay_zero(
    network: Model, work: Work
) -> None:
    shares: list[float] = []
    zeros: list[Tensor] = []

    def fit(*args: Any, **options: Any) -> dict[str, float]:
        after_step = options["after_step"]

        def after(module: nn.Module, done: float) -> None:
            after_step(module, done)
            result = torch.cat([module.get_parameter(name).detach().flatten() for name in PRUNED])
            zeros.append(result == 0)
            shares.append(zeros[-1].float().mean().item())

        return work.fit(*args, **{**options, "after_step": after})

    Unstructured(ratio=0.8, epochs=2).apply(network, replace(work, fit=fit))
    steps = len(shares) - 1
    assert steps == 16
    for step, share in enumerate(shares):
        part = min(int(100 * step / steps) / 100 / 0.75, 1.0)
        assert share == pytest.approx(0.8 * (1 - (1 - part) ** 3), abs=1e-3)
    assert all(bool(later[earlier].all()) for earlier, later in pairwise(zeros))


def test_gradual_pruning_ends_at_its_ratio_whichever_epoch_scored_best(
    network: Model, work: Work
) -> None:
    record = Unstructured(ratio=0.97, scope="layer", epochs=3).apply(network, work)
    for name, share in record["parameters"].items():
        assert share == pytest.approx(0.97, abs=0.01)
        kept = network.module.get_parameter(name).detach()
        assert (kept == 0).float().mean().item() == pytest.approx(share, abs=1e-6)


def test_a_killed_gradual_run_resumes_with_bit_identical_weights(
    digits: Dataset, network: Model, tmp_path: Path
) -> None:
    step = Unstructured(ratio=0.8, epochs=2)
    whole, stopped, resumed = network, copy.deepcopy(network), copy.deepcopy(network)
    expected = step.apply(whole, make_work(digits, tmp_path / "whole"))
    work = make_work(digits, tmp_path / "stopped")
    with pytest.raises(_KilledError):
        step.apply(stopped, killed_after(work, 8))
    assert list((tmp_path / "stopped").rglob("checkpoint.safetensors"))
    assert step.apply(resumed, work) == expected
    after, target = weights_of(resumed), weights_of(whole)
    assert all(torch.equal(after[name], target[name]) for name in target)


def prune(model: Model, step: Unstructured, work: Work) -> dict[str, Tensor]:
    """Apply a step as the command does; return where the zeros are."""
    record = step.apply(model, work)
    model.steps.append(AppliedStep("prune/unstructured", {}, record, 0, 0.0))
    return {name: model.module.get_parameter(name).detach() == 0 for name in record["parameters"]}


def test_zeros_stay_zero_through_fine_tuning_while_the_rest_learns(
    network: Model, work: Work
) -> None:
    zeros = prune(network, Unstructured(ratio=0.7), work)
    before = weights_of(network)
    work.fit(network, name="tuning")
    for name, mask in zeros.items():
        after = network.module.get_parameter(name).detach()
        assert torch.equal(after == 0, mask)
        assert not torch.equal(after, before[name])


def test_zeros_stay_zero_when_fine_tuning_was_killed_and_resumes(
    network: Model, work: Work
) -> None:
    zeros = prune(network, Unstructured(ratio=0.7), work)
    with pytest.raises(_KilledError):
        killed_after(work, 7).fit(network, name="tuning")
    work.fit(network, name="tuning")
    for name, mask in zeros.items():
        assert torch.equal(network.module.get_parameter(name).detach() == 0, mask)


def test_layers_that_a_later_step_replaced_or_cut_do_not_disturb_training(
    network: Model, work: Work
) -> None:
    prune(network, Unstructured(ratio=0.7), work)
    record = LowRank(energy=0.5, layers=("hidden",)).apply(network, work)
    assert record
    convolution: Any = network.module.get_submodule("features.3")
    cut = convolution.weight.detach()[:, :4].clone()
    convolution.weight, convolution.in_channels = nn.Parameter(cut), 4
    first: Any = network.module.get_submodule("features.0")
    first.weight, first.bias = nn.Parameter(first.weight[:4].detach()), nn.Parameter(first.bias[:4])
    work.fit(network, name="tuning")
    assert torch.equal(convolution.weight.detach() == 0, cut == 0)
    assert bool((cut == 0).any())


def test_a_later_pruning_keeps_the_zeros_and_adds_to_them(network: Model, work: Work) -> None:
    zeros = prune(network, Unstructured(ratio=0.5), work)
    more = prune(network, Unstructured(ratio=0.8, epochs=1), work)
    assert all(bool(more[name][mask].all()) for name, mask in zeros.items())
    counted = torch.cat([mask.flatten() for mask in more.values()])
    assert counted.float().mean().item() == pytest.approx(0.8, abs=1e-3)


def test_a_ratio_that_would_empty_a_layer_is_refused_and_changes_nothing(
    network: Model, work: Work
) -> None:
    with torch.no_grad():
        network.module.get_parameter("features.0.weight").mul_(1e-6)
    before = weights_of(network)
    with pytest.raises(SettingError, match=r"'features\.0\.weight'.* lower ratio"):
        Unstructured(ratio=0.5).apply(network, work)
    assert all(torch.equal(value, before[name]) for name, value in weights_of(network).items())
    assert Unstructured(ratio=0.5, scope="layer").apply(network, work)


def test_an_unknown_layer_is_refused_with_the_nearest(network: Model, work: Work) -> None:
    with pytest.raises(UnknownError, match=r"'hiden'.*Did you mean 'hidden'"):
        Unstructured(layers=("hiden",)).apply(network, work)


def test_a_model_without_layers_to_prune_is_refused(network: Model, work: Work) -> None:
    module: Any = network.module
    module.features, module.hidden = nn.Flatten(), nn.Identity()
    with pytest.raises(UsageError, match="nothing that this method prunes"):
        Unstructured().apply(network, work)


@pytest.mark.parametrize("ratio", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_a_ratio_out_of_range_is_refused(ratio: float) -> None:
    with pytest.raises(SettingError, match="ratio"):
        Unstructured(ratio=ratio)


def test_an_unknown_scope_and_epochs_below_zero_are_refused() -> None:
    with pytest.raises(SettingError, match="scope is 'row'"):
        Unstructured(scope="row")
    with pytest.raises(SettingError, match="epochs is -1"):
        Unstructured(epochs=-1)


@pytest.mark.parametrize(
    "record",
    [{}, {"parameters": ["hidden.weight"]}, {"parameters": {"gone.weight": 0.5}}],
)
def test_a_record_that_does_not_fit_the_model_is_refused(
    network: Model, record: dict[str, Any]
) -> None:
    with pytest.raises(ArtifactError):
        Unstructured.rebuild(network, record)


def test_equal_weights_are_pruned_to_the_exact_count() -> None:
    marked = zeros.lowest(torch.ones(3, 7), 0.4)
    assert marked.shape == (3, 7)
    assert int(marked.sum()) == 8

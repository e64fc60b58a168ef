"""Low-rank factorization: what it keeps, what it leaves alone, what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bmc import artifact
from bmc.compress.share.lowrank import LowRank
from bmc.data import Dataset
from bmc.errors import SettingError, UnknownError
from bmc.model import AppliedStep, Model, Work
from bmc.models import bert, cnn, mobilenet_v2
from bmc.training.settings import TrainingSettings
from bmc.training.work import work_for

QUERY = "bert.encoder.layer.0.attention.self.query"


def never(reference: str) -> Model:
    raise AssertionError(f"{reference} was loaded")


@pytest.fixture
def work(reviews: Dataset, tmp_path: Path) -> Work:
    return work_for(reviews, (), TrainingSettings(device="cpu"), tmp_path, tmp_path, never, run="")


@pytest.fixture
def lively(make_lively: Callable[..., Model]) -> Model:
    return make_lively()


def linears(model: Model) -> dict[str, nn.Linear]:
    return {name: layer for name, layer in model.module.named_modules() if type(layer) is nn.Linear}


def lower_ranks(model: Model, rank: int) -> None:
    """Give every linear but the classifier weights of a low rank, as large as before."""
    generator = torch.Generator().manual_seed(2)
    for name, layer in linears(model).items():
        if name != "classifier":
            left = torch.randn(layer.out_features, rank, generator=generator)
            right = torch.randn(rank, layer.in_features, generator=generator)
            with torch.no_grad():
                layer.weight.copy_(left @ right / (rank * layer.in_features) ** 0.5)


def outputs_of(model: Model) -> list[Tensor]:
    with torch.inference_mode():
        return [model.module(**inputs).logits for inputs in bert.examples(model.module)]


def test_full_energy_keeps_the_outputs_where_ranks_allow_a_split(lively: Model, work: Work) -> None:
    lower_ranks(lively, rank=4)
    before, size = outputs_of(lively), sum(p.numel() for p in lively.module.parameters())
    record = LowRank(energy=1.0, multiple=1).apply(lively, work)
    assert set(record.values()) == {4}
    assert len(record) == 2 * 6 + 1  # six linears a layer, and the pooler's
    assert sum(p.numel() for p in lively.module.parameters()) < size
    for output, expected in zip(outputs_of(lively), before, strict=True):
        assert expected.std() > 0.1
        torch.testing.assert_close(output, expected, atol=1e-5, rtol=0)


def test_full_energy_does_not_split_layers_of_full_rank(lively: Model, work: Work) -> None:
    before = outputs_of(lively)
    assert LowRank(energy=1.0).apply(lively, work) == {}
    assert all(map(torch.equal, outputs_of(lively), before))


@pytest.mark.parametrize("energy", [0.3, 0.6])
def test_the_rank_is_the_least_that_keeps_the_energy(
    lively: Model, work: Work, energy: float
) -> None:
    weight = linears(lively)[QUERY].weight.detach().clone()
    values = torch.linalg.svdvals(weight.double()) ** 2
    rank = LowRank(energy=energy, multiple=1).apply(lively, work)[QUERY]
    assert values[:rank].sum() >= energy * values.sum() > values[: rank - 1].sum()
    pair = lively.module.get_submodule(QUERY)
    product = pair.get_parameter("1.weight") @ pair.get_parameter("0.weight")
    lost = (product - weight).double().square().sum()
    assert lost.item() == pytest.approx(values[rank:].sum().item(), rel=1e-3)


def test_a_bias_stays_in_the_second_layer_only(lively: Model, work: Work) -> None:
    bias = linears(lively)[QUERY].bias.detach().clone()
    LowRank(energy=0.5).apply(lively, work)
    pair = lively.module.get_submodule(QUERY)
    assert {name for name, _ in pair.named_parameters()} == {"0.weight", "1.weight", "1.bias"}
    assert torch.equal(pair.get_parameter("1.bias"), bias)


def test_outputs_and_embeddings_stay_untouched(lively: Model, work: Work) -> None:
    parts = bert.parts(lively.module)
    names = [*parts.outputs, *parts.embeddings]
    before = {name: lively.module.get_submodule(name) for name in names}
    weights = {name: before[name].get_parameter("weight").detach().clone() for name in names}
    record = LowRank(energy=0.1).apply(lively, work)
    assert record
    for name in names:
        assert name not in record
        assert lively.module.get_submodule(name) is before[name]
        assert torch.equal(before[name].get_parameter("weight"), weights[name])


def test_only_layers_that_a_pattern_names_are_split(lively: Model, work: Work) -> None:
    pattern = "*.layer.1.attention.self.*"
    record = LowRank(energy=0.5, layers=(pattern,)).apply(lively, work)
    expected = {f"bert.encoder.layer.1.attention.self.{name}" for name in ("query", "key", "value")}
    assert set(record) == expected


def test_an_unknown_pattern_is_refused_with_near_names(lively: Model, work: Work) -> None:
    before = set(linears(lively))
    pattern = QUERY.replace("query", "querry")
    with pytest.raises(UnknownError) as caught:
        LowRank(energy=0.5, layers=("*.key", pattern)).apply(lively, work)
    assert repr(pattern) in str(caught.value)
    assert QUERY in str(caught.value)
    assert set(linears(lively)) == before, "nothing was split before the pattern was refused"


@pytest.mark.parametrize("energy", [0.0, -0.5, 1.01, float("nan")])
def test_an_energy_out_of_range_is_refused(energy: float) -> None:
    with pytest.raises(SettingError, match="energy"):
        LowRank(energy=energy)


def test_a_layer_of_zeros_is_split_to_rank_one(lively: Model, work: Work) -> None:
    with torch.no_grad():
        linears(lively)[QUERY].weight.zero_()
    before = outputs_of(lively)
    assert LowRank(energy=0.9, multiple=1, layers=(QUERY,)).apply(lively, work) == {QUERY: 1}
    assert all(map(torch.equal, outputs_of(lively), before))


def test_a_layer_that_is_not_linear_cannot_be_rebuilt_as_a_pair(lively: Model) -> None:
    with pytest.raises(SettingError, match="neither a linear layer nor an ungrouped convolution"):
        LowRank.rebuild(lively, {"bert.embeddings.word_embeddings": 4})


def convolutions(module: nn.Module) -> dict[str, nn.Conv2d]:
    return {name: part for name, part in module.named_modules() if type(part) is nn.Conv2d}


def product(pair: nn.Module) -> Tensor:
    """Return the matrix that a pair's two weights make, (out, in x height x width)."""
    first, second = pair.get_parameter("0.weight"), pair.get_parameter("1.weight")
    return (second.flatten(1) @ first.flatten(1)).detach()


def small_cnn(digits: Dataset) -> Model:
    torch.manual_seed(0)
    return cnn.baseline("cnn", digits, cnn.Settings(width=16, hidden=24))


@pytest.mark.parametrize(
    "settings",
    [
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": (5, 3), "stride": (2, 1), "padding": (2, 0), "bias": False},
        {"kernel_size": 3, "dilation": 2, "padding": "same", "padding_mode": "circular"},
        {"kernel_size": 1},
    ],
)
def test_a_convolution_of_low_rank_gives_the_same_outputs_as_two(
    settings: dict[str, Any], digits: Dataset, work: Work
) -> None:
    model = small_cnn(digits)
    layer = nn.Conv2d(16, 32, **settings)
    size = layer.weight[0].numel()
    with torch.no_grad():
        low = torch.randn(32, 3) @ torch.randn(3, size)
        layer.weight.copy_(low.view_as(layer.weight))
    model.module.set_submodule("features.3", layer)
    pixels = torch.randn(2, 16, 9, 9)
    before = layer(pixels).detach()
    record = LowRank(energy=1.0, multiple=1, layers=("features.3",)).apply(model, work)
    assert record == {"features.3": 3}
    pair = model.module.get_submodule("features.3")
    assert pair.get_parameter("0.weight").shape == (3, 16, *layer.kernel_size)
    assert pair.get_parameter("1.weight").shape == (32, 3, 1, 1)
    torch.testing.assert_close(pair(pixels).detach(), before, atol=1e-3, rtol=1e-4)


def test_a_split_convolution_is_the_nearest_of_its_rank(digits: Dataset, work: Work) -> None:
    model = small_cnn(digits)
    weight = model.module.get_parameter("features.3.weight").detach().clone().flatten(1)
    rank = LowRank(energy=0.6).apply(model, work)["features.3"]
    left, values, right = torch.linalg.svd(weight, full_matrices=False)
    best = (left[:, :rank] * values[:rank]) @ right[:rank]
    result = product(model.module.get_submodule("features.3"))
    torch.testing.assert_close(result, best, atol=1e-5, rtol=0)


def test_grouped_convolutions_are_not_split(digits: Dataset, work: Work) -> None:
    model = mobilenet_v2.baseline("mobilenet-v2", digits, mobilenet_v2.Settings())
    depthwise = {name for name, item in convolutions(model.module).items() if item.groups > 1}
    record = LowRank(energy=0.3).apply(model, work)
    assert record
    assert depthwise
    assert not depthwise & set(record)
    with pytest.raises(UnknownError, match="no layer that can be split"):
        LowRank(layers=(min(depthwise),)).apply(model, work)


def test_split_convolutions_are_trained_and_give_the_same_outputs_from_a_file(
    digits: Dataset, tmp_path: Path
) -> None:
    settings = TrainingSettings(epochs=1, batch_size=128, precision="fp32", device="cpu")
    entry = work_for(digits, (), settings, tmp_path, tmp_path, never, run="")
    model = small_cnn(digits)
    record = LowRank(budget=0.5).apply(model, entry)
    assert {"features.3", "hidden"} <= set(record)
    before = product(model.module.get_submodule("features.3"))
    entry.fit(model)
    assert not torch.equal(product(model.module.get_submodule("features.3")), before)
    model.steps = [AppliedStep("share/lowrank", {}, record, 0, 0.0)]
    loaded = artifact.load(artifact.save(model, tmp_path / "model"))
    pixels = torch.randn(2, 1, 8, 8)
    with torch.inference_mode():
        assert torch.equal(loaded.module(pixels), model.module.eval()(pixels))


@pytest.mark.parametrize("multiple", [1, 4, 8])
def test_ranks_are_multiples(multiple: int, lively: Model, work: Work) -> None:
    record = LowRank(energy=0.4, multiple=multiple).apply(lively, work)
    assert record
    assert all(rank % multiple == 0 for rank in record.values())


@pytest.mark.parametrize("budget", [0.35, 0.6, 0.9])
def test_a_budget_is_kept_and_spent(budget: float, lively: Model, work: Work) -> None:
    names = [name for name in linears(lively) if name != "classifier"]
    whole = sum(linears(lively)[name].weight.numel() for name in names)
    record = LowRank(budget=budget, multiple=2).apply(lively, work)
    left = sum(
        value.numel()
        for name in names
        for key, value in lively.module.get_submodule(name).named_parameters()
        if key.endswith("weight")
    )
    assert budget - 0.02 < left / whole <= budget
    assert set(record) <= set(names)


def test_a_budget_gives_the_highest_rank_to_the_layer_that_needs_it(
    lively: Model, work: Work
) -> None:
    flat, steep = QUERY, QUERY.replace("query", "key")
    with torch.no_grad():
        for name, fall in ((flat, 0.98), (steep, 0.5)):
            weight = linears(lively)[name].weight
            weight.copy_(torch.linalg.qr(weight).Q * fall ** torch.arange(32))
    record = LowRank(budget=0.5, multiple=1, layers=(flat, steep)).apply(lively, work)
    assert record[flat] + record[steep] == 16  # of 32 x 32 weights each, 64 a rank
    assert record[steep] in range(2, 6)


def test_no_other_choice_of_ranks_within_a_budget_keeps_more_energy(
    lively: Model, work: Work
) -> None:
    names = [QUERY, QUERY.replace("query", "key")]
    values = [torch.linalg.svdvals(linears(lively)[name].weight.detach()) ** 2 for name in names]
    record = LowRank(budget=0.4, multiple=1, layers=tuple(names)).apply(lively, work)

    def kept(ranks: tuple[int, int]) -> float:
        pairs = zip(values, ranks, strict=True)
        return sum(float(entry[:rank].sum() / entry.sum()) for entry, rank in pairs)

    most = int(0.4 * 2 * 32 * 32) // 64
    best = max(kept((rank, most - rank)) for rank in range(1, most))
    assert kept((record[names[0]], record[names[1]])) == pytest.approx(best)


def test_a_budget_below_the_least_ranks_is_refused_with_what_they_take(
    lively: Model, work: Work
) -> None:
    before = set(linears(lively))
    with pytest.raises(SettingError, match=r"budget is 0\.1; ranks of 8 already take 0\.\d+"):
        LowRank(budget=0.1).apply(lively, work)
    assert set(linears(lively)) == before


def test_a_layer_that_is_used_twice_is_split_for_both_uses(lively: Model, work: Work) -> None:
    other = QUERY.replace("layer.0", "layer.1")
    lively.module.set_submodule(other, lively.module.get_submodule(QUERY))
    record = LowRank(energy=0.5, layers=(other,)).apply(lively, work)
    assert list(record) == [QUERY]
    pair = lively.module.get_submodule(QUERY)
    assert isinstance(pair, nn.Sequential)
    assert lively.module.get_submodule(other) is pair


def test_a_layer_of_a_shared_layer_is_split_once(lively: Model, work: Work) -> None:
    first = lively.module.get_submodule("bert.encoder.layer.0")
    lively.module.set_submodule("bert.encoder.layer.1", first)
    record = LowRank(energy=0.5).apply(lively, work)
    assert len(record) == 6 + 1
    assert not any(".layer.1." in name for name in record)


def test_a_linear_layer_that_shares_its_weight_with_an_embedding_is_not_split(
    lively: Model, work: Work
) -> None:
    dense = "bert.encoder.layer.0.attention.output.dense"
    table = nn.Embedding(32, 32)
    lively.module.add_module("table", table)
    lively.module.get_submodule(dense).weight = table.weight
    assert dense not in LowRank(energy=0.5).apply(lively, work)


def test_factors_can_be_split_again_and_replayed(
    make_lively: Callable[..., Model], work: Work
) -> None:
    applied, rebuilt = make_lively(), make_lively()
    for energy in (0.7, 0.3):
        record = LowRank(energy=energy, multiple=1).apply(applied, work)
        assert record
        LowRank.rebuild(rebuilt, record)
    shapes = {name: value.shape for name, value in applied.module.state_dict().items()}
    assert {name: value.shape for name, value in rebuilt.module.state_dict().items()} == shapes


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"budget": 1.0}, "budget is 1.0"),
        ({"budget": -0.1}, "budget is -0.1"),
        ({"budget": float("nan")}, "budget is nan"),
        ({"multiple": 0}, "multiple is 0"),
    ],
)
def test_a_budget_or_multiple_out_of_range_is_refused(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingError, match=message):
        LowRank(**settings)


@pytest.mark.parametrize("rank", [0, -3, 33, True, 4.0, "4", None])
def test_a_recorded_rank_out_of_range_is_refused(rank: Any, lively: Model) -> None:
    with pytest.raises(SettingError, match=r"the rank of .* it must lie in 1\.\.32"):
        LowRank.rebuild(lively, {QUERY: rank})

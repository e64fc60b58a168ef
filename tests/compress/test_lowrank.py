"""Low-rank factorisation: what it keeps, what it leaves alone, what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from bmc.compress.share.lowrank import LowRank
from bmc.data import Dataset
from bmc.errors import SettingError
from bmc.model import Model, Work
from bmc.models import bert
from bmc.training.settings import TrainingSettings
from bmc.training.work import work_for

QUERY = "bert.encoder.layer.0.attention.self.query"


@pytest.fixture
def work(reviews: Dataset, tmp_path: Path) -> Work:
    def never(reference: str) -> Model:
        raise AssertionError(f"{reference} was loaded")

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


def answers(model: Model) -> list[Tensor]:
    with torch.inference_mode():
        return [model.module(**inputs).logits for inputs in bert.examples(model.module)]


def test_full_energy_keeps_the_outputs_where_ranks_allow_a_split(lively: Model, work: Work) -> None:
    lower_ranks(lively, rank=4)
    before, size = answers(lively), sum(p.numel() for p in lively.module.parameters())
    record = LowRank(energy=1.0).apply(lively, work)
    assert set(record.values()) == {4}
    assert len(record) == 2 * 6 + 1  # six linears a layer, and the pooler's
    assert sum(p.numel() for p in lively.module.parameters()) < size
    for found, expected in zip(answers(lively), before, strict=True):
        assert expected.std() > 0.1
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_full_energy_leaves_layers_of_full_rank_alone(lively: Model, work: Work) -> None:
    before = answers(lively)
    assert LowRank(energy=1.0).apply(lively, work) == {}
    assert all(map(torch.equal, answers(lively), before))


@pytest.mark.parametrize("energy", [0.3, 0.6])
def test_the_rank_is_the_least_that_keeps_the_energy(
    lively: Model, work: Work, energy: float
) -> None:
    weight = linears(lively)[QUERY].weight.detach().clone()
    values = torch.linalg.svdvals(weight.double()) ** 2
    rank = LowRank(energy=energy).apply(lively, work)[QUERY]
    assert values[:rank].sum() >= energy * values.sum() > values[: rank - 1].sum()
    pair = lively.module.get_submodule(QUERY)
    product = pair.get_parameter("1.weight") @ pair.get_parameter("0.weight")
    lost = (product - weight).double().square().sum()
    assert lost.item() == pytest.approx(values[rank:].sum().item(), rel=1e-3)


def test_a_bias_stays_and_stands_once(lively: Model, work: Work) -> None:
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
    with pytest.raises(SettingError) as caught:
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
    before = answers(lively)
    assert LowRank(energy=0.9, layers=(QUERY,)).apply(lively, work) == {QUERY: 1}
    assert all(map(torch.equal, answers(lively), before))


def test_a_layer_that_is_no_linear_cannot_be_rebuilt_as_a_pair(lively: Model) -> None:
    with pytest.raises(SettingError, match="no linear layer"):
        LowRank.rebuild(lively, {"bert.embeddings.word_embeddings": 4})

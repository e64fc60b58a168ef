"""Sizes of layers: what is read of them, and what stays when they get other ones."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from bmc.errors import ArtifactError
from bmc.models import bert, mpnet, transformer
from bmc.structure.shapes import Shape, changed, reshape, shapes_of

ENCODER = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4}
ENCODER |= {"intermediate_size": 16, "max_position_embeddings": 16}
SMALLER: list[tuple[nn.Module, Shape, tuple[int, ...], tuple[int, ...]]] = [
    (nn.Linear(6, 4), {"type": "Linear", "in": 5, "out": 3}, (2, 5), (2, 3)),
    (
        nn.Conv2d(4, 6, 3, stride=2, padding=1),
        {"type": "Conv2d", "in": 3, "out": 5, "groups": 1},
        (2, 3, 8, 8),
        (2, 5, 4, 4),
    ),
    (
        nn.Conv2d(6, 6, 3, groups=6, bias=False),
        {"type": "Conv2d", "in": 4, "out": 4, "groups": 4},
        (2, 4, 8, 8),
        (2, 4, 6, 6),
    ),
    (nn.BatchNorm1d(6), {"type": "BatchNorm1d", "features": 4}, (3, 4), (3, 4)),
    (nn.BatchNorm2d(6), {"type": "BatchNorm2d", "features": 4}, (3, 4, 2, 2), (3, 4, 2, 2)),
    (nn.LayerNorm(6), {"type": "LayerNorm", "features": 4}, (3, 4), (3, 4)),
    (nn.LSTM(6, 4), {"type": "LSTM", "in": 5, "hidden": 3}, (7, 2, 5), (7, 2, 3)),
    (nn.GRU(6, 4), {"type": "GRU", "in": 5, "hidden": 3}, (7, 2, 5), (7, 2, 3)),
    (nn.RNN(6, 4, bias=False), {"type": "RNN", "in": 5, "hidden": 3}, (7, 2, 5), (7, 2, 3)),
]


@pytest.mark.parametrize(("layer", "shape", "inputs", "answered"), SMALLER)
def test_a_layer_of_another_size_computes_in_that_size(
    layer: nn.Module, shape: Shape, inputs: tuple[int, ...], answered: tuple[int, ...]
) -> None:
    holder = nn.ModuleDict({"layer": layer})
    names, bias = set(layer.state_dict()), getattr(layer, "bias", None)
    reshape(holder, {"layer": shape})
    assert holder["layer"] is layer
    assert shapes_of(holder) == {"layer": shape}
    assert set(layer.state_dict()) == names
    assert (getattr(layer, "bias", None) is None) == (bias is None)
    result = layer(torch.randn(inputs))
    assert tuple((result[0] if isinstance(result, tuple) else result).shape) == answered


def test_a_table_of_another_size_is_looked_up_in_that_size() -> None:
    table = nn.Embedding(10, 6, padding_idx=1)
    reshape(table, {"": {"type": "Embedding", "rows": 7, "width": 4}})
    assert table(torch.tensor([6, 1])).shape == (2, 4)
    assert table.padding_idx == 1


def test_modes_and_what_is_not_trained_stay() -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)).eval()
    network[0].weight.requires_grad_(False)
    untouched = network[1].bias
    shapes = {
        "0": {"type": "Linear", "in": 4, "out": 3},
        "1": {"type": "Linear", "in": 3, "out": 4},
    }
    reshape(network, shapes)
    assert not network.training
    assert not network[0].training
    assert not network[0].weight.requires_grad
    assert network[1].weight.requires_grad
    assert network[1].bias is untouched, "what keeps its shape stays the same tensor"


@pytest.mark.parametrize(
    ("family", "spec", "path"),
    [
        (bert, {"model_type": "bert", **ENCODER}, "bert.encoder.layer.0.attention.self"),
        (mpnet, {"model_type": "mpnet", **ENCODER}, "mpnet.encoder.layer.0.attention.attn"),
        (
            transformer,
            {"layers": 1, "hidden": 32, "heads": 4, "feed_forward": 16, "dropout": 0.1}
            | {"vocabulary": 50, "columns": 1, "max_length": 16, "outputs": 2},
            "layers.0.attention",
        ),
    ],
)
def test_an_attention_gets_another_count_of_heads(
    family: Any, spec: dict[str, Any], path: str
) -> None:
    module = family.build(spec)
    before = shapes_of(module)
    assert before[path] == {"type": "attention", "heads": 4}
    heads = {"type": "attention", "heads": 3}
    query = next(name for name in (f"{path}.query", f"{path}.q") if name in before)
    reshape(module, {path: heads, query: {**before[query], "out": 24}})
    assert family.parts(module).heads == {path: 3}
    attention = module.get_submodule(path)
    assert getattr(attention, "all_head_size", 24) == 24
    with pytest.raises(ArtifactError, match="2 heads of 8, and a projection to 24"):
        reshape(module, {path: {**heads, "heads": 2}})


def test_only_what_changed_is_told() -> None:
    before = shapes_of(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)))
    after = shapes_of(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 1)))
    assert changed(before, after) == {"1": {"type": "Linear", "in": 3, "out": 1}}
    assert changed(before, before) == {}


def test_layers_that_cannot_be_resized_have_no_shape() -> None:
    layers = [nn.LSTM(4, 4, num_layers=2), nn.GRU(4, 4, bidirectional=True), nn.GroupNorm(2, 4)]
    assert shapes_of(nn.Sequential(*layers, nn.LayerNorm([2, 4]), nn.Conv1d(4, 4, 1))) == {}


def tied() -> nn.Sequential:
    network = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    network[2].weight = network[0].weight
    return network


def test_tied_parameters_stay_tied() -> None:
    network, size = tied(), {"type": "Linear", "in": 3, "out": 3}
    reshape(network, {"0": size, "2": size})
    assert network[0].weight is network[2].weight
    assert network[0].weight.shape == (3, 3)
    assert network[0].bias is not network[2].bias


@pytest.mark.parametrize(
    "shapes",
    [
        {"0": {"type": "Linear", "in": 3, "out": 4}},
        {"0": {"type": "Linear", "in": 3, "out": 4}, "2": {"type": "Linear", "in": 4, "out": 3}},
    ],
)
def test_a_tie_is_not_torn(shapes: dict[str, Shape]) -> None:
    with pytest.raises(ArtifactError, match=r"weight"):
        reshape(tied(), shapes)


@pytest.mark.parametrize(
    "shape",
    [
        None,
        [4, 4],
        {"type": "Linear", "in": 4},
        {"type": "Linear", "in": 4, "out": 3, "weight": "x"},
        {"type": "Linear", "in": 4, "out": 0},
        {"type": "Linear", "in": 4, "out": -3},
        {"type": "Linear", "in": 4, "out": 2.0},
        {"type": "Linear", "in": 4, "out": True},
        {"type": "Linear", "in": 2**30, "out": 2**30},
        {"type": "LayerNorm", "features": 4},
        {"type": "__class__", "in": 4, "out": 3},
    ],
)
def test_a_malformed_size_is_refused(shape: Any) -> None:
    network = nn.Sequential(nn.Linear(4, 4))
    weight = network[0].weight
    with pytest.raises(ArtifactError, match="layer 0"):
        reshape(network, {"0": shape})
    assert network[0].weight is weight


def test_groups_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ArtifactError, match="groups"):
        reshape(nn.Conv2d(4, 4, 1), {"": {"type": "Conv2d", "in": 4, "out": 4, "groups": 3}})


def test_an_unknown_layer_is_refused() -> None:
    with pytest.raises(AttributeError, match="has no attribute `7`"):
        reshape(nn.Sequential(nn.Linear(4, 4)), {"7": {"type": "Linear", "in": 4, "out": 4}})

"""Layers are replaced by layers of another class, wherever a network holds them."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn

from bmc.errors import UsageError
from bmc.inference.quantized_form import quantize_layers
from bmc.inference.quantized_layers import QuantizedLinear, plain_layer
from bmc.inference.replacing import rebuilt_as, replace_layers


class Pair(NamedTuple):
    """Two layers."""

    first: nn.Linear
    last: nn.Linear


class Network(nn.Module):
    """A network that holds its layers in attributes, and in containers that register none."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(8, 8), nn.Linear(8, 8)
        self.again = self.first
        self.in_a_list = [self.first, self.last]
        self.in_a_dict = {"first": self.first, "size": 8}
        self.in_a_tuple = (self.first, 3)
        self.in_a_pair = Pair(self.first, self.last)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return vectors (rows, 8) for vectors (rows, 8)."""
        for layer in self.in_a_list:
            values = layer(values)
        return values


def test_a_layer_is_replaced_in_attributes_lists_tuples_and_dicts() -> None:
    network = Network()
    names = list(network.state_dict())
    new = nn.Linear(8, 8)
    replace_layers(network, {network.first: new})
    assert network.first is network.again is network.in_a_list[0] is new
    assert network.in_a_dict == {"first": new, "size": 8}
    assert network.in_a_tuple == (new, 3)
    assert network.in_a_pair == Pair(new, network.last)
    assert list(network.state_dict()) == names


def test_a_layer_that_is_called_through_a_list_is_quantized_and_becomes_plain_again() -> None:
    torch.manual_seed(0)
    network, values = Network().eval(), torch.randn(4, 8)
    expected = network(values)
    entry = {"bits": 8, "group": 0, "inputs": "float"}
    quantize_layers(network, {"first": entry, "last": entry})
    assert type(network.in_a_list[0]) is QuantizedLinear
    assert not torch.equal(network(values), expected)
    layers = [network.first, network.last]
    replace_layers(network, {layer: plain_layer(layer) for layer in layers})
    assert type(network.first) is nn.Linear
    assert torch.equal(network(values), expected)


def test_a_rebuilt_layer_has_the_tensors_hooks_and_mode_of_the_first_one() -> None:
    layer, calls = nn.Linear(4, 4).eval(), []
    layer.register_forward_hook(lambda *_: calls.append(1))
    rebuilt = rebuilt_as(QuantizedLinear, layer)
    rebuilt.set_quantizers([], None, scaled=False)
    assert rebuilt.weight is layer.weight
    assert rebuilt.in_features == 4
    assert not rebuilt.training
    rebuilt(torch.randn(1, 4))
    assert calls == [1]
    assert "points" not in dict(layer.named_children())


class Nested(nn.Module):
    """A network that calls its layers through collections in collections, methods and partials."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(8, 8), nn.Linear(8, 8)
        self.stages: list[Any] = [(self.first, nn.ReLU()), (self.last.forward, torch.tanh)]
        self.by_name: dict[str, Any] = {
            "all": [{"first": self.first}, partial(self.last, input=None)]
        }
        self.by_name["itself"] = [self.by_name]
        pair = (self.first, 3)
        self.twice, self.by_name["tuple"] = [pair, pair], pair

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return vectors (rows, 8) for vectors (rows, 8)."""
        for layer, function in self.stages:
            values = function(layer(values))
        return values


def test_layers_in_nested_collections_methods_and_partials_are_replaced() -> None:
    torch.manual_seed(0)
    network, values = Nested(), torch.randn(4, 8)
    new_first, new_last = nn.Linear(8, 8), nn.Linear(8, 8)
    replace_layers(network, {network.first: new_first, network.last: new_last})
    expected = torch.tanh(new_last(torch.relu(new_first(values))))
    assert torch.equal(network(values), expected)
    assert network.twice[0] is network.twice[1] is network.by_name["tuple"]
    assert network.twice[0][0] is new_first
    held: Any = network.by_name["all"]
    assert held[0] == {"first": new_first}
    assert held[1].func is new_last


def test_an_equalized_layer_in_a_nested_list_computes_with_its_own_weights() -> None:
    torch.manual_seed(0)
    network, values = Nested().eval(), torch.randn(4, 8)
    network.stages[1] = (network.last, torch.tanh)
    expected = network(values)
    divided = {"bits": 0, "group": 0, "inputs": "float", "divided": True}
    quantize_layers(network, {"first": divided, "last": divided})
    for layer in (network.first, network.last):
        layer.scale_channels(torch.linspace(1, 9, 8))  # type: ignore[operator]
    torch.testing.assert_close(network(values), expected)


def test_a_layer_that_a_closure_keeps_is_refused_when_it_is_called() -> None:
    network = Nested()
    first = network.first
    network.stages = [(lambda values: first(values), torch.tanh)]
    replace_layers(network, {first: nn.Linear(8, 8)})
    with pytest.raises(UsageError, match="calls a Linear that was replaced"):
        network(torch.randn(2, 8))
    replace_layers(network, {network.first: first})  # and back
    assert network(torch.randn(2, 8)).shape == (2, 8)

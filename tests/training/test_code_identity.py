"""A user's code has one identity for what it computes, and another where that differs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bmc.training.code_identity import identity_of_code, identity_of_function
from bmc.training.identity import weights_of


def focal(outputs: Tensor, labels: Tensor, gamma: float = 2.0) -> Tensor:
    return (outputs**gamma).sum()


def of_closure(share: float) -> Callable[[Tensor, Tensor], Tensor]:
    def loss(outputs: Tensor, labels: Tensor) -> Tensor:
        return share * outputs.sum()

    return loss


def with_default(gamma: float) -> Any:
    def loss(outputs: Tensor, labels: Tensor, power: float = gamma) -> Tensor:
        return (outputs**power).sum()

    return loss


class Scaled:
    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __call__(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return self.factor * outputs.sum()


def of_weights(rare: float) -> nn.Module:
    return nn.CrossEntropyLoss(weight=torch.tensor([1.0, rare]))


@pytest.mark.parametrize(
    "make",
    [
        of_closure,
        with_default,
        Scaled,
        of_weights,
        lambda value: partial(focal, gamma=value),
        lambda value: lambda outputs, labels: {1.0: 1, 2.0: 2}[value],
    ],
)
def test_the_values_that_a_function_reads_count(make: Callable[[float], Any]) -> None:
    assert identity_of_function(make(1.0)) == identity_of_function(make(1.0))
    assert identity_of_function(make(1.0)) != identity_of_function(make(2.0))


def test_a_global_that_a_function_reads_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    before = identity_of_function(of_module_level)
    monkeypatch.setitem(globals(), "FACTOR", 3.0)
    assert identity_of_function(of_module_level) != before


FACTOR = 2.0


def of_module_level(outputs: Tensor, labels: Tensor) -> Tensor:
    return FACTOR * outputs.sum()


class Net(nn.Module):
    def __init__(self, divisor: float = 1.0) -> None:
        super().__init__()
        self.layer, self.divisor = nn.Linear(2, 2), divisor

    def forward(self, values: Tensor) -> Tensor:
        output: Tensor = self.layer(values / self.divisor)
        return output


class Other(Net):
    def forward(self, values: Tensor) -> Tensor:
        output: Tensor = self.layer(values) / self.divisor
        return output


def test_the_code_and_the_settings_of_a_network_count_and_its_weights_do_not() -> None:
    assert identity_of_code(Net()) == identity_of_code(Net())
    assert len({identity_of_code(net) for net in (Net(), Net(255.0), Other())}) == 3


def test_an_identity_is_the_same_in_each_process() -> None:
    code = (
        "from tests.training.test_code_identity import *;"
        "print(identity_of_function(of_module_level), identity_of_code(Net()))"
    )
    command = [sys.executable, "-c", code]
    words = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert words == [identity_of_function(of_module_level), identity_of_code(Net())]


class Private(nn.Module):
    def __init__(self, value: float, kind: str) -> None:
        super().__init__()
        if kind == "hidden":
            self._scale = value
        elif kind == "tensor":
            self.scale = torch.tensor(value)
        else:
            self.register_buffer("scale", torch.tensor(value), persistent=False)


class Recurrent(nn.LSTM):
    pass


@pytest.mark.parametrize("kind", ["hidden", "tensor", "buffer"])
def test_what_a_network_keeps_beside_its_weights_counts(kind: str) -> None:
    same, other = Private(1.0, kind), Private(2.0, kind)
    assert identity_of_code(Private(1.0, kind)) == identity_of_code(same)
    assert identity_of_code(other) != identity_of_code(same)


def test_the_weights_that_layers_of_torch_keep_twice_do_not_count() -> None:
    networks = [Recurrent(2, 3), Recurrent(2, 3)]
    assert weights_of(networks[0]) != weights_of(networks[1])
    assert identity_of_code(networks[0]) == identity_of_code(networks[1])


class Focal(nn.CrossEntropyLoss):
    def __init__(self, gamma: float) -> None:
        super().__init__()
        self._gamma = gamma


def test_a_private_number_of_a_layer_that_extends_one_of_torch_counts() -> None:
    assert identity_of_function(Focal(2.0)) == identity_of_function(Focal(2.0))
    assert identity_of_function(Focal(2.0)) != identity_of_function(Focal(3.0))

"""Initialization: each has its spread, and leaves alone what is no weight matrix."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from bmc.training.initialize import initialize
from bmc.training.settings import INITIALIZATIONS


def network() -> nn.ModuleDict:
    torch.manual_seed(0)
    return nn.ModuleDict(
        {
            "linear": nn.Linear(400, 200),
            "convolution": nn.Conv2d(16, 32, 5),
            "plain": nn.Conv2d(8, 8, 3, bias=False),
            "recurrent": nn.LSTM(100, 100),
            "norm": nn.BatchNorm2d(16),
            "words": nn.Embedding(50, 30),
        }
    )


def weight(module: nn.Module, name: str) -> Tensor:
    return module.get_parameter(name).detach()


# A convolution sees 16 x 25 = 400 values and is seen by 32 x 25 = 800.
@pytest.mark.parametrize(
    ("how", "linear", "convolution"),
    [
        ("normal", 0.02, 0.02),
        ("xavier", math.sqrt(2 / (400 + 200)), math.sqrt(2 / (400 + 800))),
        ("he", math.sqrt(2 / 400), math.sqrt(2 / 400)),
    ],
)
def test_each_has_the_standard_deviation_of_its_paper(
    how: str, linear: float, convolution: float
) -> None:
    module = network()
    initialize(module, how)
    for name, expected in (("linear", linear), ("convolution", convolution)):
        values = weight(module, f"{name}.weight")
        assert float(values.std()) == pytest.approx(expected, rel=0.05)
        assert float(values.mean()) == pytest.approx(0, abs=expected / 10)
        assert int(weight(module, f"{name}.bias").count_nonzero()) == 0


def test_xavier_is_uniform_and_the_others_normal() -> None:
    module = network()
    initialize(module, "xavier")
    values = weight(module, "linear.weight")
    assert float(values.abs().max()) <= math.sqrt(6 / 600)
    initialize(module, "he")
    values = weight(module, "linear.weight")
    assert float(values.abs().max()) > 3 * float(values.std())


@pytest.mark.parametrize("how", INITIALIZATIONS)
def test_normalizations_and_embeddings_are_left_alone(how: str) -> None:
    before, module = network().state_dict(), network()
    initialize(module, how)
    after = module.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert not any(name.startswith(("norm.", "words.")) for name in changed)
    expected = {"linear.weight", "linear.bias", "convolution.weight", "convolution.bias"}
    expected |= {"plain.weight", "recurrent.weight_ih_l0", "recurrent.weight_hh_l0"}
    assert changed == (set() if how == "default" else expected)


@pytest.mark.parametrize("how", [how for how in INITIALIZATIONS if how != "default"])
def test_the_generators_seed_decides(how: str) -> None:
    first, second = network(), network()
    for module in (first, second):
        torch.manual_seed(7)
        initialize(module, how)
    assert torch.equal(weight(first, "linear.weight"), weight(second, "linear.weight"))

"""16 bits: what overflows or is unknown stays in 32, and a network that overflows is refused."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from bmc.compress.quantize.bf16 import Bf16
from bmc.compress.quantize.fp16 import Fp16
from bmc.data import Dataset
from bmc.errors import DataError
from bmc.inference.half_precision import DTYPES, to_half_precision
from bmc.model import Model, Work, output_of
from bmc.models import mlp
from bmc.quantization.overflow import overflowing_layers
from tests.compress.conftest import wrapped


def outputs_of(model: Model) -> torch.Tensor:
    arrays = model.encoder.probes(4)[-1]
    with torch.inference_mode():
        return output_of(model.module, {k: torch.from_numpy(item) for k, item in arrays.items()})


def test_layers_that_would_overflow_stay_in_32_bits(digits: Dataset, work: Work) -> None:
    model = mlp.baseline("mlp", digits, mlp.Settings())
    with torch.no_grad():
        model.module.get_parameter("output.weight").mul_(1e6)
    rows = list(digits.train.rows[:8])
    assert overflowing_layers(model.module, model.encoder, rows) == ["output"]
    assert Fp16(samples=8).apply(model, work)["keep"] == ["output"]
    assert outputs_of(model).isfinite().all()


def test_layers_that_read_what_16_bits_cannot_hold_stay_in_32_too(
    digits: Dataset, work: Work
) -> None:
    torch.manual_seed(0)
    model = mlp.baseline("mlp", digits, mlp.Settings(depth=2))
    large, reader = (
        path
        for path, item in model.module.named_modules()
        if "hidden." in path and isinstance(item, nn.Linear)
    )
    with torch.no_grad():
        model.module.get_parameter(f"{large}.weight").mul_(1e6)
        model.module.get_parameter(f"{reader}.weight").mul_(1e-6)
    expected = outputs_of(model)
    assert Fp16(samples=8).apply(model, work)["keep"] == [large, reader]
    torch.testing.assert_close(outputs_of(model), expected, atol=0.02, rtol=0.02)


@pytest.mark.parametrize("step", [Fp16(samples=8), Bf16()])
def test_a_regressions_answers_have_32_bits_where_its_weights_have_16(
    step: Any, digits: Dataset, work: Work
) -> None:
    data = replace(digits, task="regression", labels=())
    torch.manual_seed(0)
    model = mlp.baseline("mlp", data, mlp.Settings(width=32))
    with torch.no_grad():
        model.module.get_parameter("output.bias").add_(2000)
    expected = outputs_of(model)
    assert step.apply(model, work)["keep"] == ["output"]
    torch.testing.assert_close(outputs_of(model), expected, atol=0.05, rtol=0)


class _Squared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(64, 16)
        self.last = nn.Linear(16, 10)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        wide = self.first(pixels.flatten(1)) * 1e3
        outputs: torch.Tensor = self.last((wide * wide).log1p())
        return outputs


def test_a_network_that_overflows_between_its_layers_is_refused(
    digits: Dataset, work: Work
) -> None:
    torch.manual_seed(0)
    model = wrapped(_Squared(), digits)
    with pytest.raises(DataError, match=r"between the layers .* --method bf16"):
        Fp16(samples=8).apply(model, work)


@pytest.mark.parametrize("step", [Fp16(in_float=("*",), samples=8), Bf16(in_float=("*",))])
def test_16_bits_for_no_layer_are_no_step(step: Any, digits: Dataset, work: Work) -> None:
    model = mlp.baseline("mlp", digits, mlp.Settings(width=16))
    before = copy.deepcopy(model.module)
    assert step.apply(model, work) == {}
    assert type(model.module) is type(before)


class _Unknown(nn.Conv2d):
    """A convolution that bmc does not know, as other libraries have."""


class _Mixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3)
        self.second = _Unknown(4, 8, 3)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.last = nn.Linear(8, 2)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        maps = self.second(self.first(pixels)).flatten(2).transpose(1, 2)
        outputs: torch.Tensor = self.last(self.attention(maps, maps, maps)[0].mean(dim=1))
        return outputs


def test_layers_that_16_bits_are_not_for_compute_in_32_among_those_that_they_are_for() -> None:
    torch.manual_seed(0)
    network = _Mixed().eval()
    pixels = torch.randn(2, 1, 8, 8)
    with torch.inference_mode():
        expected = network(pixels)
        to_half_precision(network, "fp16", [])
        torch.testing.assert_close(network(pixels), expected, atol=5e-3, rtol=1e-2)
    assert network.first.weight.dtype == network.last.weight.dtype == torch.float16
    assert network.second.weight.dtype == torch.float32


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize("layer", [nn.Linear(32, 8), nn.Conv2d(32, 8, 3)])
def test_16_bits_are_summed_in_32_and_rounded_once(layer: nn.Module, precision: str) -> None:
    torch.manual_seed(0)
    dtype = DTYPES[precision]
    values = (
        torch.randn(4, 32, 5, 32).to(dtype)
        if isinstance(layer, nn.Linear)
        else (torch.randn(4, 32, 5, 5).to(dtype))
    )
    rounded = copy.deepcopy(layer).to(dtype).float()
    form = nn.Sequential(copy.deepcopy(layer)).eval()
    to_half_precision(form, precision, [])
    with torch.inference_mode():
        outputs, sums = form[0](values.float()), rounded(values.float())
    assert outputs.dtype == dtype
    torch.testing.assert_close(outputs.float(), sums, atol=1e-6, rtol=torch.finfo(dtype).eps)

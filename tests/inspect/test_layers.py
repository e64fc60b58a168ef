"""What layers cost: counted by hand, for every kind of layer that has a fused kernel."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from bmc.inspect.collect import costs_at
from bmc.inspect.layers import Costs, costs_of
from bmc.model import Model

WIDTH, STEPS = 32, 8
ATTENTION = 2 * STEPS * STEPS * WIDTH  # queries x keys, then x values


class Recurrent(nn.Module):
    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, series: Tensor) -> Tensor:
        output: Tensor = self.layer(series)[0]
        return output[:, -1]


class Tied(nn.Module):
    """Two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)
        self.second.weight = self.first.weight

    def forward(self, values: Tensor) -> Tensor:
        output: Tensor = self.second(self.first(values))
        return output


class Rows(nn.Module):
    """The first rows of a table, as MPNet's inference form reads its positions."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(10, 6))

    def forward(self, count: int) -> Tensor:
        return self.table[:count]


class Placed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.places, self.layer = Rows(), nn.Linear(6, 2)

    def forward(self, values: Tensor) -> Tensor:
        output: Tensor = self.layer(values + self.places(values.shape[0]))
        return output


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(WIDTH, 2, 64, batch_first=True)

    def forward(self, values: Tensor) -> Tensor:
        output: Tensor = self.layer(values)
        return output


def costs(module: nn.Module, name: str, *shape: int) -> Costs:
    return costs_of(module.eval(), {name: torch.randn(shape)}, runs=1)


def test_a_convolution_and_a_linear_count_their_macs_and_bytes() -> None:
    result = costs(
        nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Flatten()),
        "input",
        1, 3, 9, 9,
    )  # fmt: skip
    convolution, norm, *_ = result.layers
    assert convolution.macs == 9 * 9 * 8 * 3 * 3 * 3
    assert convolution.parameters == 8 * 27 + 8
    assert norm.bytes == 4 * 4 * 8 + 8  # scale, shift, mean, variance, and how many batches
    assert result.macs == convolution.macs


@pytest.mark.parametrize(("kind", "gates"), [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)])
def test_a_recurrent_layers_fused_kernel_is_counted(
    kind: Callable[..., nn.RNNBase], gates: int
) -> None:
    result = costs(Recurrent(kind(12, 20, batch_first=True)), "series", 1, STEPS, 12)
    assert result.macs == STEPS * (12 + 20) * gates * 20


def test_attention_is_counted_though_its_kernel_is_fused() -> None:
    result = costs(Encoder(), "values", 1, STEPS, WIDTH)
    linears = STEPS * (4 * WIDTH * WIDTH + 2 * WIDTH * 64)
    assert result.macs == linears + ATTENTION


def test_berts_attention_stands_with_the_module_that_computes_it(model: Model) -> None:
    result = costs_at(model, STEPS)
    entry = {layer.path: layer.macs for layer in result.layers}
    assert entry["bert.encoder.layer.0.attention.self"] == ATTENTION
    assert entry["bert.encoder.layer.0.attention.self.query"] == STEPS * WIDTH * WIDTH
    assert result.inputs["input_ids"] == (1, STEPS)
    assert result.parameters == sum(each.numel() for each in model.module.parameters())


def test_a_length_beyond_what_the_model_takes_is_cut_to_it(model: Model) -> None:
    assert costs_at(model, 10_000).inputs["input_ids"] == (1, 64)


def test_a_shared_weight_is_counted_once() -> None:
    result = costs(Tied(), "values", 1, 6)
    first, second, *_ = result.layers
    assert (first.parameters, second.parameters) == (36 + 6, 6)
    assert second.shared_with == "first"
    assert first.macs == second.macs == 36
    assert result.bytes == 4 * (36 + 6 + 6)


def test_a_module_that_returns_its_own_parameter_is_counted() -> None:
    module = Placed()
    assert costs(module, "values", 4, 6).macs == 4 * 6 * 2
    assert all(parameter.requires_grad for parameter in module.parameters())


def test_time_shares_add_up_to_one(make_model: Callable[..., Model]) -> None:
    result = costs_at(make_model(), STEPS)
    assert sum(result.time_share(layer) for layer in result.layers) == pytest.approx(1)
    assert all(layer.milliseconds >= 0 for layer in result.layers)


def test_counting_leaves_the_model_and_torch_as_they_were(model: Model) -> None:
    fused = torch.backends.mkldnn.enabled, torch.backends.mha.get_fastpath_enabled()
    costs_at(model, STEPS)
    assert (torch.backends.mkldnn.enabled, torch.backends.mha.get_fastpath_enabled()) == fused
    assert not any(
        each._forward_hooks or each._forward_pre_hooks for each in model.module.modules()
    )

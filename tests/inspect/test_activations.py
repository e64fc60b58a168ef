"""What flows through layers: dead units, saturation, percentiles, in constant memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bmc.data import Dataset
from bmc.inspect.activations import (
    BINS,
    PERCENTS,
    Activation,
    ActivationObserver,
    activations_of,
    unpadded,
)
from bmc.model import Model
from bmc.training.batches import Rows


def of(module: nn.Module, *batches: Tensor) -> dict[tuple[str, str], Activation]:
    result = activations_of(module.eval(), [{"values": batch} for batch in batches])
    return {(each.path, each.operation): each for each in result}


class Functions(nn.Module):
    """Activation functions that are no modules, twice in one module."""

    def __init__(self, dead: int = 3) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 10), nn.Linear(10, 5)
        with torch.no_grad():
            self.first.weight[:dead] = 0
            self.first.bias[:dead] = -1

    def forward(self, values: Tensor) -> Tensor:
        hidden = functional.relu(self.first(values), inplace=True)
        return functional.relu(self.second(hidden)) + torch.tanh(100 * self.second(hidden))


class Named(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, values: Tensor) -> Tensor:
        result = self.layer(values)
        output: Tensor = result[0] if isinstance(result, tuple) else result
        return output


def test_dead_units_are_found_where_relu_is_a_function_and_works_in_place() -> None:
    torch.manual_seed(0)
    result = of(Functions(dead=3), torch.randn(500, 4), torch.randn(7, 4))
    assert (result["", "relu"].units, result["", "relu"].dead) == (10, 3)
    assert result["", "relu"].values == 507 * 10
    assert result["", "relu 2"].units == 5
    assert result["first", "Linear"].smallest < 0  # seen before the function worked on it


def test_a_unit_that_one_row_wakes_is_not_dead() -> None:
    linear = nn.Linear(1, 2, bias=False)
    linear.weight.data.copy_(torch.tensor([[1.0], [-1.0]]))
    layer = nn.Sequential(linear, nn.ReLU())
    quiet, waking = torch.ones(50, 1), -torch.ones(1, 1)
    assert of(Named(layer), quiet)["layer.1", "relu"].dead == 1
    assert of(Named(layer), quiet, waking)["layer.1", "relu"].dead == 0


def test_channels_are_the_units_of_images() -> None:
    convolution = nn.Conv2d(1, 6, 3)
    convolution.weight.data.zero_()
    convolution.bias = nn.Parameter(torch.tensor([-1.0, -1, 1, 1, 1, 1]))
    layer = nn.Sequential(convolution, nn.ReLU6())
    activation = of(Named(layer), torch.randn(2, 1, 9, 9))["layer.1", "relu6"]
    assert (activation.units, activation.dead) == (6, 2)


def test_channels_are_the_units_of_convolutions_over_time() -> None:
    convolution = nn.Conv1d(2, 5, 3)
    convolution.weight.data.zero_()
    convolution.bias = nn.Parameter(torch.tensor([-1.0, -1, 1, 1, 1]))
    layer = nn.Sequential(convolution, nn.ReLU())
    activation = of(Named(layer), torch.randn(4, 2, 12))["layer.1", "relu"]
    assert (activation.units, activation.dead) == (5, 2)
    tokens = nn.Sequential(nn.Linear(6, 7), nn.ReLU())  # (rows, tokens, features)
    assert of(Named(tokens), torch.randn(4, 12, 6))["layer.1", "relu"].units == 7


def test_channels_stay_the_units_behind_a_pooling_over_time() -> None:
    layer = nn.Sequential(nn.Conv1d(2, 5, 3), nn.MaxPool1d(2), nn.ReLU())
    assert of(Named(layer), torch.randn(4, 2, 12))["layer.2", "relu"].units == 5


class LastChannels(nn.Module):
    """A block of ConvNeXt: the hidden units of its linear layers are on the last axis."""

    def __init__(self) -> None:
        super().__init__()
        self.depthwise, self.norm = nn.Conv2d(6, 6, 3, padding=1, groups=6), nn.LayerNorm(6)
        self.grow, self.shrink = nn.Linear(6, 24), nn.Linear(24, 6)
        with torch.no_grad():
            self.grow.weight[:5] = 0
            self.grow.bias[:5] = -9

    def forward(self, values: Tensor) -> Tensor:
        rows = self.norm(self.depthwise(values).permute(0, 2, 3, 1))
        hidden = functional.gelu(self.grow(rows))
        return functional.relu(values + self.shrink(hidden).permute(0, 3, 1, 2))


def test_units_are_on_the_last_axis_where_a_linear_layer_of_images_put_them() -> None:
    result = of(LastChannels(), torch.randn(2, 6, 9, 9))
    assert (result["", "gelu"].units, result["", "gelu"].dead) == (24, 5)
    assert result["", "relu"].units == 6, "turned back"


def test_saturation_is_the_share_of_values_at_the_bounds() -> None:
    values = torch.tensor([[-9.0, -0.5, 0.0, 0.5, 9.0, 9.0, 9.0, 0.1]])
    assert of(Named(nn.Tanh()), values)["layer", "tanh"].saturated == 0.5
    assert of(Named(nn.Sigmoid()), values)["layer", "sigmoid"].saturated == 0.5


def test_the_gates_of_an_lstm_are_seen() -> None:
    layer = nn.LSTM(3, 4, batch_first=True)
    result = of(Named(layer), 50 * torch.randn(6, 9, 3))
    gates = result["layer", "sigmoid"]
    assert gates.values == 6 * 9 * 3 * 4
    assert gates.saturated is not None
    assert gates.saturated > 0.5


def test_percentiles_of_a_stream_are_those_of_all_values_at_once() -> None:
    generator = torch.Generator().manual_seed(0)
    batches = [scale * torch.randn(1000, 3, generator=generator) for scale in (0.01, 1, 40)]
    linear = nn.Linear(3, 3, bias=False)
    linear.weight.data.copy_(torch.eye(3))
    activation = of(Named(linear), *batches)["layer", "Linear"]
    everything = torch.cat(batches).numpy().reshape(-1)
    exact = np.percentile(everything, PERCENTS)
    assert list(activation.percentiles.values()) == pytest.approx(exact, rel=1 / 32, abs=1e-3)
    assert (activation.smallest, activation.largest) == (everything.min(), everything.max())


def test_values_that_are_nan_or_infinite_are_counted_and_left_out() -> None:
    values = torch.tensor([[1.0, float("nan"), float("inf"), -1.0]])
    activation = of(Named(nn.Tanh()), values)["layer", "tanh"]
    assert activation.not_finite == 1  # tanh of infinity is 1
    assert activation.smallest == pytest.approx(-0.7616, abs=1e-4)
    assert activation.largest == 1.0


def test_memory_does_not_grow_with_the_rows() -> None:
    observer = ActivationObserver(module := Named(nn.ReLU()).eval())
    with torch.no_grad(), observer.hooked(), observer:
        for _ in range(20):
            observer.calls.clear()
            module(torch.randn(64, 5))
    (histogram,) = observer.histograms.values()
    kept = [value for value in vars(histogram).values() if isinstance(value, Tensor)]
    assert sorted(len(value) for value in kept) == [5, BINS]


def test_padding_is_not_counted(model: Model, reviews: Dataset) -> None:
    rows = Rows(reviews.validation.rows, reviews.validation.labels, model.encoder)
    batches = list(unpadded(rows, size=4))
    assert all(bool((batch["attention_mask"] == 1).all()) for batch in batches)
    assert sum(len(batch["input_ids"]) for batch in batches) == len(rows)
    words = activations_of(model.module, batches)[0]
    assert words.path == "bert.embeddings.word_embeddings"
    assert words.values == int(rows.lengths.sum()) * 32

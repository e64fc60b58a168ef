"""The inference form: what is frozen stays so, and embeddings have the rows that they look up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import bmc
from bmc import artifact
from bmc.inference.folding import fold_max_norm
from bmc.inference.form import become_inference_form
from bmc.inference.quantized_form import in_fp32, quantize_layers
from bmc.inference.sharing import read_directly
from bmc.model import output_of
from bmc.quantization.equalization import largest_inputs


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(40, 8, max_norm=1.0)
        self.bank = nn.Parameter(torch.ones(8), requires_grad=False)
        self.count = nn.Parameter(torch.tensor(3), requires_grad=False)
        self.output = nn.Linear(8, 2)

    def forward(self, ids: Tensor) -> Tensor:
        output: Tensor = self.output(self.words(ids).mean(dim=1) * self.bank)
        return output


def rows() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 20, (60, 4))


def test_a_frozen_parameter_stays_frozen_and_limited_rows_keep_their_norm(workspace: Path) -> None:
    torch.manual_seed(0)
    net = Net()
    with torch.no_grad():
        net.words.weight.mul_(10)
    ids = torch.arange(40).reshape(10, 4)
    expected = net.eval()(ids)  # PyTorch scales the rows that are looked up
    fresh = Net()
    fresh.load_state_dict(net.state_dict())
    with torch.no_grad():
        fresh.words.weight[20:].mul_(7)  # rows that no data looks up
    handle = bmc.wrap(fresh, (rows(), rows()[:, 0] % 2), name="limited")
    model = artifact.load(handle.path)
    become_inference_form(model)
    flags = {name: value.requires_grad for name, value in model.module.named_parameters()}
    assert [flags[f"network.{name}"] for name in ("bank", "count", "output.weight")] == [
        *(False, False, True)
    ]
    words = model.module.get_submodule("network.words")
    assert words.max_norm is None
    torch.testing.assert_close(output_of(model.module, {"ids": ids}), expected)


def test_rows_within_the_limit_stay_as_they_are() -> None:
    words = nn.Embedding(4, 2, max_norm=5.0)
    before = words.weight.detach().clone()
    fold_max_norm(words)
    assert torch.equal(words.weight, before)


class Routed(nn.Module):
    """Sends rows above 0 to one expert, and all others to the other."""

    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.ModuleList([nn.Linear(4, 2), nn.Linear(4, 2)])
        self.query = nn.Parameter(torch.ones(4))
        self.key = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        is_first = x[:, 0] > 0
        output = x.new_zeros(len(x), 2)
        for expert, of_expert in zip(self.experts, (is_first, ~is_first), strict=True):
            output[of_expert] = expert(x[of_expert])
        result: Tensor = output + self.key(self.query)
        return result


def test_an_expert_without_rows_and_an_input_of_one_axis_are_quantized(workspace: Path) -> None:
    torch.manual_seed(0)
    x = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    x[:, 0] = np.abs(x[:, 0]) + 0.1  # no row goes to the second expert
    handle = bmc.wrap(Routed(), (x, (x[:, 1] > 0).astype(np.int64)), name="routed")
    model = artifact.load(handle.path)
    layers = {
        name: part for name, part in model.module.named_modules() if isinstance(part, nn.Linear)
    }
    largest = largest_inputs(model.module.eval(), layers, model.encoder, list(x[:8]))
    assert set(largest) == {"network.experts.0", "network.key"}
    assert largest["network.key"].tolist() == [1.0] * 4


class Stacked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
        self.both, self.output = nn.Linear(4, 8), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        experts: Any = self.experts
        weights = torch.stack([expert.weight for expert in experts])
        first, second = self.both.weight.chunk(2)
        output: Tensor = self.output(x @ weights.sum(dim=0) + x @ first + x @ second)
        return output


def test_weights_that_are_read_from_a_list_or_in_pieces_are_seen() -> None:
    module = Wrapper(Stacked())
    assert set(read_directly(module.eval(), {"x": torch.ones(1, 4)})) == {
        *("network.experts.0", "network.experts.1", "network.both")
    }


class Wrapper(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.network(x)
        return output


class Sensors(nn.Module):
    """Two inputs, of which the second is optional: 0 where it is missing."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 8), nn.Linear(4, 8)
        self.output = nn.Linear(8, 2)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        output: Tensor = self.output(torch.relu(self.first(first) + self.second(second)))
        return output


def test_a_layer_that_saw_only_zeros_stays_in_float_and_reads_later_values(
    workspace: Path,
) -> None:
    torch.manual_seed(0)
    x = np.random.default_rng(0).normal(size=(80, 4)).astype(np.float32)
    data = {"first": x, "second": np.zeros_like(x)}
    said: list[str] = []
    handle = bmc.wrap(Sensors(), (data, (x[:, 0] > 0).astype(np.int64)), name="sensors")
    small = bmc.quantize(handle, "static", progress=lambda event: said.append(str(event)))
    assert any("second stays in float: the calibration samples" in text for text in said)
    with_sensor = {"first": torch.from_numpy(x), "second": torch.from_numpy(2 * x)}
    expected = output_of(artifact.load(handle.path).module.eval(), with_sensor)
    found = output_of(artifact.load(small.path).module.eval(), with_sensor)
    without = {**with_sensor, "second": torch.zeros(80, 4)}
    change = (output_of(artifact.load(handle.path).module.eval(), without) - expected).abs()
    assert (found - expected).abs().median() < 0.05 * change.median()


class Listens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.output = nn.Conv1d(4, 32, 3), nn.Linear(32, 2)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.output(torch.relu(self.convolution(x)).mean(dim=2))
        return output


def test_layers_of_a_kind_that_stays_in_float_are_named_with_their_share(workspace: Path) -> None:
    torch.manual_seed(0)
    x = np.random.default_rng(0).normal(size=(60, 4, 12)).astype(np.float32)
    handle = bmc.wrap(Listens(), (x, (x[:, 0, 0] > 0).astype(np.int64)), name="listens")
    said: list[str] = []
    bmc.quantize(handle, "weights", progress=lambda event: said.append(str(event)))
    assert any("1 Conv1d stay in float: 86% of the weights" in text for text in said), said


def test_the_fp32_form_of_an_equalized_network_multiplies_no_inputs(workspace: Path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 2)).eval()
    values = torch.randn(5, 6)
    expected = network(values)
    divided = {"bits": 8, "group": 0, "inputs": "float", "divided": True}
    quantize_layers(network, {"0": divided})
    layer: Any = network[0]
    layer.scale_channels(torch.linspace(1, 6, 6))
    plain = in_fp32(network)
    torch.testing.assert_close(plain(values), expected)
    assert plain.get_submodule("0").input_factors is None
    assert layer.input_factors is not None, "the form itself is not changed"


def test_a_wrapped_regression_is_stored_in_16_bits(workspace: Path) -> None:
    torch.manual_seed(0)
    x = np.random.default_rng(0).normal(size=(60, 6)).astype(np.float32)
    network = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 1))
    handle = bmc.wrap(network, (x, x[:, 0]), name="numbers", task="regression", inputs=["x"])
    half = bmc.quantize(handle, "fp16")
    assert half.predict([(x[0],)]) == pytest.approx(handle.predict([(x[0],)]), abs=1e-2)


class Keywords(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.output = nn.Linear(4, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.output(input=torch.relu(self.hidden(input=x)))
        return output


@pytest.mark.parametrize("method", ["static", "dynamic", "weights", "4 bits", "fp16"])
def test_layers_that_are_called_by_keyword_are_quantized(method: str, workspace: Path) -> None:
    torch.manual_seed(0)
    x = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    handle = bmc.wrap(Keywords(), (x, (x[:, 0] > 0).astype(np.int64)), name="keywords")
    expected = [one.score for one in handle.predict([(row,) for row in x[:5]])]
    bits: dict[str, Any] = {"bits": 4, "group": 16} if method == "4 bits" else {}
    method = "weights" if bits else method
    found = bmc.quantize(handle, method, **bits).predict([(row,) for row in x[:5]])
    assert [one.score for one in found] == pytest.approx(expected, abs=0.1 if bits else 0.02)
    bmc.share(
        handle,
        "lowrank",
        budget=0.9,
        fit="outputs",
        multiple=1,
        layers=("network.hidden",),
        epochs=0,
    )

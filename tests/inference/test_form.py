"""The inference form: what is frozen stays so, and embeddings have the rows that they look up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import bmc
from bmc import artifact
from bmc.inference.folding import fold_max_norm
from bmc.inference.form import become_inference_form
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

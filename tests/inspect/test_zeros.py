"""Zeros: their share of a model's weights, and what they bring under compression."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from bmc import artifact
from bmc import data as datasets
from bmc.inspect import zeros
from bmc.model import Model
from bmc.models import mlp


@pytest.fixture
def network() -> Model:
    torch.manual_seed(0)
    return mlp.baseline("mlp", datasets.load("digits"), mlp.Settings(width=64))


def test_the_share_counts_matrices_and_not_biases(network: Model) -> None:
    module = network.module
    with torch.no_grad():
        module.get_parameter("hidden.0.weight")[:16] = 0  # a quarter of 64 x 64
        for name, value in module.named_parameters():
            if "bias" in name:
                value.zero_()
    assert zeros.share_of_zeros(module) == pytest.approx(16 * 64 / (64 * 64 + 10 * 64))


def test_a_shared_weight_counts_once_and_a_computed_one_as_it_is_computed() -> None:
    module: Any = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    module[1].weight = module[0].weight
    with torch.no_grad():
        module[0].weight[:2] = 0
    assert zeros.share_of_zeros(module) == 0.25
    parametrize.register_parametrization(module[2], "weight", nn.Threshold(10.0, 0.0))
    assert zeros.share_of_zeros(module) == 0.75


def test_zeros_leave_the_file_as_large_and_shrink_it_compressed(
    network: Model, tmp_path: Path
) -> None:
    dense = artifact.save(network, tmp_path / "dense") / "model.safetensors"
    with torch.no_grad():
        weight = network.module.get_parameter("hidden.0.weight")
        weight.masked_fill_(weight.abs() <= weight.abs().median(), 0.0)
    sparse = artifact.save(network, tmp_path / "sparse") / "model.safetensors"
    assert dense.stat().st_size == sparse.stat().st_size
    assert zeros.compressed_size(sparse) < 0.75 * zeros.compressed_size(dense)
    assert zeros.COMPRESSION.startswith(("zlib", "zstd"))

"""N:M sparsity: the pattern, its axis down to the ONNX file, and indivisible numbers of inputs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from bmc import data as datasets
from bmc.compress.prune.nm import NM
from bmc.data import Dataset, Examples
from bmc.errors import SettingError, UnknownError, UsageError
from bmc.export.onnx_graph import write_onnx
from bmc.model import AppliedStep, Model, Work
from bmc.models import cnn, recurrent
from bmc.training.settings import TrainingSettings
from bmc.training.work import work_for


@pytest.fixture(scope="module")
def digits() -> Dataset:
    data = datasets.load("digits")
    return replace(data, train=Examples(data.train.rows[:64], data.train.labels[:64]))


@pytest.fixture
def network(digits: Dataset) -> Model:
    torch.manual_seed(0)
    return cnn.baseline("cnn", digits, cnn.Settings(width=8, hidden=16))


@pytest.fixture
def work(digits: Dataset, tmp_path: Path) -> Work:
    def never(reference: str) -> Model:
        raise AssertionError(f"{reference} was loaded")

    settings = TrainingSettings(epochs=1, learning_rate=1e-2, precision="fp32", device="cpu")
    return work_for(digits, (), settings, tmp_path, tmp_path, never, run="")


def groups_along_inputs(weight: Tensor, size: int) -> Tensor:
    """Return the groups of a weight's neighbors along its inputs, (groups, size)."""
    return weight.detach().movedim(1, -1).reshape(-1, size)


@pytest.mark.parametrize(("pattern", "kept", "size"), [("2:4", 2, 4), ("4:8", 4, 8)])
def test_the_largest_of_each_group_along_the_inputs_stay(
    network: Model, work: Work, pattern: str, kept: int, size: int
) -> None:
    before = {name: value.detach().clone() for name, value in network.module.named_parameters()}
    record = NM(pattern=pattern).apply(network, work)
    assert record == {"parameters": {"features.3.weight": 0.5, "hidden.weight": 0.5}}
    for name in record["parameters"]:
        old = groups_along_inputs(before[name], size)
        new = groups_along_inputs(network.module.get_parameter(name), size)
        assert bool(((new != 0).sum(dim=1) == kept).all())
        least = old.abs().sort(dim=1, descending=True).values[:, kept - 1 : kept]
        assert torch.equal(new, old.masked_fill(old.abs() < least, 0.0))


def test_the_groups_lie_along_the_reduced_axis_in_the_onnx_file(
    network: Model, work: Work, tmp_path: Path
) -> None:
    NM().apply(network, work)
    write_onnx(network, tmp_path / "model.onnx", 18)
    graph = onnx.load(tmp_path / "model.onnx").graph
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    checked = 0
    for node in graph.node:
        if node.op_type == "Conv":
            axis = 1
        elif node.op_type in ("Gemm", "MatMul"):
            transposed = any(item.name == "transB" and item.i for item in node.attribute)
            axis = 1 if transposed else 0
        else:
            continue
        weight = stored[node.input[1]]
        if 10 in weight.shape or weight.shape[axis] % 4:
            continue  # the output, and the first convolution's one channel
        groups = np.moveaxis(weight, axis, -1).reshape(-1, 4)
        assert ((groups != 0).sum(axis=1) == 2).all()
        checked += 1
    assert checked == 2


def test_zeros_stay_in_their_pattern_through_fine_tuning(network: Model, work: Work) -> None:
    record = NM().apply(network, work)
    network.steps.append(AppliedStep("prune/nm", {}, record, 0, 0.0))
    before = network.module.get_parameter("hidden.weight").detach().clone()
    work.fit(network, name="tuning")
    after = network.module.get_parameter("hidden.weight").detach()
    assert not torch.equal(after, before)
    assert torch.equal(after == 0, before == 0)


def test_a_layer_with_an_indivisible_number_of_inputs_is_not_pruned_and_named(
    network: Model, work: Work, capfd: pytest.CaptureFixture[str]
) -> None:
    before = network.module.get_parameter("features.0.weight").detach().clone()
    NM(layers=("features.*", "hidden")).apply(network, work)
    assert torch.equal(network.module.get_parameter("features.0.weight"), before)
    assert "not divisible by 4: features.0.weight (1)" in capfd.readouterr().err


def test_an_indivisible_layer_that_is_named_in_full_is_refused(network: Model, work: Work) -> None:
    before = network.module.get_parameter("hidden.weight").detach().clone()
    with pytest.raises(SettingError, match=r"features\.0\.weight has 1 inputs.* divisible by 4"):
        NM(layers=("features.0", "hidden")).apply(network, work)
    assert torch.equal(network.module.get_parameter("hidden.weight"), before)


def test_a_model_without_a_divisible_layer_is_refused(digits: Dataset, work: Work) -> None:
    indivisible = cnn.baseline("cnn", digits, cnn.Settings(width=5, hidden=16))
    with pytest.raises(SettingError, match=r"no layer has one: .*features\.3\.weight \(5\)"):
        NM(pattern="4:8", layers=("features.*",)).apply(indivisible, work)


def test_a_model_with_recurrent_layers_alone_is_refused(work: Work) -> None:
    series = datasets.load("japanese-vowels")
    model = recurrent.baseline("lstm", series, recurrent.Settings(hidden=8))
    with pytest.raises(UsageError, match="nothing that this method prunes"):
        NM().apply(model, work)


def test_a_grouped_convolution_is_not_pruned(network: Model, work: Work) -> None:
    module: Any = network.module
    module.features.append(nn.Conv2d(16, 16, 3, padding=1, groups=16))
    record = NM().apply(network, work)
    assert "features.6.weight" not in record["parameters"]


def test_an_unknown_pattern_and_an_unknown_layer_are_refused(network: Model, work: Work) -> None:
    with pytest.raises(SettingError, match="pattern is '1:2'; possible: 2:4, 4:8"):
        NM(pattern="1:2")
    with pytest.raises(UnknownError, match="Did you mean 'hidden'"):
        NM(layers=("hiden",)).apply(network, work)

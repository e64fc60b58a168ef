"""A quantized bundle that is slower than its fp32 export is refused, with the cause."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import bmc as package
from bmc.bundle import read
from bmc.errors import GateError
from bmc.export import onnx
from bmc.export.speed import Speed, doubt_of, refuse_slower
from bmc.inspect.executed import Executed
from bmc.measure.scores import Interval


def test_a_bundle_that_is_slower_says_why() -> None:
    executed = [Executed("MatMul", "float32", "a")]
    slower = Speed(Interval(0.5, 0.4, 0.6), 2.0)
    with pytest.raises(
        GateError, match=r"2\.00x slower than fp32 here \(still executed in fp32.*MatMul"
    ):
        refuse_slower(slower, executed, "int8")
    with pytest.raises(GateError, match="overhead-bound"):
        refuse_slower(Speed(slower.ratio, 0.1), executed, "int8")
    refuse_slower(Speed(Interval(0.95, 0.9, 1.01), 2.0), executed, "int8")


@pytest.mark.parametrize("precision", ["int8-weights", "int4-weights", "fp16", "bf16"])
def test_what_is_chosen_for_size_is_not_refused_for_speed(
    precision: str, capsys: pytest.CaptureFixture[str]
) -> None:
    refuse_slower(Speed(Interval(0.7, 0.6, 0.8), 2.0), [], precision)
    assert f"1.43x slower than fp32 here; {precision} is chosen for size" in " ".join(
        capsys.readouterr().err.split()
    )


def test_a_wide_interval_around_a_slow_median_is_said() -> None:
    ratio = Interval(0.62, 0.4, 1.1)
    refuse_slower(Speed(ratio, 2.0), [], "int8")
    assert doubt_of(ratio, "int8").startswith("probably 1.61x slower than fp32")
    assert not doubt_of(ratio, "int8-weights")
    for clear in (Interval(0.97, 0.9, 1.1), Interval(2, 1.9, 2.1), Interval(0.5, 0.4, 0.6)):
        assert not doubt_of(clear, "int8")


def test_every_multiplication_that_onnx_runtime_executes_is_listed_in_its_precision(
    tmp_path: Path, workspace: Path
) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.ConvTranspose2d(4, 4, 2), nn.Flatten(), nn.Linear(324, 2)
    )
    x = np.random.default_rng(0).normal(size=(40, 1, 10, 10)).astype(np.float32)
    handle = package.wrap(network, (x, np.arange(40) % 2), name="decoder", inputs=["x"])
    small = package.quantize(handle, "dynamic").to("onnx", allow_slower=True)
    listed = Counter((each.operator, each.precision) for each in onnx.executed(read(small.path)))
    assert ("ConvTranspose", "float32") in listed
    assert not any(name == "DynamicQuantizeLinear" for name, _ in listed)

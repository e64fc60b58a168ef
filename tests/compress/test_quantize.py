"""Quantization: the record rebuilds it, answers stay near, bad input is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_model, save_model
from torch import nn

from bmc import artifact, cli
from bmc.compress.quantize.fp16 import Fp16
from bmc.compress.quantize.mixed import Mixed
from bmc.compress.quantize.static import Static
from bmc.compress.quantize.weights import Weights
from bmc.contracts import families
from bmc.data import Dataset
from bmc.errors import ArtifactError, DataError, SettingError, UnknownError, UsageError
from bmc.inference.form import become_inference_form
from bmc.inference.layers import quantizable_layers
from bmc.inference.quantized_form import in_fp32, quantize_layers
from bmc.inference.quantized_layers import QUANTIZABLE
from bmc.inference.quantizers import LearnedActivationQuantizer
from bmc.model import Model, Work, output_of
from bmc.quantization.calibration import calibrate
from tests._vnni import WEIGHT_BITS
from tests.compress.quantized import FAMILIES, STEPS, applied, outputs_of

CROSSED = [
    (method, family)
    for method in STEPS
    for family in FAMILIES
    if (method, family) != ("mixed", "gan")  # a generator has no score to choose by
]


@pytest.mark.parametrize(("method", "family"), CROSSED)
def test_a_record_rebuilds_names_and_shapes_and_the_outputs_are_bit_equal(
    method: str,
    family: str,
    build_model: Callable[[str], Model],
    work_of: Callable[[Model], Work],
    tmp_path: Path,
) -> None:
    model = build_model(family)
    record = applied(model, method, work_of(model)).record
    rebuilt = build_model(family)
    rebuilt.module = families.network(family).build(rebuilt.spec)
    type(STEPS[method]).rebuild(rebuilt, record)
    shapes = {name: (v.shape, v.dtype) for name, v in model.module.state_dict().items()}
    assert {n: (v.shape, v.dtype) for n, v in rebuilt.module.state_dict().items()} == shapes
    save_model(model.module, str(tmp_path / "weights.safetensors"))
    load_model(rebuilt.module, tmp_path / "weights.safetensors", strict=True)
    for first, other in zip(outputs_of(model), outputs_of(rebuilt), strict=True):
        assert torch.equal(first, other)


@pytest.mark.parametrize(
    ("method", "family"), [pair for pair in CROSSED if pair[0] in ("static", "weights", "fp16")]
)
def test_a_quantized_model_answers_nearly_as_before_and_in_fp32_as_it_did(
    method: str,
    family: str,
    build_model: Callable[[str], Model],
    work_of: Callable[[Model], Work],
) -> None:
    model = build_model(family)
    work = work_of(model)
    rows = list(range(16)) if family == "gan" else list(work.data.train.rows[:16])
    arrays = model.encoder.batch(model.encoder.encode(rows), range(16))
    inputs = {name: torch.from_numpy(array) for name, array in arrays.items()}
    with torch.inference_mode():
        before = output_of(model.module, inputs)
        applied(model, method, work)
        after = output_of(model.module, inputs)
    assert not torch.equal(before, after)
    share = 0.15 * 2 ** (8 - WEIGHT_BITS)  # steps are twice as wide with a bit less
    assert (before - after).abs().mean() < share * before.abs().mean() + 1e-3
    with torch.inference_mode():  # what it is timed against
        restored = output_of(in_fp32(model.module), inputs)
    torch.testing.assert_close(restored, before, atol=0.01 * float(before.abs().max()), rtol=0)


def test_a_quantized_model_is_not_quantized_again(
    build_model: Callable[[str], Model], work_of: Callable[[Model], Work]
) -> None:
    model = build_model("mlp")
    applied(model, "static", work_of(model))
    with pytest.raises(UsageError, match="quantized already"):
        Static(samples=16).apply(model, work_of(model))


def test_structural_steps_come_before_quantization(
    build_model: Callable[[str], Model],
    work_of: Callable[[Model], Work],
    digits: Dataset,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = build_model("mlp")
    applied(model, "static", work_of(model))
    model.data = {"fingerprint": digits.fingerprint, "reference": "digits"}
    saved = artifact.save(model, tmp_path / "model")
    for verb in ("prune", "share", "quantize"):
        assert cli.run([verb, str(saved)]) == 2
        assert "is quantized" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Static(calibrator="entropy"), "calibrator is 'entropy'"),
        (lambda: Static(samples=0), "samples is 0"),
        (lambda: Static(weight_bits=4), "weight_bits is 4"),
        (lambda: Static(calibrator="percentile", percentile=20.0), "percentile is 20"),
        (lambda: Static(percentile=99.0), "calibrator 'mse' does not read"),
        (lambda: Weights(group=64), "only 4-bit weights use"),
        (lambda: Weights(samples=8), "only 4-bit weights use"),
        (lambda: Weights(bits=3), "bits is 3"),
        (lambda: Weights(bits=4, group=24), "group is 24"),
        (lambda: Mixed(max_drop=-1.0), "max_drop is -1"),
        (lambda: Fp16(samples=0), "samples is 0"),
    ],
)
def test_settings_out_of_range_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        make()


def test_a_calibration_on_one_row_is_refused(
    build_model: Callable[[str], Model], work_of: Callable[[Model], Work]
) -> None:
    model = build_model("mlp")
    with pytest.raises(UsageError, match=r"1 calibration sample\(s\)"):
        Static(samples=1).apply(model, work_of(model))


def test_a_layer_that_reads_nan_is_named(
    build_model: Callable[[str], Model], work_of: Callable[[Model], Work]
) -> None:
    model = build_model("mlp")
    with torch.no_grad():
        next(model.module.parameters()).fill_(float("nan"))
    with pytest.raises(DataError, match="reads NaN or infinity"):
        Static(samples=8).apply(model, work_of(model))


def test_a_layer_that_reads_only_zeros_stays_in_float_with_a_note(
    build_model: Callable[[str], Model],
    work_of: Callable[[Model], Work],
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = build_model("mlp")
    with torch.no_grad():  # what the output layer reads is zero, whatever the image
        first = next(part for part in model.module.modules() if isinstance(part, nn.Linear))
        first.weight.zero_()
        first.bias.fill_(-1.0)
    applied(model, "static", work_of(model))
    assert "output stays in float: the calibration samples give it no" in capsys.readouterr().err
    for created in outputs_of(model):
        assert torch.isfinite(created).all()


def test_calibration_rows_of_another_shape_are_refused(
    build_model: Callable[[str], Model], work_of: Callable[[Model], Work]
) -> None:
    model = build_model("cnn")
    become_inference_form(model)
    record = {"classifier.2": {"bits": 8, "group": 0, "inputs": "static"}}
    path = next(
        p for p, part in quantizable_layers(model.module).items() if type(part) is nn.Linear
    )
    quantize_layers(model.module, {path: record["classifier.2"]})
    rows = [np.zeros(5, np.uint8)] * 2
    with pytest.raises(DataError, match=r"shape \(5,\) is no image"):
        calibrate(model.module, model.encoder, rows, "minmax", 99.9)


def test_a_name_that_no_layer_has_is_said_with_the_near_ones(
    build_model: Callable[[str], Model], work_of: Callable[[Model], Work]
) -> None:
    model = build_model("mlp")
    with pytest.raises(UnknownError, match="hiden"):
        Static(samples=8, in_float=("hiden.*",)).apply(model, work_of(model))


@pytest.mark.parametrize(
    "entry",
    [
        {"bits": 2, "group": 0, "inputs": "static"},
        {"bits": 8, "group": -1, "inputs": "static"},
        {"bits": 4, "group": 48, "inputs": "float"},
        {"bits": 8, "group": 0, "inputs": "sometimes"},
        {"bits": 8},
        "int8",
    ],
)
def test_a_record_that_a_stranger_wrote_is_refused(
    entry: Any, build_model: Callable[[str], Model]
) -> None:
    model = build_model("mlp")
    with pytest.raises(ArtifactError, match="hidden"):
        Static.rebuild(model, {"hidden.0": entry})


def test_mixed_takes_the_worst_layers_back_into_float(
    build_model: Callable[[str], Model], work_of: Callable[[Model], Work]
) -> None:
    model = build_model("bert")
    with torch.no_grad():  # an outlier in one weight of each row ruins that layer's scales
        inner: Any = model.module.get_submodule("bert.encoder.layer.0.output.dense")
        inner.weight[:, 0] = 300.0
    step = Mixed(samples=16, max_drop=0.0)
    record = step.apply(model, work_of(model))
    every = QUANTIZABLE.values()
    left = [p for p, part in model.module.named_modules() if type(part) in every]
    assert left == list(record)


def test_training_moves_the_learned_ranges() -> None:
    quantizer = LearnedActivationQuantizer()
    quantizer.scale.data.fill_(0.5)
    values = torch.randn(100, generator=torch.Generator().manual_seed(0), requires_grad=True)
    quantizer(values).square().sum().backward()
    assert quantizer.scale.grad is not None
    assert quantizer.scale.grad.abs() > 0
    assert values.grad is not None
    assert torch.isfinite(values.grad).all()


@pytest.mark.parametrize("shape", [(8, 5, 6), (8, 3, 4, 4)])
def test_gradients_of_a_learned_scale_add_up_over_the_parts_of_a_batch(
    shape: tuple[int, ...],
) -> None:
    torch.manual_seed(0)
    values, weights = torch.randn(shape), torch.randn(shape)
    quantizer = LearnedActivationQuantizer()
    quantizer.scale.data.fill_(0.02)

    def gradient_of(parts: list[slice]) -> float:
        quantizer.scale.grad = None
        for part in parts:
            (quantizer(values[part]) * weights[part]).sum().backward()
        return float(quantizer.scale.grad)  # type: ignore[arg-type]

    whole = gradient_of([slice(0, 8)])
    assert gradient_of([slice(0, 3), slice(3, 8)]) == pytest.approx(whole, rel=1e-4)

"""Layers of low rank fitted to outputs: nearer on the rows that count, and what is refused."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bmc import artifact
from bmc.compress.share.lowrank import LowRank
from bmc.data import Dataset
from bmc.errors import SettingError, UsageError
from bmc.model import AppliedStep, Model, Work, output_of
from bmc.models import cnn, gan, mlp, resnet
from bmc.structure.outputs import Moments, Outputs, samples_of
from tests.compress.conftest import wrapped

FAMILIES = {
    "mlp": (mlp, mlp.Settings(width=48), ("hidden*",)),
    "cnn": (cnn, cnn.Settings(width=16, hidden=24), ("features.3", "hidden")),
    "resnet18": (resnet, resnet.Settings(width=8), ("layer2*",)),
    "gan": (gan, gan.Settings(latent=24, width=16), ("layers.*",)),
}


def fresh(name: str, digits: Dataset) -> Model:
    torch.manual_seed(0)
    family, settings, _ = FAMILIES[name]
    model: Model = family.baseline(name, digits, settings)
    for part in model.module.modules():
        if isinstance(part, nn.BatchNorm2d):  # some start as zeros, and hide what is before them
            nn.init.ones_(part.weight)
    return model


def split(model: Model, work: Work, **settings: Any) -> tuple[Model, dict[str, int]]:
    copied = replace(model, module=copy.deepcopy(model.module))
    record = LowRank(multiple=1, **settings).apply(copied, work)
    return copied, record


def outputs_of(model: Model, digits: Dataset) -> Tensor:
    """Return what a model makes of rows that nothing was fitted to."""
    rows = [9999 + n for n in range(300)] if model.task == "generation" else digits.test.rows
    encoded = model.encoder.encode(rows)
    arrays = model.encoder.batch(encoded, range(len(rows)))
    with torch.inference_mode():
        batch = {name: torch.from_numpy(array) for name, array in arrays.items()}
        return output_of(model.module.eval(), batch)


@pytest.mark.parametrize("name", FAMILIES)
def test_outputs_change_less_than_with_the_nearest_weights(
    name: str, digits: Dataset, work: Work
) -> None:
    model, layers = fresh(name, digits), FAMILIES[name][2]
    before = outputs_of(model, digits)
    moved = {}
    for fit in ("weights", "outputs"):
        copied, record = split(model, work, budget=0.5, fit=fit, layers=layers)
        assert record
        moved[fit] = float((outputs_of(copied, digits) - before).square().mean())
    assert 0 < moved["outputs"] < 0.8 * moved["weights"]


def test_later_layers_compensate_errors_of_earlier_layers(digits: Dataset, work: Work) -> None:
    model = fresh("gan", digits)
    before = outputs_of(model, digits)
    copied, record = split(model, work, budget=0.4, fit="outputs", layers=("layers.*",))
    alone = replace(model, module=copy.deepcopy(model.module))
    for path, rank in record.items():  # each fitted as if those before it were whole
        outputs = Outputs(model, work)
        single = copy.deepcopy(model.module)
        outputs.fit(single, [path], rank)
        alone.module.set_submodule(path, single.get_submodule(path))
    lost, unaware = (
        float((outputs_of(item, digits) - before).square().mean()) for item in (copied, alone)
    )
    assert lost < unaware


def test_energy_is_the_share_of_the_outputs_variance(digits: Dataset, work: Work) -> None:
    model = fresh("mlp", digits)
    path = next(name for name, part in model.module.named_modules() if type(part) is nn.Linear)
    values = Outputs(model, work).spectra({0: [path]})[0]
    with torch.inference_mode():
        rows = model.encoder.batch(model.encoder.encode(digits.train.rows), range(1000))
        pixels = torch.from_numpy(np.asarray(rows["pixels"])).flatten(1)
        created = model.module.get_submodule(path)(pixels)
    assert float(values.square().sum()) == pytest.approx(float(created.var(dim=0).sum()), rel=0.1)
    _, record = split(model, work, energy=0.7, fit="outputs", layers=(path,))
    kept = values.square().cumsum(0) / values.square().sum()
    assert kept[record[path] - 1] >= 0.7 > kept[record[path] - 2]


def test_rows_of_like_length_are_batched_so_that_hardly_a_sample_is_padding(
    build_model: Callable[..., Model], work_of: Callable[[Model], Work]
) -> None:
    model = build_model("bert")
    path = next(name for name, part in model.module.named_modules() if type(part) is nn.Linear)
    outputs, masks = Outputs(model, work_of(model)), list[Tensor]()

    def note(_: nn.Module, __: object, inputs: dict[str, Tensor]) -> None:
        masks.append(inputs["attention_mask"])

    model.module.register_forward_pre_hook(note, with_kwargs=True)
    outputs.spectra({0: [path]})
    tokens, positions = sum(int(mask.sum()) for mask in masks), sum(mask.numel() for mask in masks)
    assert tokens / positions > 0.85
    assert len({mask.shape[1] for mask in masks}) > 2


@pytest.mark.parametrize(
    "settings",
    [
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": (5, 3), "stride": (2, 1), "padding": (2, 0), "bias": False},
        {"kernel_size": 3, "dilation": 2, "padding": "same", "padding_mode": "circular"},
        {"kernel_size": 1, "stride": 2},
    ],
)
def test_samples_of_a_convolution_are_the_inputs_and_outputs_of_each_position(
    settings: dict[str, Any],
) -> None:
    layer = nn.Conv2d(4, 6, **settings)
    pixels = torch.randn(3, 4, 9, 11)
    read, inputs = samples_of(layer, pixels, layer(pixels))
    bias = 0.0 if layer.bias is None else layer.bias
    torch.testing.assert_close(read @ layer.weight.flatten(1).T + bias, inputs)


def test_moments_of_many_batches_are_those_of_all_samples() -> None:
    x, y = torch.randn(9000, 5) + 2, torch.randn(9000, 3)
    moments = Moments()
    for start in range(0, 9000, 500):
        moments.add(x[start : start + 500], y[start : start + 500])
    both = torch.cov(torch.cat([x, y], dim=1).T.double(), correction=0)
    first, other = moments.covariances(centered=True)
    torch.testing.assert_close(first, both[:5, :5], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(other, both[:5, 5:], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(moments.means()[0], x.double().mean(dim=0), atol=1e-4, rtol=1e-4)


def test_layers_that_share_a_weight_still_do(digits: Dataset, work: Work) -> None:
    model = fresh("resnet18", digits)
    item, other = (f"layer2.1.conv{number}" for number in (1, 2))
    model.module.get_submodule(other).weight = model.module.get_submodule(item).weight
    copied, record = split(model, work, budget=0.4, fit="outputs", layers=(item, other))
    assert record[item] == record[other]
    pairs = [copied.module.get_submodule(path) for path in (item, other)]
    assert pairs[0].get_parameter("0.weight") is pairs[1].get_parameter("0.weight")
    assert torch.isfinite(outputs_of(copied, digits)).all()


def test_a_fitted_model_gives_the_same_outputs_from_a_file(
    digits: Dataset, work: Work, tmp_path: Path
) -> None:
    copied, record = split(
        fresh("gan", digits), work, budget=0.4, fit="outputs", layers=("layers.*",)
    )
    copied.steps = [AppliedStep("share/lowrank", {"fit": "outputs"}, record, 0, 0.0)]
    loaded = artifact.load(artifact.save(copied, tmp_path / "model"))
    assert torch.equal(outputs_of(loaded, digits), outputs_of(copied, digits))


def test_a_layer_that_never_runs_is_refused_by_name(digits: Dataset, work: Work) -> None:
    model = fresh("mlp", digits)
    model.module.add_module("spare", nn.Linear(32, 32))
    with pytest.raises(UsageError, match="spare does not run on the training rows"):
        split(model, work, budget=0.5, fit="outputs", layers=("spare",))


def test_a_shared_bias_is_refused_by_the_name_of_its_layer(digits: Dataset, work: Work) -> None:
    model = fresh("gan", digits)
    first = model.module.get_submodule("layers.3")
    first.register_module("other", nn.Linear(8, 32))
    first.get_submodule("other").bias = first.bias
    with pytest.raises(UsageError, match=r"layers\.3 shares its bias with another layer"):
        split(model, work, budget=0.4, fit="outputs", layers=("layers.3",))


def test_an_unknown_fit_is_refused_with_the_possible_ones() -> None:
    with pytest.raises(SettingError, match="fit is 'inputs'; possible: weights, outputs"):
        LowRank(fit="inputs")


def test_outputs_are_those_of_the_layer_also_where_the_next_one_overwrites_them(
    digits: Dataset, work: Work
) -> None:
    models = [fresh("mlp", digits) for _ in range(2)]
    for part in models[0].module.modules():
        if isinstance(part, nn.ReLU):
            part.inplace = True
    settings: Any = {"budget": 0.5, "fit": "outputs", "layers": ("hidden*",)}
    records = [split(model, work, **settings) for model in models]
    assert records[0][1] == records[1][1]
    first, second = (outputs_of(model, digits) for model, _ in records)
    assert torch.equal(first, second)


def test_layers_are_fitted_in_the_order_in_which_they_run(digits: Dataset, work: Work) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    model = wrapped(network, digits)
    paths = [path for path, part in model.module.named_modules() if isinstance(part, nn.Linear)]
    backwards = {number: [path] for number, path in enumerate(reversed(paths))}
    assert list(Outputs(model, work).spectra(backwards)) == [1, 0]

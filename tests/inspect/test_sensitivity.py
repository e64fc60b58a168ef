"""Each layer changed alone: by how much, on whose weights, and what is kept of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bmc.data import Dataset
from bmc.inspect import sensitivity
from bmc.measure import scores
from bmc.measure.scores import Interval
from bmc.model import Model


def test_half_of_the_weights_goes_and_it_is_the_smaller_half() -> None:
    weight = torch.tensor([[0.1, -3.0, 0.2], [2.0, -0.05, 1.0]])
    assert sensitivity.without_half(weight).tolist() == [[0, -3, 0], [2, 0, 1]]


@pytest.mark.parametrize(
    ("change", "most", "shape", "group"),
    [
        (sensitivity.int8_by_channel, 127, (5, 3, 3, 3), 27),
        (sensitivity.int4_by_group, 7, (5, 64), 32),
        (sensitivity.int4_by_group, 7, (5, 45), 32),
    ],
)
def test_rounding_is_within_half_a_step_of_its_own_group(
    change: Callable[[Tensor], Tensor], most: int, shape: tuple[int, ...], group: int
) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    weight[0] *= 100
    rounded = change(weight)
    assert rounded.shape == weight.shape
    flat, moved = weight.reshape(shape[0], -1), (rounded - weight).reshape(shape[0], -1).abs()
    for start in range(0, flat.shape[1], group):
        part = slice(start, start + group)
        step = flat[:, part].abs().amax(dim=1, keepdim=True) / most
        assert bool((moved[:, part] <= 0.5001 * step).all())
    assert float(moved.max()) > 0


def test_a_layer_of_zeros_stays_zero() -> None:
    assert not sensitivity.int8_by_channel(torch.zeros(3, 4)).any()
    assert not sensitivity.int4_by_group(torch.zeros(3, 4)).any()


def test_the_model_is_not_changed_and_every_layer_is_measured(
    make_lively: Callable[..., Model], reviews: Dataset
) -> None:
    model = make_lively()
    before = {name: value.clone() for name, value in model.module.state_dict().items()}
    result = sensitivity.measure(model, reviews.train.rows[:24], reviews.train.labels[:24])
    assert result.rows == 24
    assert all(torch.equal(before[name], each) for name, each in model.module.state_dict().items())
    layers = list(sensitivity.layers_of(model.module))
    assert "bert.encoder.layer.1.output.dense" in layers
    assert "bert.encoder.layer.1.output.LayerNorm" not in layers
    for change in sensitivity.CHANGES:
        assert list(result.of(change)) == layers
    near, far = result.of("int8"), result.of("prune-half")
    assert all(near[layer].moved < far[layer].moved for layer in layers)
    assert min(loss.moved for loss in result.losses) > 0


def test_layers_that_share_a_weight_are_one() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    module[1].weight = module[0].weight
    assert list(sensitivity.layers_of(module)) == ["0", "2"]


def test_the_loss_is_paired() -> None:
    labels = np.arange(100) % 2
    reference = np.eye(2, dtype=np.float32)[labels]
    worse = reference.copy()
    worse[:10] = worse[:10, ::-1]
    lost = scores.lost("classification", worse, reference, labels)
    assert lost.value == pytest.approx(0.1)
    assert 0.03 < lost.low < lost.value < lost.high < 0.18
    assert scores.lost("classification", worse, worse, labels) == Interval(0, 0, 0)
    truth = labels.astype(np.float64)
    values = labels.astype(np.float32)[:, None]
    moved = scores.lost("regression", values + 0.5, values, truth)
    assert moved.value == pytest.approx(1)  # errors of 0.25 where the variance is 0.25

"""Losses: values computed by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from bmc.training.batches import Batch
from bmc.training.losses import class_weights, loss_of
from bmc.training.settings import TrainingSettings


def batch_of(labels: Tensor) -> Batch:
    return Batch({}, labels, torch.arange(len(labels)))


# Probabilities of row 1: 3/4 and 1/4 (label 0); of row 2: 1/2 and 1/2 (label 1).
LOGITS = torch.tensor([[math.log(3), 0.0], [0.0, 0.0]])
LABELS = torch.tensor([0, 1])


def value(settings: TrainingSettings, labels: tuple[int, ...] = (0, 0, 0, 1)) -> float:
    loss = loss_of(settings, "classification", labels, classes=2)
    return float(loss(LOGITS, batch_of(LABELS)))


def test_cross_entropy_is_the_mean_of_minus_log_of_the_right_class() -> None:
    expected = (math.log(4 / 3) + math.log(2)) / 2
    assert value(TrainingSettings()) == pytest.approx(expected, abs=1e-6)


def test_label_smoothing_spreads_its_share_over_all_classes() -> None:
    """With 0.2, the target is 0.9 for the right class and 0.1 for the other one."""
    first = -0.9 * math.log(3 / 4) - 0.1 * math.log(1 / 4)
    expected = (first + math.log(2)) / 2
    assert value(TrainingSettings(label_smoothing=0.2)) == pytest.approx(expected, abs=1e-6)


def test_balanced_classes_weigh_by_the_inverse_of_their_share() -> None:
    """Three rows of class 0 and one of class 1: 4 / (2 x 3) = 2/3, and 4 / (2 x 1) = 2."""
    assert class_weights((0, 0, 0, 1), 2).tolist() == pytest.approx([2 / 3, 2.0])
    weighed = (2 / 3) * math.log(4 / 3) + 2 * math.log(2)
    expected = weighed / 2  # by rows: the weights' mean over the training rows is 1
    assert value(TrainingSettings(class_weights="balanced")) == pytest.approx(expected, abs=1e-6)


def test_every_class_weighs_the_same_in_all() -> None:
    labels = [0] * 7 + [1] * 2 + [2]
    weights = class_weights(labels, 3)
    in_all = [float(weights[item]) * labels.count(item) for item in range(3)]
    assert in_all == pytest.approx([10 / 3] * 3)


def test_a_class_without_rows_does_not_divide_by_zero() -> None:
    assert torch.isfinite(class_weights((0, 0, 2), 4)).all()


def test_rows_without_a_label_add_nothing() -> None:
    loss = loss_of(TrainingSettings(), "classification", (0, 1), classes=2)
    both = loss(LOGITS, batch_of(torch.tensor([0, -1])))
    assert float(both) == pytest.approx(math.log(4 / 3) / 2, abs=1e-6)


def test_a_regressions_loss_is_the_mean_squared_distance() -> None:
    loss = loss_of(TrainingSettings(), "regression", (1.0, 5.0), classes=0)
    result = loss(torch.tensor([[1.0], [2.0]]), batch_of(torch.tensor([1.0, 5.0])))
    assert float(result) == pytest.approx(4.5)


@pytest.mark.parametrize("task", ["classification", "tokens"])
def test_a_batch_in_parts_weighs_its_classes_as_a_whole_one(task: str) -> None:
    labels = torch.tensor([0, 0, 0, 1, 0, -1])
    logits = torch.randn(6, 2, generator=torch.Generator().manual_seed(0))
    known = [(label, 0) for label in (0, 0, 0, 1)] if task == "tokens" else [0, 0, 0, 1]
    loss = loss_of(TrainingSettings(class_weights="balanced"), task, known, classes=2)

    def of(rows: slice) -> float:
        part = labels[rows]
        if task == "tokens":
            part = torch.stack([part, torch.zeros_like(part)], dim=1)
        return float(loss(logits[rows], batch_of(part)))

    parts = [of(slice(start, start + 2)) for start in (0, 2, 4)]
    assert sum(parts) / 3 == pytest.approx(of(slice(0, 6)), abs=1e-6)
